/**
 * What a strong bucket keeps under a key: a register, which holds the one value with the highest tag, and what is known of recent client
 * operations. Invariants:
 *
 *   1. A tag belongs to one write: equal tags mean equal values. A delete has a tag and no value, and keeps it for ever: a floor that no
 *      older value passes. (Collecting it takes the word of every primary: the generation that the engine keeps with each entry is for that.)
 *   2. `records` are the newest MAX_RECORDS, newest first by `compareRecords`. A record never changes.
 *
 * Merging takes the higher tag, and the newest records of both: each is a maximum in a total order, so merging commutes, associates and is
 * idempotent. No clock takes part in anything here.
 */

import type { ByteString } from '../../base/bytes.ts';
import type { Tag } from './tag.ts';
import { NO_TAG } from './tag.ts';

/** Records that a key keeps: an operation id is known while fewer than so many attempts with ids have come after it. */
export const MAX_RECORDS = 32;

/**
 * An acceptor's memory of one client operation: the tag that a coordinator proposed for it, under a ballot that a majority had promised. What
 * decides is cluster/quorum/strong-write.ts.
 */
export interface RegisterRecord {
  /** The client's 16 bytes. */
  readonly id: ByteString;
  /** 8 bytes over everything that makes the request the same write. */
  readonly bodyHash: ByteString;
  /** A tag whose counter is the number of the attempt. */
  readonly ballot: Tag;
  /** The tag of the write. */
  readonly tag: Tag;
  /** A counter above all that the coordinator saw on the key: the age of the record. */
  readonly rank: number;
  /** A value was there, as the first attempt saw it. */
  readonly existed: boolean;
}

/** The state of one strong key. Immutable. */
export interface Register {
  /** NO_TAG: nothing was written yet, only proposed. */
  readonly tag: Tag;
  /** `undefined` where nothing was written, or the last write was a delete. */
  readonly value: Uint8Array | undefined;
  readonly records: readonly RegisterRecord[];
}

const NO_RECORDS: readonly RegisterRecord[] = [];

export const EMPTY_REGISTER: Register = { tag: NO_TAG, value: undefined, records: NO_RECORDS };

/** Negative when `a` is the newer record: the order in which records are kept. */
export function compareRecords(a: RegisterRecord, b: RegisterRecord): number {
  if (a.rank !== b.rank) return b.rank - a.rank;
  if (a.ballot !== b.ballot) return a.ballot > b.ballot ? -1 : 1;
  return a.id === b.id ? 0 : a.id > b.id ? -1 : 1;
}

/** The newest records of both. */
export function mergeRecords(a: readonly RegisterRecord[], b: readonly RegisterRecord[]): readonly RegisterRecord[] {
  if (b.length === 0) return a;
  if (a.length === 0) return b;
  const merged: RegisterRecord[] = [];
  let i = 0;
  let j = 0;
  while (merged.length < MAX_RECORDS) {
    const mine = a[i];
    const theirs = b[j];
    const order = mine === undefined ? 1 : theirs === undefined ? -1 : compareRecords(mine, theirs);
    const next = order <= 0 ? mine : theirs;
    if (next === undefined) break;
    merged.push(next);
    if (order <= 0) i += 1;
    if (order >= 0) j += 1;
  }
  return merged;
}

/** The least register that holds both. */
export function mergeRegisters(a: Register, b: Register): Register {
  const { tag, value } = b.tag > a.tag ? b : a;
  return { tag, value, records: mergeRecords(a.records, b.records) };
}

/** Whether merging `b` into `a` would change nothing. */
export function holds(a: Register, b: Register): boolean {
  if (b.tag > a.tag) return false;
  if (b.records.length === 0) return true;
  const merged = mergeRecords(a.records, b.records);
  return merged.length === a.records.length && merged.every((record, at) => compareRecords(record, a.records[at] ?? record) === 0);
}

/** The record of `id` with the highest ballot. */
export function latestRecord(register: Register, id: ByteString): RegisterRecord | undefined {
  let latest: RegisterRecord | undefined;
  for (const record of register.records) {
    if (record.id === id && (latest === undefined || record.ballot > latest.ballot)) latest = record;
  }
  return latest;
}
