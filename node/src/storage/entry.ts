/**
 * What the engine stores under a key: opaque bytes with the little metadata that collection needs.
 *
 * A `tombstone` is a logical delete that its writer keeps as data (it has bytes, and is answered like a value) until a collection policy
 * drops it. A *removal* is the engine's own marker for "no longer there"; it is never answered.
 */

import type { ByteString } from '../base/bytes.ts';

export type EntryKind = 'value' | 'tombstone';

export interface EntryMeta {
  readonly kind: EntryKind;
  /** Wall-clock milliseconds since 1970 before which no collection policy may drop the entry; 0: a tombstone at any time, a value never. */
  readonly expireAtMs: number;
  /** The writer's generation, 0 to 2^53-1: a policy collects what has a tag of at most its own; 0: never collected. */
  readonly gcTag: number;
}

export interface Entry extends EntryMeta {
  /** Not to be changed. From `tryGet` and `get` it may alias a cached block: it is valid until the end of the turn; copy it to keep it. */
  readonly value: Uint8Array;
}

export interface KeyedEntry extends Entry {
  readonly key: ByteString;
}

/** The longest key in bytes; a restart array and a log record count on it. */
export const MAX_KEY_BYTES = 4096;

/** The longest value in bytes. */
export const MAX_VALUE_BYTES: number = 64 * 1024 * 1024;

/** How an entry's kind stands in the log, in memory and in tables; numbers are append-only. */
export const KIND_VALUE = 0;
export const KIND_TOMBSTONE = 1;
export const KIND_REMOVAL = 2;
