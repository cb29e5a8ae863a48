/**
 * The giving side of a synchronisation and of a refill: everything this store holds of the partitions it shares with the asking member, page by page.
 */

import type { ByteString } from '../base/bytes.ts';
import type { PartitionId } from '../base/ids.ts';
import type { Topology } from '../cluster/ring/topology.ts';
import { partitionOfDiskKey, partitionRange } from '../cluster/ring/token.ts';
import type { CopiedEntry, CopiedPartition, CopyAnswer, CopyQuestion } from '../transport/messages/ranges.ts';
import type { NodeCore } from './core.ts';

const MOST_BYTES = 1024 * 1024;

interface Range {
  readonly from: ByteString;
  readonly to: ByteString | undefined;
}

/**
 * One page. A damaged range is left out, and the page then says that its source was not whole. It names the generations under which it was begun, and
 * the floors that hold when it is complete: what is collected is not in it, so who is behind a floor must not keep what it has (synchroniser.ts).
 */
export async function copyPage(core: NodeCore, asker: number, question: CopyQuestion): Promise<CopyAnswer> {
  const { topology, members, store, standing } = core;
  const budget = Math.min(Math.max(1, question.maxBytes), MOST_BYTES);
  const entries: CopiedEntry[] = [];
  let bytes = 0;
  let whole = standing.sound;
  const begun = sharedPartitions(topology, members.self, asker, question.from, question.to).map((partition) => ({
    partition,
    generation: store.generations.of(partition),
  }));
  const answer = (next: ByteString | undefined): CopyAnswer => {
    const last = next === undefined ? topology.Q : partitionOfDiskKey(topology, next.padEnd(8, '\0'));
    const partitions: CopiedPartition[] = begun
      .filter(({ partition }) => partition <= last)
      .map(({ partition, generation }) => ({ partition, generation, ...store.generations.settledOf(partition) }));
    return { entries, next, synchronised: whole && standing.sound, partitions };
  };
  for (const shared of sharedRanges(topology, members.self, asker, question.from)) {
    const range = question.to === '' ? shared : intersect(shared, { from: '', to: question.to });
    if (range === undefined) break;
    const iterator = store.engine.iterate({
      from: range.from,
      ...(range.to === undefined ? {} : { to: range.to }),
      batchBytes: Math.min(budget, 64 * 1024),
    });
    try {
      for (;;) {
        const batch = await iterator.next().catch((error: unknown) => {
          if (!isDamage(error)) throw error;
          whole = false;
          return undefined;
        });
        if (batch === undefined) continue;
        if (batch.length === 0) break;
        for (const entry of batch) {
          const { key, value } = entry;
          bytes += key.length + value.length;
          if (!store.isCollected(key, entry)) entries.push({ key, object: new Uint8Array(value) });
        }
        const lastKey = batch.at(-1)?.key ?? '';
        if (bytes >= budget) return answer(`${lastKey}\0`);
      }
    } finally {
      iterator.close();
    }
  }
  return answer(undefined);
}

/** The partitions of which both members are primaries, from the one that `from` lies in, as far as they begin below `to` (`''`: to the end). */
function sharedPartitions(topology: Topology, self: number, other: number, from: ByteString, to: ByteString): PartitionId[] {
  const shared: PartitionId[] = [];
  const first = from === '' ? 0 : partitionOfDiskKey(topology, from.padEnd(8, '\0'));
  for (let partition = first; partition < topology.Q; partition += 1) {
    if (to !== '' && partitionRange(topology, partition as PartitionId).from >= to) break;
    const replicas = topology.partitions[partition] ?? [];
    if (replicas.includes(self) && replicas.includes(other)) shared.push(partition as PartitionId);
  }
  return shared;
}

function intersect(range: Range, { to }: Range): Range | undefined {
  if (to === undefined || (range.to !== undefined && range.to <= to)) return range;
  return range.from < to ? { from: range.from, to } : undefined;
}

function isDamage(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === 'DATA_DAMAGED';
}

/** The ranges of the partitions of which both members are primaries, from `from` on; neighbours joined. */
function* sharedRanges(topology: Topology, self: number, asker: number, from: ByteString): Generator<Range> {
  let open: { from: ByteString; to: ByteString | undefined } | undefined;
  for (const partition of sharedPartitions(topology, self, asker, from, '')) {
    const range = partitionRange(topology, partition);
    if (open !== undefined && open.to === range.from) {
      open.to = range.to;
      continue;
    }
    if (open !== undefined) yield open;
    open = { from: range.from > from ? range.from : from, to: range.to };
  }
  if (open !== undefined) yield open;
}
