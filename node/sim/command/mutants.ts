/** Puts each known bug back and requires that the checker named for it notices. */

import { CoterieNode } from '../../src/runtime/node.ts';
import { MUTANTS, type Mutant } from '../mutants/mutants.ts';
import { runSeed } from '../run.ts';

export interface MutantsOptions {
  readonly first: number;
  /** How many seeds a mutant may live. */
  readonly seeds: number;
  readonly only: string | undefined;
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** The number of seeds until the mutant's checker noticed; `undefined` when it did not. */
async function hunt(mutant: Mutant, first: number, seeds: number): Promise<number | undefined> {
  const others = new Map<string, number>();
  for (let at = 0; at < seeds; at += 1) {
    const result = await runSeed(first + at, {
      open: (options) => CoterieNode.open(options),
      seams: mutant.seams(),
      until: mutant.checker,
    });
    for (const { checker, message } of result.failures) {
      if (checker === mutant.checker) {
        say(`mutant "${mutant.name}": caught by ${checker} at seed ${String(first + at)}: ${message}`);
        return at + 1;
      }
      others.set(checker, (others.get(checker) ?? 0) + 1);
    }
  }
  const noticed = [...others].map(([checker, count]) => `${checker} ${String(count)}`).join(', ');
  say(
    `mutant "${mutant.name}": FAILED, ${mutant.checker} noticed nothing in ${String(seeds)} seeds (others: ${noticed === '' ? 'none' : noticed})`,
  );
  return undefined;
}

export async function runMutants({ first, seeds, only }: MutantsOptions): Promise<boolean> {
  const chosen = MUTANTS.filter((mutant) => only === undefined || mutant.name === only);
  const caught: Record<string, { checker: string; seeds: number }> = {};
  for (const mutant of chosen) {
    const after = await hunt(mutant, first, seeds);
    if (after !== undefined) caught[mutant.name] = { checker: mutant.checker, seeds: after };
  }
  const count = Object.keys(caught).length;
  say(
    `sim: ${String(chosen.length)} mutants, ${String(count)} caught ${JSON.stringify({ mutants: chosen.length, caught: count, by: caught })}`,
  );
  return chosen.length > 0 && count === chosen.length;
}
