/** Clients, faults and checkers over a store that cannot fail: no false alarm; and over the same store with bugs: each is noticed. */

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';

test('a perfect store passes every checker, and bugs in it do not', () => {
  const program = fileURLToPath(new URL('perfect-program.ts', import.meta.url));
  const { stdout, stderr } = spawnSync(process.execPath, [program], { encoding: 'utf8', env: { ...process.env, NODE_OPTIONS: '' } });
  expect(stderr).toBe('');
  const found = JSON.parse(stdout) as Record<string, Record<string, number>>;
  expect(found['perfect']).toEqual({});
  const forgotten = found['forgets'] ?? {};
  expect((forgotten['quorum-overlap'] ?? 0) + (forgotten['survival'] ?? 0)).toBeGreaterThan(5);
  expect(found['hoards']?.['no-return']).toBeGreaterThan(5);
  expect(found['rots']?.['disk-answers']).toBeGreaterThan(5);
  expect(found['silent']?.['liveness']).toBeGreaterThan(5);
});
