/** Runs one seed with a readable trace. */

import { CoterieNode } from '../../src/runtime/node.ts';
import { NO_SEAMS, runSeed } from '../run.ts';

export async function runOne(seed: number): Promise<boolean> {
  const result = await runSeed(seed, { open: (options) => CoterieNode.open(options), seams: NO_SEAMS, readable: true });
  process.stdout.write(`${result.lines.join('\n')}\n`);
  const { plan } = result;
  process.stdout.write(`plan: ${JSON.stringify({ ...plan, faults: [...plan.faults], anonymous: [...plan.anonymous] })}\n`);
  process.stdout.write(`coverage: ${JSON.stringify(result.coverage)}\n`);
  for (const failure of result.failures) process.stdout.write(`FAILED ${failure.checker}: ${failure.message}\n`);
  process.stdout.write(
    `sim: seed ${String(seed)}, ${String(result.failures.length)} failures, ${String(result.operations)} operations, ${String(result.turns)} turns, ` +
      `${String(result.virtualMs)} ms of virtual time, trace ${result.hash}\n`,
  );
  return result.failures.length === 0;
}
