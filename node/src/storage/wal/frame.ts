/**
 * Frames: how writes lie in the memtable's slabs and, byte for byte the same, in the commit log. One batch is one frame.
 *
 *     frame  = crc{u32, of everything behind it in the frame} length{u32, of the frame, a multiple of 8} tag{u32} count{u32}
 *              sequence{u64} synced{u64} record*
 *     tag    = 0xc07e1000 + kind: 1 batch, 2 mark (no records), 3 dropped range (one record: key = from, value = to)
 *     record = link{u32} valueLength{u32} keyLength{u16} kind{u8} flags{u8} order{u32} expireAtMs{f64} gcTag{f64} key value zero*
 *
 * Frames and records start at multiples of 8. `link` and `order` mean something in memory only: the offset of the key's previous record,
 * and the sequence less the memtable's first. `synced` says how much of the file was on the disk when the frame was made: a later frame
 * that passes its checksum proves that everything below was there, so what is broken below is damage, and above is a torn tail.
 * Flag 1 on a dropped range: it has no end.
 */

import type { Buffer } from 'node:buffer';
import { crc32 } from 'node:zlib';

export const FRAME_HEAD_BYTES = 32;
export const RECORD_HEAD_BYTES = 32;

export const FRAME_BATCH = 1;
export const FRAME_MARK = 2;
export const FRAME_DROP = 3;

const TAG = 0xc07e1000;
const TWO_32 = 2 ** 32;
export const FLAG_NO_END = 1;

export function padded(length: number): number {
  return (length + 7) & ~7;
}

export function recordBytes(keyLength: number, valueLength: number): number {
  return padded(RECORD_HEAD_BYTES + keyLength + valueLength);
}

/** Writes the head of the frame that takes `[at, at + length)`; its records are there already. */
export function sealFrame(
  bytes: Buffer,
  words: Uint32Array,
  at: number,
  length: number,
  kind: number,
  count: number,
  sequence: number,
  synced: number,
): void {
  const word = at >>> 2;
  words[word + 1] = length;
  words[word + 2] = TAG + kind;
  words[word + 3] = count;
  words[word + 4] = sequence >>> 0;
  words[word + 5] = Math.floor(sequence / TWO_32);
  words[word + 6] = synced >>> 0;
  words[word + 7] = Math.floor(synced / TWO_32);
  words[word] = crc32(bytes.subarray(at + 4, at + length));
}

export interface Frame {
  readonly kind: number;
  readonly length: number;
  readonly count: number;
  readonly sequence: number;
  readonly synced: number;
}

/** The frame at `at` of a file's bytes; `undefined` where there is none that passes its checksum. */
export function readFrame(bytes: Buffer, at: number): Frame | undefined {
  if (at + FRAME_HEAD_BYTES > bytes.length) return undefined;
  const length = bytes.readUInt32LE(at + 4);
  const kind = bytes.readUInt32LE(at + 8) - TAG;
  if (length < FRAME_HEAD_BYTES || length % 8 !== 0 || at + length > bytes.length || kind < FRAME_BATCH || kind > FRAME_DROP) {
    return undefined;
  }
  if (bytes.readUInt32LE(at) !== crc32(bytes.subarray(at + 4, at + length))) return undefined;
  return {
    kind,
    length,
    count: bytes.readUInt32LE(at + 12),
    sequence: bytes.readUInt32LE(at + 20) * TWO_32 + bytes.readUInt32LE(at + 16),
    synced: bytes.readUInt32LE(at + 28) * TWO_32 + bytes.readUInt32LE(at + 24),
  };
}

/** A record's fields; reused from record to record. */
export class RecordView {
  kind = 0;
  flags = 0;
  order = 0;
  expireAtMs = 0;
  gcTag = 0;
  keyFrom = 0;
  valueFrom = 0;
  valueTo = 0;
  /** Where the next record starts. */
  next = 0;

  /** Reads the record at `at`; false where it does not fit before `end`. */
  read(bytes: Buffer, at: number, end: number): boolean {
    if (at + RECORD_HEAD_BYTES > end) return false;
    const valueLength = bytes.readUInt32LE(at + 4);
    const keyLength = bytes.readUInt16LE(at + 8);
    this.kind = bytes[at + 10] as number;
    this.flags = bytes[at + 11] as number;
    this.order = bytes.readUInt32LE(at + 12);
    this.expireAtMs = bytes.readDoubleLE(at + 16);
    this.gcTag = bytes.readDoubleLE(at + 24);
    this.keyFrom = at + RECORD_HEAD_BYTES;
    this.valueFrom = this.keyFrom + keyLength;
    this.valueTo = this.valueFrom + valueLength;
    this.next = at + recordBytes(keyLength, valueLength);
    return this.next <= end;
  }
}
