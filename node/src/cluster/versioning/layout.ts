/**
 * Object v1: the bytes of a versioned object, on disk and between nodes. All integers are big-endian. Append-only: a number once used keeps
 * its meaning, another layout takes another version.
 *
 *   object   = magic crc digest digest-free header actor* floor? sibling* extra* operation* value*
 *   magic    = 01 'k' 'v' 'o'                                         version 1
 *   crc      = u32     CRC-32 of every byte after it, to the end
 *   digest   = 8       hash of the bytes from `header` to the last `sibling`: the state and what is shown of it, without operation records
 *                      and value bytes
 *   digest-free = u8 operations (0..16) | u8 extra actors (0..16) | u16 zero
 *   header   = u8 flags (bit 0: `floor` is present) | u8 zero | u16 siblings | u16 actors
 *            | u48 expiry: the last of the siblings' expiries; 0 when one never expires, or there is no sibling
 *            | u48 ms, u16 logical: the newest hybrid time in the object
 *            | u48 truncation floor
 *   actor    = 20 actor | u64 counter | u48 ms          strictly ascending by actor; the clock. Counter 0: no entry (it lies under the
 *                                                       truncation floor), the actor is here because a sibling or `floor` refers to it
 *   floor    = u48 ms | u16 logical | u64 counter | u16 actor      the blind floor; absent when none, or when it is the blind sibling
 *   sibling  = u48 ms | u16 logical | u64 counter | u16 actor      the write's order, strictly descending
 *            | u8 flags (bit 0: blind; bit 1: hidden, its operation was replaced; bit 2: twin, shown as a newer sibling: visibility.ts)
 *            | u48 edit ms, u16 edit logical | u48 expiry | u32 value length
 *   extra    = 20 actor                                 strictly ascending, not among the actors; those that only operations refer to
 *   operation = 16 id | 8 body hash | u48 ms | u64 counter | u16 actor (extras count on after the actors) | u8 flags (bit 0: existed;
 *               bit 1: replaced by a write whose context had seen it)
 *   value    = the siblings' values in their order, without gaps, to the last byte
 *
 * Everything has a fixed width but the values, so a reader reaches the newest value from the counts alone. An object has exactly one encoding:
 * the decoder refuses whatever the encoder would not write. The digest leaves values out because a dot's value never changes, and the
 * checksum guards its bytes.
 */

import { readU16 } from './fields.ts';
import { MAX_ATTEMPTS } from './attempt.ts';
import { ACTOR_BYTES, MAX_OPERATIONS } from './object.ts';

/** 01 'k' 'v' 'o'. */
export const MAGIC = 0x016b766f;

export const AT_CRC = 4;
/** First byte under the checksum. */
export const AT_CHECKED = 8;
export const AT_DIGEST = 8;
export const DIGEST_BYTES = 8;
export const AT_OPERATIONS = 16;
export const AT_EXTRAS = 17;
export const AT_ZERO = 18;
/** First byte under the digest. */
export const AT_HEADER = 20;
export const AT_FLAGS = 20;
export const AT_SIBLINGS = 22;
export const AT_ACTORS = 24;
export const AT_EXPIRY = 26;
export const AT_NEWEST = 32;
export const AT_FLOOR_MS = 40;
export const HEADER_BYTES = 46;

export const FLAG_FLOOR = 1;
export const FLAG_BLIND = 1;
export const FLAG_HIDDEN = 2;
export const FLAG_TWIN = 4;
export const FLAG_EXISTED = 1;
export const FLAG_REPLACED = 2;
/** Of a record, where its flags lie. */
export const AT_RECORD_FLAGS = 40;
/** In a u16 of actor numbers. */
export const MAX_ACTORS = 0xffff;

export const ENTRY_BYTES: number = ACTOR_BYTES + 14;
export const ORDER_BYTES = 18;
export const SIBLING_BYTES: number = ORDER_BYTES + 19;
export const OPERATION_BYTES = 41;

/** Where the parts of an encoded object begin. */
export interface Layout {
  readonly actors: number;
  readonly siblings: number;
  readonly extras: number;
  readonly operations: number;
  readonly hasFloor: boolean;
  readonly floorAt: number;
  readonly siblingsAt: number;
  readonly extrasAt: number;
  readonly operationsAt: number;
  readonly valuesAt: number;
}

export function layoutOf(actors: number, hasFloor: boolean, siblings: number, extras: number, operations: number): Layout {
  const floorAt = HEADER_BYTES + actors * ENTRY_BYTES;
  const siblingsAt = floorAt + (hasFloor ? ORDER_BYTES : 0);
  const extrasAt = siblingsAt + siblings * SIBLING_BYTES;
  const operationsAt = extrasAt + extras * ACTOR_BYTES;
  const valuesAt = operationsAt + operations * OPERATION_BYTES;
  return { actors, siblings, extras, operations, hasFloor, floorAt, siblingsAt, extrasAt, operationsAt, valuesAt };
}

/** The layout that the counts in `bytes` ask for; `undefined` when `bytes` is too short for it, or a count is out of range. */
export function readLayout(bytes: Uint8Array): Layout | undefined {
  if (bytes.length < HEADER_BYTES) return undefined;
  const flags = bytes[AT_FLAGS] ?? 0;
  const operations = bytes[AT_OPERATIONS] ?? 0;
  const extras = bytes[AT_EXTRAS] ?? 0;
  if (flags > FLAG_FLOOR || operations > MAX_OPERATIONS + MAX_ATTEMPTS || extras > operations) return undefined;
  const layout = layoutOf(readU16(bytes, AT_ACTORS), flags === FLAG_FLOOR, readU16(bytes, AT_SIBLINGS), extras, operations);
  return layout.valuesAt <= bytes.length ? layout : undefined;
}
