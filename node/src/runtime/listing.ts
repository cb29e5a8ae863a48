/**
 * Listing keys on one replica: the keys of one bucket that it holds as a primary, in token order.
 *
 * Invariants: an answer is complete up to its `end`, which lies between two tokens, so that a cursor is a token; work per answer is bounded, also
 * where the bucket has few keys among many.
 */

import type { ByteString } from '../base/bytes.ts';
import type { EngineIterator } from '../storage/engine.ts';
import { bucketOfDiskKey, partitionOfDiskKey } from '../cluster/ring/token.ts';
import { primaries } from '../cluster/ring/preference.ts';
import type { ListAnswer, ListedKey, ListQuestion } from '../transport/messages/ranges.ts';
import { digestOf } from './content.ts';
import { CHECKSUM, type NodeCore } from './core.ts';
import { versionsIn } from './read-result.ts';

export const TOKEN_BYTES = 8;
export const MOST_LISTED = 10_000;
/** Entries looked at for one answer, however few of them belong to it. */
const MOST_SCANNED = 20_000;

/** Lists this node's own keys. @throws CoterieError DATA_DAMAGED where the range cannot be read whole */
export async function listOwn(core: NodeCore, question: ListQuestion): Promise<ListAnswer> {
  const { topology, members, store, clock, standing } = core;
  const nowMs = clock.wallMs();
  const limit = Math.min(Math.max(1, question.limit), MOST_LISTED);
  const entries: ListedKey[] = [];
  let scanned = 0;
  let lastToken = '';
  let lastPartition = -1;
  let own = false;
  const iterator: EngineIterator = store.engine.iterate({
    from: question.from,
    ...(question.to === '' ? {} : { to: question.to }),
    batchEntries: Math.min(256, limit + 1),
  });
  try {
    for (;;) {
      const batch = await iterator.next();
      if (batch.length === 0) return { entries, end: '', counts: standing.countsInReads() };
      for (const entry of batch) {
        const { key, value } = entry;
        const token = key.slice(0, TOKEN_BYTES);
        if (token !== lastToken && (entries.length >= limit || scanned >= MOST_SCANNED)) {
          return { entries, end: token, counts: standing.countsInReads() };
        }
        lastToken = token;
        scanned += 1;
        if (bucketOfDiskKey(key) !== question.bucket) continue;
        const partition = partitionOfDiskKey(topology, key);
        if (partition !== lastPartition) {
          lastPartition = partition;
          own = primaries(topology, partition).includes(members.self);
        }
        if (own && !store.isCollected(key, entry)) {
          entries.push({ key, digest: digestOf(value), live: versionsIn(value, nowMs, CHECKSUM).length > 0 });
        }
      }
    }
  } finally {
    iterator.close();
  }
}

/** The smallest token at or after a decimal cursor, as 8 bytes; undefined where it is no whole number below 2^64. */
export function tokenOfCursor(cursor: string): ByteString | undefined {
  if (!/^\d{1,20}$/.test(cursor)) return undefined;
  let rest = BigInt(cursor);
  if (rest > 0xffff_ffff_ffff_ffffn) return undefined;
  let text = '';
  for (let i = 0; i < TOKEN_BYTES; i += 1) {
    text = String.fromCharCode(Number(rest & 0xffn)) + text;
    rest >>= 8n;
  }
  return text;
}

/** The decimal cursor of a token's 8 bytes; `'0'` for the end. */
export function cursorOfToken(token: ByteString): string {
  let value = 0n;
  for (let i = 0; i < TOKEN_BYTES; i += 1) value = (value << 8n) | BigInt(token.charCodeAt(i) & 0xff);
  return value.toString();
}
