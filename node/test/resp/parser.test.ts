import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';

import { splitInline } from '../../src/api/resp/inline.ts';
import { ByteBudget } from '../../src/api/byte-budget.ts';
import { RESP_LIMITS, type RespLimits } from '../../src/api/resp/limits.ts';
import { RequestParser } from '../../src/api/resp/parser.ts';
import { request } from './drive.ts';

type Parsed = { readonly words: readonly string[] } | { readonly outgrown: number } | { readonly broken: string };

/** Parses the chunks, each overwritten once it is taken back. */
function parse(chunks: readonly Buffer[], limits: RespLimits = RESP_LIMITS, stranger = false): Parsed[] {
  const budget = new ByteBudget(limits.receiveBytes);
  const parser = new RequestParser(limits, budget, stranger);
  const found: Parsed[] = [];
  for (const chunk of chunks) {
    const borrowed = Buffer.from(chunk);
    // Not by `expect`, which costs more than parsing does.
    if (!parser.feed(borrowed)) throw new Error('no room to feed');
    for (;;) {
      const state = parser.next();
      if (state === 'more') break;
      if (state === 'broken') {
        found.push({ broken: parser.failure });
        parser.close();
        expect(budget.taken).toBe(0);
        return found;
      }
      if (parser.outgrown > 0) found.push({ outgrown: parser.outgrown });
      else found.push({ words: Array.from({ length: parser.argc }, (_, index) => parser.text(index)) });
    }
    if (!parser.settle()) throw new Error('no room to settle');
    borrowed.fill(0x2a);
  }
  parser.close();
  expect(budget.taken).toBe(0);
  return found;
}

function cut(bytes: Buffer, at: readonly number[]): Buffer[] {
  const places = [...new Set(at.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  const chunks: Buffer[] = [];
  let from = 0;
  for (const place of [...places, bytes.length]) {
    chunks.push(bytes.subarray(from, place));
    from = place;
  }
  return chunks;
}

const text = (value: string): Buffer[] => [Buffer.from(value, 'latin1')];

describe('requests', () => {
  test.each<[string, string, Parsed[]]>([
    ['an array', '*2\r\n$3\r\nGET\r\n$1\r\nk\r\n', [{ words: ['GET', 'k'] }]],
    ['two in one chunk', '*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nQUIT\r\n', [{ words: ['PING'] }, { words: ['QUIT'] }]],
    ['an empty argument', '*2\r\n$4\r\nECHO\r\n$0\r\n\r\n', [{ words: ['ECHO', ''] }]],
    ['line ends within an argument', '*2\r\n$4\r\nECHO\r\n$4\r\n\r\n\r\n\r\n', [{ words: ['ECHO', '\r\n\r\n'] }]],
    ['empty and null arrays are no requests', '*0\r\n*-1\r\n*1\r\n$4\r\nPING\r\n', [{ words: ['PING'] }]],
    ['an inline command', 'SET  k "a\\x00b"\r\nPING\n', [{ words: ['SET', 'k', 'a\0b'] }, { words: ['PING'] }]],
    ['empty lines', '\r\n\n  \r\nPING\r\n', [{ words: ['PING'] }]],
    [
      'inline after an array',
      '*1\r\n$4\r\nPING\r\nECHO hi\r\n*1\r\n$4\r\nPING\r\n',
      [{ words: ['PING'] }, { words: ['ECHO', 'hi'] }, { words: ['PING'] }],
    ],
    ['too many arguments', '*65537\r\n', [{ broken: 'invalid multibulk length' }]],
    ['a count that is no number', '*x\r\n', [{ broken: 'invalid multibulk length' }]],
    ['a count with a leading zero', '*01\r\n', [{ broken: 'invalid multibulk length' }]],
    ['a count without end', `*${'1'.repeat(40)}`, [{ broken: 'too big mbulk count string' }]],
    ['no bulk string', '*1\r\nPING\r\n', [{ broken: "expected '$', got 'P'" }]],
    ['a negative length', '*1\r\n$-1\r\n', [{ broken: 'invalid bulk length' }]],
    ['a length above 512 MiB', '*1\r\n$536870913\r\n', [{ broken: 'invalid bulk length' }]],
    ['a wrong length', '*1\r\n$3\r\nPING\r\n', [{ broken: 'expected CRLF after a bulk string' }]],
    ['quotes that do not balance', 'GET "a\r\n', [{ broken: 'unbalanced quotes in request' }]],
    ['a line without end', 'x'.repeat(70_000), [{ broken: 'too big inline request' }]],
    ['nothing after the broken one', '*x\r\nPING\r\n', [{ broken: 'invalid multibulk length' }]],
  ])('%s', (_name, bytes, expected) => {
    expect(parse(text(bytes))).toEqual(expected);
    // Cut after every byte, it is the same.
    expect(parse([...Buffer.from(bytes, 'latin1')].map((byte) => Buffer.from([byte])))).toEqual(expected);
  });

  test('a client that has not shown who it is may send little', () => {
    expect(parse(text('*11\r\n'), RESP_LIMITS, true)).toEqual([{ broken: 'unauthenticated multibulk length' }]);
    expect(parse(text('*1\r\n$16385\r\n'), RESP_LIMITS, true)).toEqual([{ broken: 'unauthenticated bulk length' }]);
    expect(parse(text('*1\r\n$4\r\nPING\r\n'), RESP_LIMITS, true)).toEqual([{ words: ['PING'] }]);
  });

  test('a request over the bound is read past, not kept, and the next one works', () => {
    const limits = { ...RESP_LIMITS, requestBytes: 1000, receiveBytes: 8192 };
    const large = request('SET', 'k', 'v'.repeat(100_000));
    const bytes = Buffer.concat([
      large,
      request('PING'),
      request('MSET', ...Array.from({ length: 40 }, () => 'x'.repeat(30))),
      request('PING'),
    ]);
    const chunks = cut(
      bytes,
      Array.from({ length: 200 }, (_, index) => index * 511),
    );
    expect(parse(chunks, limits)).toEqual([{ outgrown: 100_000 }, { words: ['PING'] }, { outgrown: 30 }, { words: ['PING'] }]);
  });

  test('no chunk is kept beyond the budget', () => {
    const budget = new ByteBudget(10_000);
    const parser = new RequestParser(RESP_LIMITS, budget, false);
    expect(parser.feed(Buffer.from(`*2\r\n$4\r\nECHO\r\n$50000\r\n${'x'.repeat(5000)}`))).toBe(true);
    expect(parser.next()).toBe('more');
    expect(parser.settle()).toBe(true);
    expect(parser.feed(Buffer.alloc(9000))).toBe(false);
    parser.close();
    expect(budget.taken).toBe(0);
  });

  test('a held request is answered again, also after its chunk is gone', () => {
    const parser = new RequestParser(RESP_LIMITS, new ByteBudget(1 << 20), false);
    const chunk = Buffer.concat([request('PING'), request('GET', 'key'), request('QUIT')]);
    parser.feed(chunk);
    expect(parser.next()).toBe('request');
    expect(parser.next()).toBe('request');
    parser.hold();
    parser.settle();
    chunk.fill(0);
    parser.feed(request('LAST'));
    const names: string[] = [];
    while (parser.next() === 'request') names.push(parser.text(0));
    expect(names).toEqual(['GET', 'QUIT', 'LAST']);
  });

  test('however the bytes are cut, the requests are the same', () => {
    const word = fc.string({ unit: 'binary-ascii', maxLength: 40 });
    const array = fc.array(word, { minLength: 1, maxLength: 6 }).map((words) => ({ words, bytes: request(...words) }));
    const inline = fc
      .array(fc.stringMatching(/^[a-zA-Z0-9_*$]{1,12}$/), { minLength: 1, maxLength: 4 })
      .filter((words) => !(words[0] ?? '').startsWith('*'))
      .map((words) => ({ words, bytes: Buffer.from(`${words.join(' ')}\r\n`) }));
    fc.assert(
      fc.property(fc.array(fc.oneof(array, inline), { maxLength: 20 }), fc.array(fc.nat(), { maxLength: 30 }), (requests, places) => {
        const bytes = Buffer.concat(requests.map((each) => each.bytes));
        expect(parse(cut(bytes, places))).toEqual(requests.map(({ words }) => ({ words })));
      }),
      { numRuns: 300 },
    );
  });

  test('bytes that arrive one by one cost linear work', () => {
    const count = (size: number): number => {
      const parser = new RequestParser({ ...RESP_LIMITS, requestBytes: 1 << 22 }, new ByteBudget(1 << 26), false);
      const bytes = request('SET', 'k', Buffer.alloc(size, 0x0a));
      const started = performance.now();
      for (const byte of bytes) {
        parser.feed(Buffer.from([byte]));
        if (parser.next() === 'more') parser.settle();
      }
      return performance.now() - started;
    };
    count(20_000);
    // Quadratic work would make it a hundred times as much; the bound leaves room for a loaded machine.
    expect(count(200_000)).toBeLessThan(Math.max(1, count(20_000)) * 60);
  });
});

describe('inline words', () => {
  test.each([
    ['  a  b\tc ', ['a', 'b', 'c']],
    ['""', ['']],
    ["'a b' c", ['a b', 'c']],
    ["'it\\'s'", ["it's"]],
    ['"\\n\\r\\t\\b\\a\\x41\\q\\""', ['\n\r\t\b\x07Aq"']],
    ['"\\xZZ"', ['xZZ']],
    ['a"b"', ['ab']],
    ['', []],
  ])('%j', (line, words) => {
    expect(splitInline(line)).toEqual(words);
  });

  test.each(['"a', "'a", '"a"b', "'a'b", '"a\\'])('%j does not balance', (line) => {
    expect(splitInline(line)).toBeUndefined();
  });
});
