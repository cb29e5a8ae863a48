/**
 * What is cached of a memtable's keys becomes what its table will have of them: they are wanted again when the memtable has gone there. Until then
 * reads find them in the memtable, so that it is done once for each key, and not with every write.
 */

import type { Clock } from '../../env/clock.ts';
import type { Memtable } from '../memtable/memtable.ts';
import type { KeyHash } from '../sstable/bloom.ts';
import { hashKey } from '../sstable/bloom.ts';
import type { EntryCache } from './entry-cache.ts';

/** They take some tenths of a millisecond of a turn of the loop. */
const KEYS_A_TURN = 1024;

/** @param memtable a sealed one, which stays in front of the tables until this has resolved */
export async function renewEntries(entries: EntryCache, memtable: Memtable, clock: Clock): Promise<void> {
  const hash: KeyHash = { h1: 0, h2: 0 };
  let left = KEYS_A_TURN;
  for (const key of memtable.keys) {
    if (entries.size === 0) return;
    if (left === 0) {
      left = KEYS_A_TURN;
      await new Promise<void>((resolve) => {
        clock.soon(resolve);
      });
    }
    left -= 1;
    hashKey(key, hash);
    if (!entries.has(key, hash)) continue;
    const found = memtable.get(key, memtable.lastSequence, hash);
    if (found === undefined || found === 'removed') entries.forget(key, hash);
    else entries.renew(key, hash, found);
  }
}
