/** The guard of replay notices every way to the outside world, and lets pass what a run needs. */

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';

test('the guard notices what is forbidden, and nothing else', () => {
  const program = fileURLToPath(new URL('guard-program.ts', import.meta.url));
  const { stdout, stderr } = spawnSync(process.execPath, [program], { encoding: 'utf8', env: { ...process.env, NODE_OPTIONS: '' } });
  expect(stderr).toBe('');
  const told = JSON.parse(stdout) as {
    tried: Record<string, boolean>;
    passed: Record<string, boolean>;
    rejections: unknown;
    after: boolean;
  };
  expect(Object.entries(told.tried).filter(([, noticed]) => !noticed)).toEqual([]);
  expect(Object.keys(told.tried).length).toBe(17);
  expect(Object.entries(told.passed).filter(([, fine]) => !fine)).toEqual([]);
  expect(told.rejections).toEqual({ alive: ['crash-free'], dead: [] });
  expect(told.after).toBe(true);
});
