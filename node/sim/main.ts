/**
 * The simulator's command.
 *
 *   node sim/main.ts --seeds 200 [--first 1]                 runs seeds; the last line is a summary with counts
 *   node sim/main.ts --seed 42                               runs one seed and prints its readable trace
 *   node sim/main.ts --mutants [--seeds 200] [--only NAME]   puts known bugs back and requires that their checkers notice
 *
 * Exits with 1 when a seed or a mutant failed, or coverage stayed below its minimum; with 2 for wrong use.
 */

import { readFlags, requireOneOf, wholeNumber } from './command/flags.ts';
import { runMutants } from './command/mutants.ts';
import { runOne } from './command/seed.ts';
import { runMany } from './command/seeds.ts';
import { MUTANTS } from './mutants/mutants.ts';

const values = readFlags({
  seeds: { type: 'string' },
  first: { type: 'string' },
  seed: { type: 'string' },
  mutants: { type: 'boolean' },
  only: { type: 'string' },
  hashes: { type: 'boolean' },
});

const first = wholeNumber(values.first, 1, 'first', 0);
const seeds = wholeNumber(values.seeds, 200, 'seeds', 0);
requireOneOf(
  values.only,
  MUTANTS.map((mutant) => mutant.name),
  'only',
);
let passed: boolean;
if (values.mutants === true) passed = await runMutants({ first, seeds, only: values.only });
else if (values.seed !== undefined) passed = await runOne(wholeNumber(values.seed, 1, 'seed', 0));
else passed = await runMany({ first, seeds, hashes: values.hashes === true });
process.exitCode = passed ? 0 : 1;
