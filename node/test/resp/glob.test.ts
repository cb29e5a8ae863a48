import { expect, test } from '@jest/globals';

import { globMatches } from '../../src/api/resp/glob.ts';

test.each<[string, string, boolean]>([
  ['*', '', true],
  ['*', 'anything', true],
  ['', '', true],
  ['', 'a', false],
  ['h?llo', 'hello', true],
  ['h?llo', 'hllo', false],
  ['h*llo', 'heeeello', true],
  ['h[ae]llo', 'hallo', true],
  ['h[ae]llo', 'hillo', false],
  ['h[^e]llo', 'hallo', true],
  ['h[^e]llo', 'hello', false],
  ['h[a-c]llo', 'hbllo', true],
  ['h[c-a]llo', 'hbllo', true],
  ['h\\*llo', 'h*llo', true],
  ['h\\*llo', 'hxllo', false],
  ['a[\\]]b', 'a]b', true],
  ['a[bc', 'ab', true],
  ['*a*b*c', 'xxaxxbxxc', true],
  ['*a*b*c', 'xxaxxcxxb', false],
  ['user:*', 'user:\xff\0', true],
  ['a*', 'b', false],
  ['**', 'ab', true],
])('%j and %j: %j', (pattern, text, matches) => {
  expect(globMatches(pattern, text)).toBe(matches);
});

test('no pattern explodes', () => {
  const started = performance.now();
  expect(globMatches(`${'*a'.repeat(500)}b`, 'a'.repeat(1000))).toBe(false);
  expect(performance.now() - started).toBeLessThan(1000);
});
