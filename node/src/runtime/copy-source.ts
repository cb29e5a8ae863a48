/**
 * The giving side of a synchronisation and of a refill: everything this store holds of the partitions it shares with the asking member, page by page.
 */

import type { ByteString } from '../base/bytes.ts';
import type { PartitionId } from '../base/ids.ts';
import type { Topology } from '../cluster/ring/topology.ts';
import { partitionOfDiskKey, partitionRange } from '../cluster/ring/token.ts';
import type { CopiedEntry, CopyAnswer, CopyQuestion } from '../transport/messages/ranges.ts';
import type { NodeCore } from './core.ts';

const MOST_BYTES = 1024 * 1024;

interface Range {
  readonly from: ByteString;
  readonly to: ByteString | undefined;
}

/** One page. A damaged range is left out, and the page then says that its source was not whole. */
export async function copyPage(core: NodeCore, asker: number, question: CopyQuestion): Promise<CopyAnswer> {
  const { topology, members, store, standing } = core;
  const budget = Math.min(Math.max(1, question.maxBytes), MOST_BYTES);
  const entries: CopiedEntry[] = [];
  let bytes = 0;
  let whole = standing.sound;
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
        for (const { key, value } of batch) {
          entries.push({ key, object: new Uint8Array(value) });
          bytes += key.length + value.length;
        }
        const lastKey = batch.at(-1)?.key ?? '';
        if (bytes >= budget) return { entries, next: `${lastKey}\0`, synchronised: whole && standing.sound };
      }
    } finally {
      iterator.close();
    }
  }
  return { entries, next: undefined, synchronised: whole && standing.sound };
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
  const first = from === '' ? 0 : partitionOfDiskKey(topology, from.padEnd(8, '\0'));
  for (let partition = first; partition < topology.Q; partition += 1) {
    const replicas = topology.partitions[partition] ?? [];
    if (!replicas.includes(self) || !replicas.includes(asker)) continue;
    const range = partitionRange(topology, partition as PartitionId);
    if (open !== undefined && open.to === range.from) {
      open.to = range.to;
      continue;
    }
    if (open !== undefined) yield open;
    open = { from: range.from > from ? range.from : from, to: range.to };
  }
  if (open !== undefined) yield open;
}
