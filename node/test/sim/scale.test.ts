/** A share of what `make sim SCALE=1` measures of the failure detector: every reach is met. */

import { expect, test } from '@jest/globals';
import { runProgram } from './program.ts';

test('the failure detector meets its reaches at 5, 50 and 1,000 nodes', async () => {
  const { status, lines, summary } = await runProgram('scale/main.ts', '--hours', '10', '--crashes', '1');
  expect(lines.filter((line) => line.includes('FAILED'))).toEqual([]);
  expect(summary).toMatchObject({ missed: 0, hours: 10, falseDowns: 0 });
  expect(Object.keys(summary['downMs'] as object)).toEqual(['5', '50', '1000']);
  expect(status).toBe(0);
}, 120_000);
