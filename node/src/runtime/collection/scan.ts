/** Looking through a partition for what a collecting round may take (rules: cluster/collection). */

import type { PartitionId } from '../../base/ids.ts';
import { floorTag, isCandidate } from '../../cluster/collection/generation-table.ts';
import type { Candidate } from '../../cluster/collection/round-messages.ts';
import { SLICES } from '../../cluster/collection/round-messages.ts';
import { partitionRange } from '../../cluster/ring/token.ts';
import { digestOf } from '../content.ts';
import type { NodeCore } from '../core.ts';

const BATCH_BYTES = 64 * 1024;
const SLICE_BITS = Math.log2(SLICES);

export interface ScanTerms {
  readonly partition: PartitionId;
  /** The present generation: candidates were taken before it. */
  readonly generation: number;
  readonly expiredByMs: number;
}

/**
 * Visits the candidates in the order of their keys, until `visit` answers false. Keeps to the share of background work.
 *
 * @param slice only this one; undefined: the whole partition
 * @returns when the next of the old entries that is not dead yet expires; 0 for none
 * @throws CoterieError DATA_DAMAGED where the partition cannot be read whole
 */
export async function scanCandidates(
  core: NodeCore,
  terms: ScanTerms,
  slice: number | undefined,
  visit: (candidate: Candidate) => boolean,
): Promise<number> {
  const { store, clock, pace } = core;
  const { partition, generation, expiredByMs } = terms;
  const { from, to } = rangeOf(core, partition, slice);
  let nextMs = 0;
  if (!store.engine.mayHoldDead(from, to)) return nextMs;
  const iterator = store.engine.iterate({ from, to, batchBytes: BATCH_BYTES });
  try {
    for (;;) {
      const startMs = clock.monotonicMs();
      const batch = await iterator.next();
      if (batch.length === 0) return nextMs;
      for (const entry of batch) {
        if (entry.kind === 'value' && entry.expireAtMs === 0) continue;
        if (isCandidate(entry, generation + 1, expiredByMs)) {
          if (store.generations.isCollected(partition, entry)) continue;
          if (!visit({ key: entry.key, digest: digestOf(entry.value) })) return nextMs;
        } else if (entry.gcTag <= floorTag(generation + 1) && (nextMs === 0 || entry.expireAtMs < nextMs)) {
          nextMs = entry.expireAtMs;
        }
      }
      const pauseMs = pace.pauseMs(clock.monotonicMs() - startMs);
      if (pauseMs >= 1) await new Promise<void>((resolve) => clock.after(pauseMs, resolve));
    }
  } finally {
    iterator.close();
  }
}

/** A slice is one of the partitions that there would be if there were SLICES times as many. */
function rangeOf({ topology }: NodeCore, partition: PartitionId, slice: number | undefined): ReturnType<typeof partitionRange> {
  if (slice === undefined) return partitionRange(topology, partition);
  const { key, bits } = topology.tokenSpace;
  return partitionRange({ tokenSpace: { key, bits: bits + SLICE_BITS } }, (partition * SLICES + slice) as PartitionId);
}
