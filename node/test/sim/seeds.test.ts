/** Seeds as `make sim` runs them: all pass, replays are equal, coverage reaches its minimums in proportion. */

import { expect, test } from '@jest/globals';
import { simulate } from './program.ts';

const SEEDS = 300;

test('seeds pass', async () => {
  const { status, lines, summary } = await simulate('--seeds', String(SEEDS));
  expect(lines.filter((line) => /: FAILED /.test(line))).toEqual([]);
  expect(summary).toMatchObject({ failed: 0, coverageMissing: 0, zeroFilled: 3 });
  expect(summary['seeds']).toBeGreaterThanOrEqual(SEEDS);
  expect(summary['replayed']).toBeGreaterThanOrEqual(SEEDS / 10);
  expect(status).toBe(0);
}, 1_200_000);

test('one seed prints its trace, and the same one each time', async () => {
  const runs = [await simulate('--seed', '42'), await simulate('--seed', '42')];
  expect(runs[0]?.lines).toEqual(runs[1]?.lines);
  expect(runs[0]?.lines.length).toBeGreaterThan(500);
  expect(runs[0]?.lines.at(-1)).toMatch(
    /^sim: seed 42, 0 failures, \d+ operations, \d+ turns, \d+ ms of virtual time, trace [0-9a-f]{16}$/,
  );
}, 60_000);
