/** How the engine's callers ask for a range of entries, and take it. */

import type { ByteString } from '../base/bytes.ts';
import type { KeyedEntry } from './entry.ts';
import type { Snapshot } from './snapshot.ts';

export interface IterateOptions {
  /** First key, inclusive; default: the first there is. */
  readonly from?: ByteString | undefined;
  /** Exclusive; default: no end. */
  readonly to?: ByteString | undefined;
  /** Default: the moment of the call. */
  readonly snapshot?: Snapshot | undefined;
  /** Entries to answer in all. */
  readonly limit?: number | undefined;
  /** Entries and bytes in one batch at most (a batch has at least one entry); defaults 256 and 256 KiB. */
  readonly batchEntries?: number | undefined;
  readonly batchBytes?: number | undefined;
}

export interface EngineIterator {
  /**
   * The next entries in order; empty at the end. Calls must not overlap.
   *
   * @throws DamageError (DATA_DAMAGED) once for each damaged range it meets; a caller who calls again goes on behind it
   */
  next(): Promise<readonly KeyedEntry[]>;
  close(): void;
}
