/** Known bugs, put back, are noticed by the checkers named for them. */

import { expect, test } from '@jest/globals';
import { MUTANTS } from '../../sim/mutants/mutants.ts';
import { simulate } from './program.ts';

test('every mutant is caught by its checker', async () => {
  const { status, lines, summary } = await simulate('--mutants');
  expect(lines.filter((line) => /: FAILED,/.test(line))).toEqual([]);
  expect(summary).toMatchObject({ mutants: MUTANTS.length, caught: MUTANTS.length });
  expect(status).toBe(0);
}, 1_200_000);
