/**
 * What the rest of the engine knows of a table without opening it; it stands in the manifest and, but for masks and holes, in the
 * table's own properties block.
 */

import type { ByteString } from '../../base/bytes.ts';
import type { Reader, Writer } from '../binary.ts';
import { MalformedError } from '../binary.ts';
import type { DamagedRange } from '../damage.ts';
import type { KeyRange } from '../key-range.ts';

export interface TableProperties {
  /** Smallest and largest key, both inclusive. */
  readonly min: ByteString;
  readonly max: ByteString;
  /** All entries, and of these the tombstones, the removals and those that expire. */
  readonly entries: number;
  readonly tombstones: number;
  readonly removals: number;
  readonly expiring: number;
  /** Bytes of keys and values before compression. */
  readonly rawBytes: number;
  /** Of the entries that expire; 0 without any. */
  readonly minExpireAtMs: number;
  readonly maxExpireAtMs: number;
  /** Of the tombstones; 0 without any. */
  readonly minTombstoneTag: number;
  /** Of all entries. */
  readonly maxTag: number;
}

export interface TableMeta extends TableProperties {
  /** Names the file: `000042.sst`. */
  readonly number: number;
  /** The file's length. */
  readonly bytes: number;
  /** Keys dropped after the table was written: in these ranges it holds nothing. */
  readonly masks: readonly KeyRange[];
  /** Keys whose state at this table's place was lost to damage; only an entry that is found answers for them. */
  readonly holes: readonly DamagedRange[];
}

export function tableName(number: number): string {
  return `${String(number).padStart(6, '0')}.sst`;
}

export function logName(number: number): string {
  return `${String(number).padStart(6, '0')}.log`;
}

/** The kind and number in a file's name; `undefined` for names the engine does not know. */
export function parseName(name: string): { readonly kind: 'table' | 'log'; readonly number: number } | undefined {
  const match = /^(\d{6,15})\.(sst|log)$/.exec(name);
  if (match?.[1] === undefined) return undefined;
  return { kind: match[2] === 'sst' ? 'table' : 'log', number: Number(match[1]) };
}

/** `properties = min{text} max{text} entries tombstones removals expiring rawBytes minExpire maxExpire minTombstoneTag maxTag{varint each}` */
export function writeProperties(writer: Writer, properties: TableProperties): void {
  writer.text(properties.min).text(properties.max);
  writer.varint(properties.entries).varint(properties.tombstones).varint(properties.removals).varint(properties.expiring);
  writer.varint(properties.rawBytes).varint(properties.minExpireAtMs).varint(properties.maxExpireAtMs);
  writer.varint(properties.minTombstoneTag).varint(properties.maxTag);
}

/** @throws MalformedError */
export function readProperties(reader: Reader): TableProperties {
  const min = reader.text();
  const max = reader.text();
  if (min > max) throw new MalformedError('keys out of order', reader.at);
  return {
    min,
    max,
    entries: reader.varint(),
    tombstones: reader.varint(),
    removals: reader.varint(),
    expiring: reader.varint(),
    rawBytes: reader.varint(),
    minExpireAtMs: reader.varint(),
    maxExpireAtMs: reader.varint(),
    minTombstoneTag: reader.varint(),
    maxTag: reader.varint(),
  };
}

/**
 * What may be dropped of the keys in `[from, to)` (no `to`: to the end): tombstones, and values that expire, with a tag of at most `gcTag`, unless
 * they carry an expiry after `expiredByMs`. A tombstone's expiry is the instant before which it must stay; 0: none. What has the tag 0 stays.
 */
export interface CollectableRange {
  readonly from: ByteString;
  readonly to?: ByteString;
  readonly gcTag: number;
  readonly expiredByMs: number;
}

/** Whether one of the ranges may find something to drop in the table. */
export function mayCollect(meta: TableMeta, collectable: readonly CollectableRange[]): boolean {
  for (const range of collectable) {
    if (meta.max < range.from || (range.to !== undefined && meta.min >= range.to)) continue;
    if (meta.minTombstoneTag > 0 && range.gcTag >= meta.minTombstoneTag) return true;
    if (meta.expiring > 0 && range.expiredByMs >= meta.minExpireAtMs) return true;
  }
  return false;
}
