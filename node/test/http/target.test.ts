import { describe, expect, test } from '@jest/globals';

import { isCoterieError } from '../../src/base/errors.ts';
import { percentDecode, targetOf } from '../../src/api/http/target.ts';
import { contextFromText, contextToText, operationIdFromText } from '../../src/api/tokens.ts';

const LIMITS = { keyBytes: 1024, pairBytes: 10_240 };

function codeOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    return isCoterieError(error) ? error.code : String(error);
  }
  return 'none';
}

describe('percent-encoding', () => {
  test.each([
    ['abc', 'abc'],
    ['a%20b', 'a b'],
    ['%00%ff%FF', '\0\xff\xff'],
    ['%2F%25', '/%'],
    ['a+b', 'a+b'],
    ["!$&'()*,;=:@~._-", "!$&'()*,;=:@~._-"],
  ])('%s', (text, bytes) => {
    expect(percentDecode(text)).toBe(bytes);
  });

  test.each(['%', '%1', 'a%zz', '%0g', '%-1', 'a b', 'ä', '\x7f', '%%30'])('%j is wrong', (text) => {
    expect(codeOf(() => percentDecode(text))).toBe('ENCODING_INVALID');
  });
});

describe('targets', () => {
  test('a bucket and a key', () => {
    expect(targetOf('/v1/kv/default/a%2Fb', 6, LIMITS)).toEqual({ bucket: 'default', key: 'a/b' });
  });

  test.each([
    ['/v1/kv/default/', 'KEY_EMPTY'],
    ['/v1/kv/default', 'KEY_EMPTY'],
    ['/v1/kv/', 'KEY_EMPTY'],
    ['/v1/kv', 'KEY_EMPTY'],
    ['/v1/kv/default/a/b', 'ENCODING_INVALID'],
    [`/v1/kv/default/${'k'.repeat(1025)}`, 'KEY_TOO_LONG'],
    [`/v1/kv/default/${'%6b'.repeat(1024)}`, 'none'],
  ])('%.30s: %s', (path, code) => {
    expect(codeOf(() => targetOf(path, 6, LIMITS))).toBe(code);
  });
});

describe('tokens', () => {
  test('a context goes both ways', () => {
    const bytes = Buffer.from([0, 255, 62, 63, 1]);
    expect(Buffer.from(contextFromText(contextToText(bytes)))).toEqual(bytes);
  });

  test.each(['', 'a', 'ab=', 'a b', 'a+b/', 'ä', 'x'.repeat(12_289)])('%.20j is no context', (text) => {
    expect(codeOf(() => contextFromText(text))).toBe('CONTEXT_BROKEN');
  });

  test('operation ids', () => {
    const hex = '00112233445566778899aAbBcCdDeEfF';
    const uuid = '00112233-4455-6677-8899-aabbccddeeff';
    expect(operationIdFromText(hex)).toEqual(operationIdFromText(uuid));
    expect(operationIdFromText(hex).length).toBe(16);
    for (const wrong of ['', 'x', hex.slice(1), `${hex}0`, `g${hex.slice(1)}`, uuid.replaceAll('-', '_')]) {
      expect(codeOf(() => operationIdFromText(wrong))).toBe('OPERATION_ID_INVALID');
    }
  });
});
