/** Runs the load generator and answers what it measured. */

import { fileURLToPath } from 'node:url';

import { resultOf } from '../children.ts';
import type { LoadPlan, LoadResult } from './generator.ts';

const PROGRAM = fileURLToPath(new URL('generator.ts', import.meta.url));

export function load(plan: LoadPlan): Promise<LoadResult> {
  return resultOf<LoadResult>(process.execPath, [PROGRAM, JSON.stringify(plan)]);
}
