/**
 * Fixed-width big-endian integers in byte arrays. Written by hand: a DataView for each object costs more than the reads it serves.
 * Reads beyond the end give zeros; callers check lengths first.
 */

const TWO_32 = 0x1_0000_0000;

export function readU16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

export function readU32(bytes: Uint8Array, at: number): number {
  return (((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)) >>> 0;
}

export function readU48(bytes: Uint8Array, at: number): number {
  return readU16(bytes, at) * TWO_32 + readU32(bytes, at + 2);
}

/** A u64 as a number; above 2^53 it is inexact, and the caller refuses it. */
export function readU64(bytes: Uint8Array, at: number): number {
  return readU32(bytes, at) * TWO_32 + readU32(bytes, at + 4);
}

export function writeU16(bytes: Uint8Array, at: number, value: number): number {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
  return at + 2;
}

export function writeU32(bytes: Uint8Array, at: number, value: number): number {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
  return at + 4;
}

// Of a whole number below 2^53, `>>> 0` is the lower word, and costs a tenth of a remainder of floats.

export function writeU48(bytes: Uint8Array, at: number, value: number): number {
  writeU16(bytes, at, (value / TWO_32) >>> 0);
  return writeU32(bytes, at + 2, value >>> 0);
}

/** `value` is a whole number from 0 to 2^53-1. */
export function writeU64(bytes: Uint8Array, at: number, value: number): number {
  writeU32(bytes, at, (value / TWO_32) >>> 0);
  return writeU32(bytes, at + 4, value >>> 0);
}
