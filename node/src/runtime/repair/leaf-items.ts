/** The keys and digests that a store holds in a range: one page of what two replicas compare. */

import type { ByteString } from '../../base/bytes.ts';
import type { LeafItem } from '../../cluster/repair/comparison.ts';
import type { Engine } from '../../storage/engine.ts';
import type { Entry } from '../../storage/entry.ts';
import { digestOf } from '../content.ts';

const BATCH_ENTRIES = 256;
const BATCH_BYTES = 64 * 1024;

export interface LeafPage {
  readonly items: readonly LeafItem[];
  /** Complete up to here, exclusive; undefined: to the range's end. */
  readonly end: ByteString | undefined;
}

/**
 * @param isHeld false for what is collected and still on the disk
 * @throws CoterieError DATA_DAMAGED where the range cannot be read whole, DISK_FAILED, CLOSED
 */
export async function readItems(
  engine: Engine,
  from: ByteString,
  to: ByteString | undefined,
  limit: number,
  between: (workedMs: number) => Promise<void>,
  nowMs: () => number,
  isHeld: (entry: Entry) => boolean,
): Promise<LeafPage> {
  const items: LeafItem[] = [];
  const iterator = engine.iterate({ from, to, batchEntries: Math.min(BATCH_ENTRIES, limit + 1), batchBytes: BATCH_BYTES });
  try {
    for (;;) {
      const beganMs = nowMs();
      const batch = await iterator.next();
      if (batch.length === 0) return { items, end: undefined };
      for (const entry of batch) {
        if (items.length >= limit) return { items, end: entry.key };
        if (isHeld(entry)) items.push({ key: entry.key, digest: digestOf(entry.value) });
      }
      await between(nowMs() - beganMs);
    }
  } finally {
    iterator.close();
  }
}
