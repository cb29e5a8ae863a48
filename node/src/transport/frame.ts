/**
 * The frame: the unit that crosses a connection. All integers are big-endian.
 *
 *     length      u32   bytes after this field: 22 + payload
 *     type        u8    1 to 15: the transport's own (FrameType); 16 to 255: messages of the rooms above
 *     flags       u8    FrameFlag bits; the others are 0
 *     request id  u32   chosen by the side that asks, unique among its unanswered requests; 0 where there is no request
 *     remaining   u32   of a request: milliseconds the sender still waits, > 0 (relative, because clocks differ); else 0
 *     epoch       u64   the sender's topology epoch, below 2^53; 0 where it says none
 *     crc         u32   CRC-32 (as in zlib) of the 22 bytes before it, length included, and then of the payload
 *     payload
 *
 * A payload above CHUNK_BYTES is cut into frames that agree in all but flags, length and crc: all but the last have MORE, all but the first
 * have CONTINUED. Frames of other messages may stand between them.
 *
 * MARK has no request id; its payload is the sender's monotonic clock, u64 milliseconds below 2^53 (see lateness.ts).
 *
 * Numbers of types and flags are append-only; a retired one is never used again.
 */

import { crc32 as nativeCrc32 } from 'node:zlib';

import { crc32Range } from '../base/hash.ts';

export const FrameType = { HELLO: 1, WELCOME: 2, ERROR: 3, CANCEL: 4, PING: 5, PONG: 6, MARK: 7 } as const;

/** Message types are the caller's, from here to 255. */
export const FIRST_MESSAGE_TYPE = 16;

export const FrameFlag = { REPLY: 1, MORE: 2, CONTINUED: 4 } as const;
export const ALL_FLAGS = 7;

export const HEADER_BYTES = 26;
/** What `length` counts of the header. */
export const COUNTED_HEADER_BYTES = 22;
/** Where the crc stands: the bytes before it are covered. */
export const CRC_AT = 22;
export const REMAINING_AT = 10;

/** Payload bytes of one frame. */
export const CHUNK_BYTES: number = 64 * 1024;

/** The largest `remaining` that the field holds. */
export const MAX_REMAINING_MS = 0xffff_ffff;

const TWO_32 = 0x1_0000_0000;
/** Up to here the plain loop beats the call into zlib (0.15 us). */
const SHORT_BYTES = 160;

/** CRC-32 of the frame that starts at `at` and has `payloadBytes` of payload. */
export function frameCrc(bytes: Uint8Array, at: number, payloadBytes: number): number {
  const header = crc32Range(bytes, at, at + CRC_AT, 0);
  const from = at + HEADER_BYTES;
  if (payloadBytes <= SHORT_BYTES) return crc32Range(bytes, from, from + payloadBytes, header);
  return nativeCrc32(new Uint8Array(bytes.buffer, bytes.byteOffset + from, payloadBytes), header);
}

/** Writes `value`, an unsigned 32-bit integer. */
export function writeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** Reads an unsigned 32-bit integer; bytes that are not there count as 0. */
export function readU32(bytes: Uint8Array, at: number): number {
  return (((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)) >>> 0;
}

/**
 * Writes one frame at `at`; answers the position after it. The caller has made room for HEADER_BYTES and the payload.
 *
 * @param payload at most CHUNK_BYTES are taken, from `from` to `to`
 * @param epoch a safe integer
 */
export function writeFrame(
  target: Uint8Array,
  at: number,
  type: number,
  flags: number,
  id: number,
  remainingMs: number,
  epoch: number,
  payload: Uint8Array,
  from: number,
  to: number,
): number {
  const size = to - from;
  writeU32(target, at, COUNTED_HEADER_BYTES + size);
  target[at + 4] = type;
  target[at + 5] = flags;
  writeU32(target, at + 6, id);
  writeU32(target, at + REMAINING_AT, remainingMs);
  writeU32(target, at + 14, Math.floor(epoch / TWO_32));
  writeU32(target, at + 18, epoch);
  if (size > 0) target.set(size === payload.length ? payload : payload.subarray(from, to), at + HEADER_BYTES);
  writeU32(target, at + CRC_AT, frameCrc(target, at, size));
  return at + HEADER_BYTES + size;
}

export const MARK_BYTES = 8;

/** Writes the payload of a MARK at `at`. */
export function writeMark(target: Uint8Array, at: number, nowMs: number): void {
  const whole = Math.floor(nowMs);
  writeU32(target, at, Math.floor(whole / TWO_32));
  writeU32(target, at + 4, whole);
}

/** The clock in the payload of a MARK; undefined where it is none. */
export function readMark(payload: Uint8Array): number | undefined {
  if (payload.length !== MARK_BYTES) return undefined;
  const ms = readU32(payload, 0) * TWO_32 + readU32(payload, 4);
  return Number.isSafeInteger(ms) ? ms : undefined;
}

/** A received frame. One object per parser is reused: it is borrowed, and so is its payload, until the sink returns. */
export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly remainingMs: number;
  readonly epoch: number;
  readonly payload: Uint8Array;
}
