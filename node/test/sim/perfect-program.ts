/** Runs seeds over a perfect store, plain and with bugs put in; prints which checkers noticed. Run by perfect.test.ts as a program. */

import { NO_SEAMS, runSeed } from '../../sim/run.ts';
import { type Bugs, PerfectStore } from './perfect-node.ts';

async function noticed(bugs: Bugs, seeds: number): Promise<Record<string, number>> {
  const found: Record<string, number> = {};
  for (let seed = 1; seed <= seeds; seed += 1) {
    const store = new PerfectStore(bugs);
    const { failures } = await runSeed(seed, { open: (options) => store.open(options), seams: NO_SEAMS });
    for (const { checker, message } of failures) {
      found[checker] = (found[checker] ?? 0) + 1;
      if (process.argv.includes('--tell')) process.stdout.write(`seed ${String(seed)}: ${checker}: ${message}\n`);
    }
  }
  return found;
}

process.stdout.write(
  `${JSON.stringify({
    perfect: await noticed({}, 40),
    forgets: await noticed({ forgets: 7 }, 10),
    hoards: await noticed({ hoards: true }, 10),
    rots: await noticed({ rots: 50 }, 10),
    silent: await noticed({ silent: 100 }, 10),
  })}\n`,
);
