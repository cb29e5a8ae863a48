/**
 * Which partitions a store has something to collect in, so that rounds leave the others alone.
 *
 * What a store takes is *young* until the partition's generation rises, then *old*: a round can collect it. A value that expires later is looked at
 * again when its time has come, not before. Kept in memory only: after a start everything counts as both once.
 */

import type { PartitionId } from '../../base/ids.ts';

export class Pending {
  readonly #young: Uint32Array;
  /** Took something in the generation before the present one. */
  readonly #fresh: Uint8Array;
  readonly #old: Uint8Array;
  /** When the next of the values that were looked at expires; Infinity for never. */
  readonly #expiresMs: Float64Array;

  constructor(partitions: number) {
    this.#young = new Uint32Array(partitions).fill(1);
    this.#fresh = new Uint8Array(partitions);
    this.#old = new Uint8Array(partitions).fill(1);
    this.#expiresMs = new Float64Array(partitions).fill(Number.POSITIVE_INFINITY);
  }

  /** The store took a tombstone, or a value that expires. */
  took(partition: PartitionId): void {
    this.#young[partition] = (this.#young[partition] ?? 0) + 1;
  }

  /** Tombstones and values that expire, taken since the generation rose. */
  youngOf(partition: PartitionId): number {
    return this.#young[partition] ?? 0;
  }

  /** Whether a round may find something that expired by `expiredByMs`, or that is dead without an expiry. */
  isDue(partition: PartitionId, expiredByMs: number): boolean {
    return this.#old[partition] !== 0 || (this.#expiresMs[partition] ?? 0) <= expiredByMs;
  }

  /** The partition's generation has risen. */
  raised(partition: PartitionId): void {
    this.#fresh[partition] = this.youngOf(partition) > 0 ? 1 : 0;
    if (this.#fresh[partition] === 1) this.#old[partition] = 1;
    this.#young[partition] = 0;
  }

  /** The old entries were looked at: so many can be collected, and the next of the others expires at `nextMs` (0: none does). */
  scanned(partition: PartitionId, candidates: number, nextMs: number): void {
    this.#expiresMs[partition] = nextMs === 0 ? Number.POSITIVE_INFINITY : nextMs;
    if (candidates === 0) this.#old[partition] = 0;
  }

  /** Everything that could be collected is. */
  collected(partition: PartitionId): void {
    this.#old[partition] = this.#fresh[partition] ?? 0;
  }
}
