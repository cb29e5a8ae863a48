/**
 * Comparing the candidates of primaries: by a digest for each slice of a partition, then key by key where slices differ.
 *
 * A slice's digest is its number of candidates and the XOR of a 64-bit hash of each one's disk key and object digest, so it can be computed in any
 * order, in one pass over the partition.
 */

import type { ByteString } from '../../base/bytes.ts';
import { type Hash64, halfSipHash64 } from '../../base/hash.ts';
import { type Candidate, type CollectionState, SLICES } from './round-messages.ts';

/** "coterie collects" as a key: a constant, because all primaries must come to the same digest. */
const KEY = { k0: 0x636f7465, k1: 0x636f6c6c } as const;
const WORDS = 3;
const scratch: Hash64 = { hi: 0, lo: 0 };

/** Digests of no candidates: for each slice their number and two words. */
export function newSlices(): number[] {
  return new Array<number>(SLICES * WORDS).fill(0);
}

export function addCandidate(slices: number[], slice: number, { key, digest }: Candidate): void {
  const { hi, lo } = halfSipHash64(KEY, digest + key, scratch);
  const at = slice * WORDS;
  slices[at] = (slices[at] ?? 0) + 1;
  slices[at + 1] = ((slices[at + 1] ?? 0) ^ hi) >>> 0;
  slices[at + 2] = ((slices[at + 2] ?? 0) ^ lo) >>> 0;
}

/** The slice of its partition that a disk key lies in. @param bits log2 of the number of partitions, 0 to 20 */
export function sliceOf(diskKey: ByteString, bits: number): number {
  const hi = (diskKey.charCodeAt(0) << 24) | (diskKey.charCodeAt(1) << 16) | (diskKey.charCodeAt(2) << 8) | diskKey.charCodeAt(3);
  return ((hi << bits) >>> 28) & (SLICES - 1);
}

export function isEmptySlices(slices: readonly number[]): boolean {
  return slices.every((word, at) => at % WORDS !== 0 || word === 0);
}

/** The slices in which the answers are not all the same. */
export function differingSlices(answers: readonly (readonly number[])[]): number[] {
  const [first = [], ...others] = answers;
  const differing: number[] = [];
  for (let slice = 0; slice < SLICES; slice += 1) {
    const from = slice * WORDS;
    const differs = others.some((other) => [0, 1, 2].some((word) => other[from + word] !== first[from + word]));
    if (differs) differing.push(slice);
  }
  return differing;
}

/** The keys that are not candidates with one digest on every primary, ascending; as far as every list reaches. */
export function differingKeys(lists: readonly (Pick<CollectionState, 'candidates' | 'more'> | undefined)[]): ByteString[] {
  let reach: ByteString | undefined;
  const found = new Map<ByteString, { digest: ByteString; count: number }>();
  for (const list of lists) {
    const last = list?.candidates.at(-1)?.key;
    // A list that was cut off at once reaches nowhere.
    if (list?.more === true && (reach === undefined || (last ?? '') < reach)) reach = last ?? '';
    for (const { key, digest } of list?.candidates ?? []) {
      const known = found.get(key);
      if (known === undefined) found.set(key, { digest, count: 1 });
      else if (known.digest === digest) known.count += 1;
    }
  }
  const keys: ByteString[] = [];
  for (const [key, { count }] of found) if (count < lists.length && (reach === undefined || key <= reach)) keys.push(key);
  return keys.sort();
}

/** How many candidates the digests are of. */
export function countCandidates(slices: readonly number[]): number {
  return slices.reduce((sum, word, at) => (at % WORDS === 0 ? sum + word : sum), 0);
}
