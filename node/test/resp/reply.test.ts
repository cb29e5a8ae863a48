import { expect, test } from '@jest/globals';

import { ReplyWriter } from '../../src/api/resp/reply.ts';

function written(protocol: 2 | 3, write: (writer: ReplyWriter) => void): string {
  const writer = new ReplyWriter();
  writer.protocol = protocol;
  write(writer);
  return writer.view().toString('latin1');
}

test.each<[string, (writer: ReplyWriter) => void, string, string]>([
  ['OK', (writer) => writer.ok(), '+OK\r\n', '+OK\r\n'],
  ['a simple string', (writer) => writer.simple('PONG'), '+PONG\r\n', '+PONG\r\n'],
  ['an error with line ends', (writer) => writer.error('ERR a\r\nb'), '-ERR a  b\r\n', '-ERR a  b\r\n'],
  ['zero', (writer) => writer.integer(0), ':0\r\n', ':0\r\n'],
  ['a negative integer', (writer) => writer.integer(-12), ':-12\r\n', ':-12\r\n'],
  ['a large integer', (writer) => writer.integer(Number.MAX_SAFE_INTEGER), ':9007199254740991\r\n', ':9007199254740991\r\n'],
  [
    'powers of ten',
    (writer) => [9, 10, 99, 100, 1000].forEach((n) => writer.integer(n)),
    ':9\r\n:10\r\n:99\r\n:100\r\n:1000\r\n',
    ':9\r\n:10\r\n:99\r\n:100\r\n:1000\r\n',
  ],
  ['bytes', (writer) => writer.bulk(Buffer.from([0, 255, 13, 10])), '$4\r\n\0\xff\r\n\r\n', '$4\r\n\0\xff\r\n\r\n'],
  ['no bytes', (writer) => writer.bulk(new Uint8Array()), '$0\r\n\r\n', '$0\r\n\r\n'],
  ['null', (writer) => writer.nil(), '$-1\r\n', '_\r\n'],
  ['a map', (writer) => writer.map(2), '*4\r\n', '%2\r\n'],
  ['a set', (writer) => writer.set(2), '*2\r\n', '~2\r\n'],
  ['text for people', (writer) => writer.verbatim('hi'), '$2\r\nhi\r\n', '=6\r\ntxt:hi\r\n'],
])('%s', (_name, write, inTwo, inThree) => {
  expect(written(2, write)).toBe(inTwo);
  expect(written(3, write)).toBe(inThree);
});

test('the scratch grows and is cut', () => {
  const writer = new ReplyWriter();
  writer.simple('kept');
  const mark = writer.length;
  writer.bulk(Buffer.alloc(1 << 20, 'x'));
  expect(writer.length).toBe(mark + (1 << 20) + 12);
  writer.cut(mark);
  writer.simple('next');
  expect(writer.view().toString('latin1')).toBe('+kept\r\n+next\r\n');
});
