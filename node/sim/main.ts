/**
 * The simulator's command.
 *
 *   node sim/main.ts --seeds 200 [--first 1]                 runs seeds; the last line is a summary with counts
 *   node sim/main.ts --seed 42                               runs one seed and prints its readable trace
 *   node sim/main.ts --mutants [--seeds 200] [--only NAME]   puts known bugs back and requires that their checkers notice
 *
 * Exits with 1 when a seed or a mutant failed, or coverage stayed below its minimum; with 2 for wrong use.
 */

import { parseArgs } from 'node:util';
import { runMany } from './command/seeds.ts';
import { runOne } from './command/seed.ts';
import { runMutants } from './command/mutants.ts';

function whole(text: string | undefined, fallback: number, name: string): number {
  const value = text === undefined ? fallback : Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  process.stderr.write(`--${name} must be a whole number, not ${String(text)}\n`);
  process.exit(2);
}

const { values } = parseArgs({
  options: {
    seeds: { type: 'string' },
    first: { type: 'string' },
    seed: { type: 'string' },
    mutants: { type: 'boolean' },
    only: { type: 'string' },
    hashes: { type: 'boolean' },
  },
});

const first = whole(values.first, 1, 'first');
const seeds = whole(values.seeds, 200, 'seeds');
let passed: boolean;
if (values.mutants === true) passed = await runMutants({ first, seeds, only: values.only });
else if (values.seed !== undefined) passed = await runOne(whole(values.seed, 1, 'seed'));
else passed = await runMany({ first, seeds, hashes: values.hashes === true });
process.exitCode = passed ? 0 : 1;
