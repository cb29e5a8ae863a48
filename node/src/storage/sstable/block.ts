/**
 * A data block: entries in key order, with keys that share a prefix with the one before written as the rest only, but for every
 * `restartInterval`-th, which is written whole and listed in the restart array. Grammar:
 *
 *     block   = entry* restart{u32 each, at least one} count{u32}
 *     entry   = shared{varint} rest{varint} valueLength{varint} flags{u8} [expireAtMs{varint}] [gcTag{varint}] keyRest value
 *     flags   = kind in bits 0-1 (0 value, 1 tombstone, 2 removal), bit 2: expireAtMs follows, bit 3: gcTag follows
 *
 * Invariant: keys strictly ascend. Blocks come here only after their checksum was verified.
 */

import { Buffer } from 'node:buffer';
import type { ByteString } from '../../base/bytes.ts';
import { compareKey, MalformedError, writeVarint } from '../binary.ts';

const KIND_MASK = 3;
const HAS_EXPIRY = 4;
const HAS_TAG = 8;
const ENTRY_HEAD_MOST = 40;

export class BlockBuilder {
  /** Bytes used of `bytes`, before the restart array. */
  length = 0;
  entries = 0;
  lastKey: ByteString = '';
  readonly #restartInterval: number;
  readonly #restarts: number[] = [];
  #bytes: Buffer;

  constructor(restartInterval: number, room: number) {
    this.#restartInterval = restartInterval;
    this.#bytes = Buffer.allocUnsafeSlow(room + 4096);
  }

  /** `value` holds the entry's value from `from` to `to`. Keys come in strictly ascending order. */
  add(key: ByteString, kind: number, expireAtMs: number, gcTag: number, value: Uint8Array, from: number, to: number): void {
    const valueLength = to - from;
    this.#room(ENTRY_HEAD_MOST + key.length + valueLength + 4 * this.#restarts.length + 16);
    const bytes = this.#bytes;
    let shared = 0;
    if (this.entries % this.#restartInterval === 0) {
      this.#restarts.push(this.length);
    } else {
      const last = this.lastKey;
      const most = Math.min(last.length, key.length);
      while (shared < most && last.charCodeAt(shared) === key.charCodeAt(shared)) shared += 1;
    }
    let at = writeVarint(bytes, this.length, shared);
    at = writeVarint(bytes, at, key.length - shared);
    at = writeVarint(bytes, at, valueLength);
    bytes[at] = kind | (expireAtMs === 0 ? 0 : HAS_EXPIRY) | (gcTag === 0 ? 0 : HAS_TAG);
    at += 1;
    if (expireAtMs !== 0) at = writeVarint(bytes, at, expireAtMs);
    if (gcTag !== 0) at = writeVarint(bytes, at, gcTag);
    for (let i = shared; i < key.length; i += 1, at += 1) bytes[at] = key.charCodeAt(i);
    if (valueLength > 0) bytes.set(from === 0 && to === value.length ? value : value.subarray(from, to), at);
    this.length = at + valueLength;
    this.entries += 1;
    this.lastKey = key;
  }

  /** The finished block; it aliases the builder until `clear`. */
  finish(): Buffer {
    this.#room(4 * this.#restarts.length + 4);
    let at = this.length;
    for (const restart of this.#restarts) at = this.#bytes.writeUInt32LE(restart, at);
    at = this.#bytes.writeUInt32LE(this.#restarts.length, at);
    return this.#bytes.subarray(0, at);
  }

  clear(): void {
    this.length = 0;
    this.entries = 0;
    this.#restarts.length = 0;
  }

  #room(more: number): void {
    if (this.length + more <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(2 * this.#bytes.length, this.length + more));
    this.#bytes.copy(larger, 0, 0, this.length);
    this.#bytes = larger;
  }
}

/** Walks a block's entries, or finds one. Reused for many blocks; after a move its fields describe the entry it stands on. */
export class BlockCursor {
  kind = 0;
  expireAtMs = 0;
  gcTag = 0;
  valueFrom = 0;
  valueTo = 0;
  bytes: Buffer = Buffer.alloc(0);
  #end = 0;
  #restarts = 0;
  #next = 0;
  #shared = 0;
  #restFrom = 0;
  #restTo = 0;
  #key: Buffer = Buffer.allocUnsafeSlow(256);
  #keyLength = 0;

  /** Stands before the first entry. @throws MalformedError */
  open(bytes: Buffer): void {
    const length = bytes.length;
    if (length < 8) throw new MalformedError('block too short', 0);
    const restarts = bytes.readUInt32LE(length - 4);
    const end = length - 4 - 4 * restarts;
    if (restarts === 0 || end < 0) throw new MalformedError('restart array out of range', length - 4);
    this.bytes = bytes;
    this.#restarts = restarts;
    this.#end = end;
    this.#next = 0;
    this.#keyLength = 0;
  }

  /** The key of the entry it stands on; only after `next` or `seek`, not after `find`. */
  key(): ByteString {
    return this.#key.toString('latin1', 0, this.#keyLength);
  }

  /** Moves to the next entry; false at the end. */
  next(): boolean {
    if (this.#next >= this.#end) return false;
    this.#decode(this.#next);
    const rest = this.#restTo - this.#restFrom;
    if (this.#shared > this.#keyLength) throw new MalformedError('shared prefix out of range', this.#next);
    const length = this.#shared + rest;
    if (length > this.#key.length) {
      const larger = Buffer.allocUnsafeSlow(2 * length);
      this.#key.copy(larger, 0, 0, this.#keyLength);
      this.#key = larger;
    }
    this.bytes.copy(this.#key, this.#shared, this.#restFrom, this.#restTo);
    this.#keyLength = length;
    this.#next = this.valueTo;
    return true;
  }

  /** Moves to the first entry with a key >= `key`; false if there is none. */
  seek(key: ByteString): boolean {
    this.#next = this.#restartBefore(key);
    this.#keyLength = 0;
    while (this.next()) {
      if (compareKey(key, this.#key, 0, this.#keyLength) <= 0) return true;
    }
    return false;
  }

  /**
   * Finds the entry of exactly `key`, comparing only the bytes that differ from key to key and building none.
   * With `matched` the number of bytes the target shares with the previous (smaller) key: an entry that shares more with its predecessor
   * is smaller too; one that shares less is greater, and ends the search.
   */
  find(key: ByteString): boolean {
    const bytes = this.bytes;
    let at = this.#restartBefore(key);
    let matched = 0;
    while (at < this.#end) {
      this.#decode(at);
      const shared = this.#shared;
      if (shared < matched) return false;
      if (shared === matched) {
        let from = this.#restFrom;
        const to = this.#restTo;
        while (from < to && matched < key.length && (bytes[from] as number) === key.charCodeAt(matched)) {
          from += 1;
          matched += 1;
        }
        if (from === to) {
          if (matched === key.length) return true;
        } else if (matched === key.length || (bytes[from] as number) > key.charCodeAt(matched)) {
          return false;
        }
      }
      at = this.valueTo;
    }
    return false;
  }

  /** The value's bytes, aliasing the block. */
  value(): Buffer {
    return this.bytes.subarray(this.valueFrom, this.valueTo);
  }

  /** The last restart whose key is <= `key`, or the first one. */
  #restartBefore(key: ByteString): number {
    const bytes = this.bytes;
    let low = 0;
    let high = this.#restarts - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      const at = bytes.readUInt32LE(this.#end + 4 * middle);
      this.#decode(at);
      if (compareKey(key, bytes, this.#restFrom, this.#restTo) >= 0) low = middle;
      else high = middle - 1;
    }
    return bytes.readUInt32LE(this.#end + 4 * low);
  }

  #decode(at: number): void {
    const bytes = this.bytes;
    const end = this.#end;
    if (at + 4 > end) throw new MalformedError('entry cut short', at);
    let position = at;
    // Nearly always each of the three fits one or two bytes.
    let shared = bytes[position] as number;
    if (shared < 0x80) position += 1;
    else {
      shared = this.#varint(position);
      position = this.#after;
    }
    let rest = bytes[position] as number;
    if (rest < 0x80) position += 1;
    else {
      rest = this.#varint(position);
      position = this.#after;
    }
    let valueLength = bytes[position] as number;
    if (valueLength < 0x80) position += 1;
    else {
      valueLength = this.#varint(position);
      position = this.#after;
    }
    const flags = bytes[position] as number;
    position += 1;
    this.kind = flags & KIND_MASK;
    if ((flags & HAS_EXPIRY) === 0) this.expireAtMs = 0;
    else {
      this.expireAtMs = this.#varint(position);
      position = this.#after;
    }
    if ((flags & HAS_TAG) === 0) this.gcTag = 0;
    else {
      this.gcTag = this.#varint(position);
      position = this.#after;
    }
    this.#shared = shared;
    this.#restFrom = position;
    this.#restTo = position + rest;
    this.valueFrom = this.#restTo;
    this.valueTo = this.#restTo + valueLength;
    if (this.valueTo > end) throw new MalformedError('entry out of range', at);
  }

  #after = 0;

  #varint(at: number): number {
    const bytes = this.bytes;
    let position = at;
    let value = 0;
    let scale = 1;
    for (let count = 0; count < 8 && position < this.#end; count += 1) {
      const byte = bytes[position] as number;
      position += 1;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        this.#after = position;
        return value;
      }
      scale *= 128;
    }
    throw new MalformedError('number out of range', at);
  }
}
