/** Memory watched over many rounds: what fuzzing calls a leak. */

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const MOST_GROWTH_BYTES = 24 * 1024 * 1024;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

export function check(condition: boolean, what: string): void {
  if (!condition) throw new Error(`fuzzing found: ${what}`);
}

/** Bytes in use after a collection: the heap, and what buffers hold outside of it. */
async function bytesInUse(): Promise<number> {
  // Buffers found dead by the first collection are given back in a later turn of the loop, or by the next one.
  for (let times = 0; times < 2; times += 1) {
    collectGarbage();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/**
 * Runs `round` until `count` inputs are used (it answers how many it took); memory must not grow after the first tenth. Answers the growth.
 *
 * @param quiet ends what the attackers keep open, before memory is measured
 */
export async function rounds(
  count: number,
  round: () => number | Promise<number>,
  quiet: () => void | Promise<void> = (): void => undefined,
  mostGrowth: number = MOST_GROWTH_BYTES,
): Promise<number> {
  let done = 0;
  let before: number | undefined;
  while (done < count) {
    done += await round();
    if (before === undefined && done >= count / 10) {
      await quiet();
      before = await bytesInUse();
    }
  }
  await quiet();
  const growth = (await bytesInUse()) - (before ?? 0);
  check(growth < mostGrowth, `${growth} bytes more in use after ${done} inputs`);
  return growth;
}
