/**
 * The storage engine: an ordered map of byte strings on one directory, as a log-structured merge tree.
 */

import type { ByteString } from '../base/bytes.ts';
import type { CoterieError } from '../base/errors.ts';
import type { Entry, KeyedEntry } from './entry.ts';
import type { EngineOptions } from './options.ts';
import type { WriteBatch } from './write-batch.ts';

/** What `tryGet` answers when something must be read from the disk first; give it to `load`. */
export class Pending {
  readonly kind = 'pending';
}

/** A view of the whole store as it was at one moment. It holds memory and files: close it. */
export interface Snapshot {
  close(): void;
}

export interface IterateOptions {
  /** First key, inclusive; default: the first there is. */
  readonly from?: ByteString;
  /** Exclusive; default: no end. */
  readonly to?: ByteString;
  readonly snapshot?: Snapshot;
  /** Entries to answer in all. */
  readonly limit?: number;
  /** Entries and bytes of values in one batch at most (a batch has at least one entry); defaults 256 and 256 KiB. */
  readonly batchEntries?: number;
  readonly batchBytes?: number;
}

export interface EngineIterator {
  /**
   * The next entries in order; empty at the end. Calls must not overlap.
   *
   * @throws CoterieError DATA_DAMAGED once for each damaged range it meets (see DamageError); a caller who calls again goes on behind it
   */
  next(): Promise<readonly KeyedEntry[]>;
  close(): void;
}

/** What a compaction may drop for good. Plain data: it crosses to a worker. */
export interface CollectionPolicy {
  /** Entries that expire at or before this wall-clock instant; 0: none. */
  readonly nowMs: number;
  /** Tombstones with a key in `[from, to)` (no `to`: to the end) and a tag of at most `gcTag`. */
  readonly collectable: readonly { readonly from: ByteString; readonly to?: ByteString; readonly gcTag: number }[];
}

export interface DamagedRange {
  readonly file: string;
  readonly offset: number;
  /** The keys that cannot be answered: `[from, to)`, to the end where there is no `to`. */
  readonly from: ByteString;
  readonly to: ByteString | undefined;
}

export interface VerifyReport {
  readonly tables: number;
  readonly blocks: number;
  readonly bytes: number;
  readonly damaged: readonly DamagedRange[];
}

export type StallState = 'none' | 'slowed' | 'stopped';

export interface EngineStats {
  /** `full`: writes are refused until there is room. `failed`: until a restart. */
  readonly state: 'open' | 'full' | 'failed' | 'closed';
  readonly stall: StallState;
  /** Callbacks now held back by a stall, and milliseconds spent stalled since the start. */
  readonly stalledWrites: number;
  readonly stalledMs: number;
  readonly memtableBytes: number;
  readonly sealedMemtables: number;
  readonly cacheBytes: number;
  readonly openFiles: number;
  readonly levels: readonly { readonly tables: number; readonly bytes: number; readonly entries: number }[];
  readonly logBytes: number;
  readonly snapshots: number;
  readonly quarantined: readonly DamagedRange[];
  readonly counters: Readonly<Record<string, number>>;
}

export interface Engine {
  tryGet(key: ByteString): Entry | undefined | Pending;
  load(pending: Pending): Promise<void>;
  get(key: ByteString): Promise<Entry | undefined>;
  multiGet(keys: readonly ByteString[]): Promise<(Entry | undefined)[]>;
  write(batch: WriteBatch, done: (error?: CoterieError) => void): void;
  snapshot(): Snapshot;
  iterate(options?: IterateOptions): EngineIterator;
  dropRange(from: ByteString, to: ByteString | undefined): Promise<void>;
  flush(): Promise<void>;
  compact(policy?: CollectionPolicy): Promise<void>;
  verify(): Promise<VerifyReport>;
  stats(): EngineStats;
  close(): Promise<void>;
}

/** Opens the store, making it where there is none. @throws CoterieError DATA_DIR_IN_USE, DATA_DIR_NEWER, DATA_DAMAGED, DISK_FAILED */
export const Engine: { open(options: EngineOptions): Promise<Engine> } = {
  open: (): Promise<Engine> => Promise.reject(new Error('not built yet')),
};
