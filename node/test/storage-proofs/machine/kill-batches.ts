/** The writes that the killed process of proof (c) makes: each batch follows from the seed and its number alone, so any process knows them. */

import { fromByteString } from '../../../src/base/bytes.ts';
import type { ByteString } from '../../../src/base/bytes.ts';
import { SeededRandom } from '../../../sim/disk/seeded-random.ts';
import { MARK, keyOf, valueFrom } from '../../../sim/storage/history.ts';
import type { Batch, Content, Put } from '../../../sim/storage/history.ts';

export const KILL_KEYS = 400;

export function killBatch(seed: number, number: number): Batch {
  const random = new SeededRandom(seed, number);
  const puts: Put[] = [];
  for (let left = 1 + random.below(5); left > 0; left -= 1) {
    const key = keyOf(random.below(KILL_KEYS));
    puts.push({ key, value: random.oneIn(6) ? undefined : valueFrom(random, 3000) });
  }
  puts.push({ key: MARK, value: fromByteString(String(number)) });
  return { kind: 'batch', number, puts };
}

/** What batches 1 to `number` leave, found from the last one backwards. */
export function killContent(seed: number, number: number): Content {
  const decided = new Map<ByteString, Uint8Array | undefined>();
  for (let at = number; at > 0 && decided.size <= KILL_KEYS; at -= 1) {
    for (const { key, value } of killBatch(seed, at).puts.toReversed()) if (!decided.has(key)) decided.set(key, value);
  }
  const content: Content = new Map();
  for (const [key, value] of decided) if (value !== undefined) content.set(key, value);
  return content;
}
