/**
 * The codec of Object v2 (byte grammar: register-layout.ts), with the same invariants as codec.ts: equal registers give equal bytes, what is
 * accepted is the one encoding of its register, and whatever the bytes, decoding answers a register or throws DATA_DAMAGED.
 */

import { type ByteString, toByteString, writeByteString } from '../../base/bytes.ts';
import { invariant } from '../../base/errors.ts';
import type { Checksum } from '../../base/hash.ts';
import { type Allocate, damaged, verifyChecksum } from './codec.ts';
import { hasItsDigest, writeDigest } from './digest.ts';
import { readU16, readU32, readU64, writeU16, writeU32, writeU64 } from './fields.ts';
import { AT_CHECKED, AT_CRC } from './layout.ts';
import { BODY_HASH_BYTES, OPERATION_ID_BYTES } from './object.ts';
import { compareRecords, EMPTY_REGISTER, MAX_RECORDS, type Register, type RegisterRecord } from './register.ts';
import {
  AT_KIND,
  AT_RECORDS,
  AT_TAG,
  AT_VALUE_LENGTH,
  KIND_DELETED,
  KIND_NOTHING,
  KIND_VALUE,
  RECORD_BYTES,
  REGISTER_HEADER_BYTES,
  REGISTER_MAGIC,
} from './register-layout.ts';
import { isTagAt, NO_TAG, type Tag, TAG_BYTES } from './tag.ts';

const FLAG_EXISTED = 1;
const NOTHING = new Uint8Array(0);
const allocateFresh: Allocate = (size) => new Uint8Array(size);

/** Whether the bytes claim to be a register; the rest of them is not looked at. */
export function isRegister(bytes: Uint8Array): boolean {
  return bytes.length >= REGISTER_HEADER_BYTES && readU32(bytes, 0) === REGISTER_MAGIC;
}

/** The encoding of `register`. */
export function encodeRegister(register: Register, checksum: Checksum, allocate: Allocate = allocateFresh): Uint8Array {
  const { tag, value = NOTHING, records } = register;
  invariant(records.length <= MAX_RECORDS && (tag !== NO_TAG || register.value === undefined), 'a register is within its bounds');
  const valueAt = REGISTER_HEADER_BYTES + records.length * RECORD_BYTES;
  const bytes = allocate(valueAt + value.length);
  writeU32(bytes, 0, REGISTER_MAGIC);
  writeU16(bytes, AT_RECORDS, records.length << 8);
  writeU16(bytes, AT_RECORDS + 2, 0);
  writeU16(bytes, AT_KIND, (tag === NO_TAG ? KIND_NOTHING : register.value === undefined ? KIND_DELETED : KIND_VALUE) << 8);
  if (tag === NO_TAG) bytes.fill(0, AT_TAG, AT_TAG + TAG_BYTES);
  else writeByteString(tag, bytes, AT_TAG);
  writeU32(bytes, AT_VALUE_LENGTH, value.length);
  let at = REGISTER_HEADER_BYTES;
  for (const record of records) {
    at = writeByteString(record.id, bytes, at);
    at = writeByteString(record.bodyHash, bytes, at);
    at = writeByteString(record.ballot, bytes, at);
    at = writeByteString(record.tag, bytes, at);
    at = writeU64(bytes, at, record.rank);
    bytes[at] = record.existed ? FLAG_EXISTED : 0;
    at += 1;
  }
  bytes.set(value, valueAt);
  writeDigest(bytes, REGISTER_HEADER_BYTES);
  writeU32(bytes, AT_CRC, checksum(bytes.subarray(AT_CHECKED)));
  return bytes;
}

/** The tag in an encoded register, read in place; the checksum is not verified. @throws CoterieError DATA_DAMAGED */
export function readTag(bytes: Uint8Array): Tag {
  if (!isRegister(bytes)) throw damaged('not a register');
  return bytes[AT_KIND] === KIND_NOTHING ? NO_TAG : toByteString(bytes, AT_TAG, AT_TAG + TAG_BYTES);
}

/** Whether an encoded register has a value. */
export function isLive(bytes: Uint8Array): boolean {
  return bytes[AT_KIND] === KIND_VALUE;
}

/** The value in an encoded register, a view; `undefined` where there is none. The checksum is not verified. @throws CoterieError DATA_DAMAGED */
export function readValue(bytes: Uint8Array): Uint8Array | undefined {
  const valueAt = REGISTER_HEADER_BYTES + (bytes[AT_RECORDS] ?? 0) * RECORD_BYTES;
  if (!isRegister(bytes) || valueAt + readU32(bytes, AT_VALUE_LENGTH) !== bytes.length) throw damaged('value beyond the end');
  return isLive(bytes) ? bytes.subarray(valueAt) : undefined;
}

function tagAt(bytes: Uint8Array, at: number): Tag {
  if (!isTagAt(bytes, at)) throw damaged('tag out of range');
  return toByteString(bytes, at, at + TAG_BYTES);
}

function readRecord(bytes: Uint8Array, from: number): RegisterRecord {
  let at = from;
  const take = (length: number): ByteString => {
    at += length;
    return toByteString(bytes, at - length, at);
  };
  const id = take(OPERATION_ID_BYTES);
  const bodyHash = take(BODY_HASH_BYTES);
  const ballot = tagAt(bytes, at);
  const tag = tagAt(bytes, at + TAG_BYTES);
  at += 2 * TAG_BYTES;
  const rank = readU64(bytes, at);
  const flags = bytes[at + 8] ?? 0;
  if (rank < 1 || rank > Number.MAX_SAFE_INTEGER || flags > FLAG_EXISTED) throw damaged('record out of range');
  return { id, bodyHash, ballot, tag, rank, existed: flags === FLAG_EXISTED };
}

/**
 * The register in `bytes`. Its value is a view into them.
 *
 * @throws CoterieError DATA_DAMAGED
 */
export function decodeRegister(bytes: Uint8Array, checksum: Checksum): Register {
  verifyChecksum(bytes, checksum);
  return decodeVerifiedRegister(bytes);
}

/** The register in `bytes`, which `verifyChecksum` has passed. @throws CoterieError DATA_DAMAGED */
export function decodeVerifiedRegister(bytes: Uint8Array): Register {
  if (!isRegister(bytes)) throw damaged('not a register');
  const count = bytes[AT_RECORDS] ?? 0;
  const kind = bytes[AT_KIND] ?? 0;
  if (count > MAX_RECORDS || kind > KIND_DELETED) throw damaged('counts out of range');
  if (bytes[AT_RECORDS + 1] !== 0 || readU16(bytes, AT_RECORDS + 2) !== 0 || bytes[AT_KIND + 1] !== 0) throw damaged('unknown flags');
  const valueAt = REGISTER_HEADER_BYTES + count * RECORD_BYTES;
  const length = readU32(bytes, AT_VALUE_LENGTH);
  if (valueAt + length !== bytes.length || (kind !== KIND_VALUE && length !== 0)) throw damaged('value beyond the end');
  let tag = NO_TAG;
  if (kind !== KIND_NOTHING) tag = tagAt(bytes, AT_TAG);
  else if (bytes.subarray(AT_TAG, AT_TAG + TAG_BYTES).some((byte) => byte !== 0)) throw damaged('tag without a write');
  const records: RegisterRecord[] = [];
  for (let i = 0; i < count; i += 1) {
    const record = readRecord(bytes, REGISTER_HEADER_BYTES + i * RECORD_BYTES);
    const newer = records[i - 1];
    if (newer !== undefined && compareRecords(newer, record) >= 0) throw damaged('records out of order');
    records.push(record);
  }
  if (!hasItsDigest(bytes, REGISTER_HEADER_BYTES)) throw damaged('wrong digest');
  return { tag, value: kind === KIND_VALUE ? bytes.subarray(valueAt) : undefined, records };
}

/** The register in `bytes`, or the one of a key that was never written. @throws CoterieError DATA_DAMAGED */
export function registerIn(bytes: Uint8Array | undefined, checksum: Checksum): Register {
  return bytes === undefined ? EMPTY_REGISTER : decodeRegister(bytes, checksum);
}
