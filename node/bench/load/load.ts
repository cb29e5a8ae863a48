/** Runs the load generator and answers what it measured. */

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import type { LoadPlan, LoadResult } from './generator.ts';

const PROGRAM = fileURLToPath(new URL('generator.ts', import.meta.url));

export async function load(plan: LoadPlan): Promise<LoadResult> {
  const { stdout } = await promisify(execFile)(process.execPath, [PROGRAM, JSON.stringify(plan)]);
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as LoadResult;
}
