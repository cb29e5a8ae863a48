/** Wrong use of our own commands: said in a line or two, with what is allowed, and no stack trace. */

import { spawnSync } from 'node:child_process';
import { expect, test } from '@jest/globals';

const rootUrl = new URL('../../../', import.meta.url);

test.each([
  ['node/sim/main.ts', ['--sed', '3'], "Unknown option '--sed'", '--seed VALUE'],
  ['node/sim/main.ts', ['3'], "Unexpected argument '3'", '--seed VALUE'],
  ['node/sim/main.ts', ['--seed', 'x'], '--seed must be a whole number from 0, not "x"', ''],
  ['node/sim/main.ts', ['--seeds', ''], '--seeds must be a whole number from 0, not ""', ''],
  ['node/sim/main.ts', ['--mutants', '--only', 'x'], '--only: there is no "x"', 'merge by overwrite'],
  ['node/sim/scale/main.ts', ['--hours', '0'], '--hours must be a whole number from 1, not "0"', ''],
  ['node/sim/scale/main.ts', ['--days', '1'], "Unknown option '--days'", '--hours VALUE'],
  ['node/test/fuzz/resp.ts', ['--count', '10'], '--count must be a whole number from 1000, not "10"', ''],
  ['node/test/fuzz/http.ts', ['--cout', '2000'], "Unknown option '--cout'", '--count VALUE'],
  ['node/test/fuzz/peer.ts', ['--seed', 'x'], '--seed must be a whole number from 0, not "x"', ''],
  ['node/sim/storage/model.ts', ['--bad'], "Unknown option '--bad'", '--operations VALUE'],
  ['node/sim/storage/failing-disk.ts', ['--ways', 'full,x'], '--ways: there is no "x"', 'full-once'],
  ['node/test/storage-proofs/machine/slow-reads.ts', ['--count', 'x'], '--count must be a whole number from 0, not "x"', ''],
  ['node/test/chaos/chaos.ts', ['--rate', '0'], '--rate must be a whole number from 1, not "0"', ''],
])('%s %j', (program, args, said, allowed) => {
  const run = spawnSync(process.execPath, [program, ...args], { cwd: rootUrl, encoding: 'utf8' });
  expect(run.stderr).toContain(said);
  expect(run.stderr).toContain(allowed);
  expect(run.stderr).not.toMatch(/^ +at /m);
  expect(run.stdout).toBe('');
  expect(run.status).toBe(2);
});
