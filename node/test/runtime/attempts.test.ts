import { expect, test } from '@jest/globals';

import { Attempts, SETS } from '../../src/cluster/quorum/attempts.ts';

test('attempts of late are known, with what they answered, and older ones forgotten', () => {
  const attempts = new Attempts(0xffff_ffff, 0xffff_ffff);
  const ids = Array.from({ length: 6 * SETS }, () => attempts.name());
  expect(ids.every((id) => Number.isSafeInteger(id) && id > 0)).toBe(true);
  expect(new Set(ids).size).toBe(ids.length);
  expect(attempts.find(ids[0] ?? 0)).toBeUndefined();
  for (const [at, id] of ids.entries()) attempts.note(id, at % 3 === 0);
  const known = ids.filter((id) => attempts.find(id) !== undefined);
  expect(known).toEqual(ids.slice(-4 * SETS));
  const wrong = ids.filter((id, at) => at >= 2 * SETS && attempts.find(id) !== (at % 3 === 0));
  expect(wrong).toEqual([]);
});
