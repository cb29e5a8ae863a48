/**
 * The generations of the partitions at one store: under which its messages are made, which older ones it refuses, and what it has collected.
 *
 * A partition's *generation* is a number from 1 that every member keeps. Operations are made under the generation that their node has when they begin,
 * entries are tagged with the one under which the store took them. A *floor* (generation g, instant e) says that everything dead with a tag of at
 * most g - 2 whose expiry is not after e is collected: it was on every primary before any member went to g, and every member is at g, refuses
 * what is older and keeps no hint that is (round.ts).
 *
 * Invariants:
 * - a generation, a least one, a floor's generation and its instant never go back; a least generation is at most the generation, and rises only
 *   when every member has the generation that it rises to, or as a peer's has.
 * - what is collected is answered as never written, and stays so: only what is taken anew has a tag above the floor.
 * - a store whose generation is below what a peer refuses, or which would take what is below a peer's floor, was away while everybody agreed, which
 *   cannot be but with an old disk: what it has of the partition is worth nothing (`isBehind`). To refuse less than a peer is not enough: a round
 *   may have been broken off while its members sealed.
 */

import type { PartitionId } from '../../base/ids.ts';

/** What a collection has settled for a partition. */
export interface Floor {
  /** The generation that every member had reached; 0: nothing was ever collected. */
  readonly generation: number;
  /** Expiries up to here have passed on every primary's clock, wall-clock milliseconds. */
  readonly expiredByMs: number;
  /** The number of the store's last write before it took the floor: what was summed up before knows nothing of it. */
  readonly sequence: number;
}

/** What shows a peer that its disk is from before a collection. */
export interface Settled {
  /** What is older is refused. */
  readonly least: number;
  /** The floor's generation. */
  readonly floor: number;
}

/** What the store knows of an entry without its bytes. */
export interface Tagged {
  readonly kind: 'value' | 'tombstone';
  readonly expireAtMs: number;
  readonly gcTag: number;
}

export const FIRST_GENERATION = 1;
/** Rounds without end: one a second for a century. */
export const LAST_GENERATION = 0xffff_ffff;
/** The tag of what is never collected: of what versions without generations have written, too. */
export const NEVER_COLLECTED = 0;

/** Entries with at most this tag may go at a floor. */
export function floorTag(generation: number): number {
  return generation - 2;
}

/** Whether an entry is dead by `expiredByMs` and was taken early enough to be collected by a round that leads to `generation`. */
export function isCandidate(entry: Tagged, generation: number, expiredByMs: number): boolean {
  if (entry.gcTag === NEVER_COLLECTED || entry.gcTag > floorTag(generation) || entry.expireAtMs > expiredByMs) return false;
  return entry.kind === 'tombstone' || entry.expireAtMs !== 0;
}

export class GenerationTable {
  readonly partitions: number;
  readonly #generation: Uint32Array;
  /** Messages made under less are refused. */
  readonly #least: Uint32Array;
  readonly #floor: Uint32Array;
  readonly #expiredBy: Float64Array;
  readonly #sequence: Float64Array;

  constructor(partitions: number) {
    this.partitions = partitions;
    this.#generation = new Uint32Array(partitions).fill(FIRST_GENERATION);
    this.#least = new Uint32Array(partitions).fill(FIRST_GENERATION);
    this.#floor = new Uint32Array(partitions);
    this.#expiredBy = new Float64Array(partitions);
    this.#sequence = new Float64Array(partitions);
  }

  generationOf(partition: PartitionId): number {
    return this.#generation[partition] ?? FIRST_GENERATION;
  }

  leastOf(partition: PartitionId): number {
    return this.#least[partition] ?? FIRST_GENERATION;
  }

  floorOf(partition: PartitionId): Floor {
    return {
      generation: this.#floor[partition] ?? 0,
      expiredByMs: this.#expiredBy[partition] ?? 0,
      sequence: this.#sequence[partition] ?? 0,
    };
  }

  /** Whether the entry is collected: gone, though it may still lie on the disk. */
  isCollected(partition: PartitionId, entry: Tagged): boolean {
    const floor = this.#floor[partition] ?? 0;
    return floor !== 0 && isCandidate(entry, floor, this.#expiredBy[partition] ?? 0);
  }

  settledOf(partition: PartitionId): Settled {
    return { least: this.leastOf(partition), floor: this.#floor[partition] ?? 0 };
  }

  /** Whether what a peer has settled shows that this store's disk is from before that. */
  isBehind(partition: PartitionId, { least, floor }: Settled): boolean {
    return this.generationOf(partition) < least || this.leastOf(partition) < floor;
  }

  raise(partition: PartitionId, generation: number): void {
    if (generation > this.generationOf(partition)) this.#generation[partition] = generation;
  }

  /** From now on messages of less than `least`, which the generation has reached, are refused. */
  seal(partition: PartitionId, least: number): void {
    if (least > this.leastOf(partition)) this.#least[partition] = Math.min(least, this.generationOf(partition));
  }

  /** Takes a floor, where the store refuses what is older. False where it has it, or a higher one, already. */
  collect(partition: PartitionId, floor: Floor): boolean {
    if (floor.generation <= (this.#floor[partition] ?? 0) || floor.generation > this.leastOf(partition)) return false;
    this.#floor[partition] = floor.generation;
    this.#expiredBy[partition] = Math.max(this.#expiredBy[partition] ?? 0, floor.expiredByMs);
    this.#sequence[partition] = floor.sequence;
    return true;
  }
}
