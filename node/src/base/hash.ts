/**
 * Hashes. HalfSipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", and its 32-bit variant) is keyed and needs 32-bit
 * arithmetic only, which JavaScript does fast; it places keys on the ring. MurmurHash3 is for tables and filters. CRC-32 (IEEE 802.3, as in zlib) guards bytes.
 */

import type { ByteString } from './bytes.ts';

/** A checksum function: CRC-32 of `bytes`, continuing from `seed` (0 to start). The runtime injects zlib's native one. */
export type Checksum = (bytes: Uint8Array, seed?: number) => number;

/** Two 32-bit halves of a 64-bit hash, each an unsigned integer. The object is reused by callers that pass `into`. */
export interface Hash64 {
  hi: number;
  lo: number;
}

/** A 64-bit key for the keyed hash, as two unsigned 32-bit halves. */
export interface HashKey {
  readonly k0: number;
  readonly k1: number;
}

const INIT_2 = 0x6c796765;
const INIT_3 = 0x74656462;

/**
 * HalfSipHash-2-4 with 64 bits of output over the bytes of `text`.
 *
 * @param into receives the result, so that hot paths allocate nothing
 */
export function halfSipHash64(key: HashKey, text: ByteString, into: Hash64): Hash64 {
  let v0 = key.k0 | 0;
  let v1 = (key.k1 ^ 0xee) | 0;
  let v2 = (INIT_2 ^ key.k0) | 0;
  let v3 = (INIT_3 ^ key.k1) | 0;
  const length = text.length;
  const whole = length & ~3;
  for (let at = 0; at < whole; at += 4) {
    const m = text.charCodeAt(at) | (text.charCodeAt(at + 1) << 8) | (text.charCodeAt(at + 2) << 16) | (text.charCodeAt(at + 3) << 24);
    v3 ^= m;
    // Two rounds, written out: as a loop they take a third more time.
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    v0 ^= m;
  }
  let last = (length & 0xff) << 24;
  for (let at = whole; at < length; at += 1) last |= text.charCodeAt(at) << (8 * (at - whole));
  return finish(v0, v1, v2, v3, last, into);
}

/** HalfSipHash-2-4 over `bytes` from `from` to `to`: equal to `halfSipHash64` over the same bytes as a byte string. */
export function halfSipHash64Bytes(key: HashKey, bytes: Uint8Array, from: number, to: number, into: Hash64): Hash64 {
  let v0 = key.k0 | 0;
  let v1 = (key.k1 ^ 0xee) | 0;
  let v2 = (INIT_2 ^ key.k0) | 0;
  let v3 = (INIT_3 ^ key.k1) | 0;
  const length = to - from;
  const whole = from + (length & ~3);
  for (let at = from; at < whole; at += 4) {
    const m = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16) | ((bytes[at + 3] ?? 0) << 24);
    v3 ^= m;
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    v0 ^= m;
  }
  let last = (length & 0xff) << 24;
  for (let at = whole; at < to; at += 1) last |= (bytes[at] ?? 0) << (8 * (at - whole));
  return finish(v0, v1, v2, v3, last, into);
}

/** The last word, of the bytes left over and the length; then four rounds for each half of the result. */
function finish(a: number, b: number, c: number, d: number, last: number, into: Hash64): Hash64 {
  let v0 = a;
  let v1 = b;
  let v2 = c;
  let v3 = d ^ last;
  for (let round = 1; round <= 10; round += 1) {
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    if (round === 2) {
      v0 ^= last;
      v2 ^= 0xee;
    } else if (round === 6) {
      into.lo = (v1 ^ v3) >>> 0;
      v1 ^= 0xdd;
    }
  }
  into.hi = (v1 ^ v3) >>> 0;
  return into;
}

/** The finaliser of MurmurHash3 (Appleby): an unsigned 32-bit integer of which every bit depends on every bit of `word`. */
export function murmurMix(word: number): number {
  let h = word;
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** MurmurHash3 (x86, 32 bits) of the bytes of `text`: quick, and no protection against keys chosen to collide. */
export function murmurHash3(text: ByteString, seed: number): number {
  const length = text.length;
  const whole = length & ~3;
  let h = seed;
  for (let at = 0; at < whole; at += 4) {
    let k = text.charCodeAt(at) | (text.charCodeAt(at + 1) << 8) | (text.charCodeAt(at + 2) << 16) | (text.charCodeAt(at + 3) << 24);
    k = Math.imul(k, 0xcc9e2d51);
    k = (k << 15) | (k >>> 17);
    h ^= Math.imul(k, 0x1b873593);
    h = (h << 13) | (h >>> 19);
    h = (Math.imul(h, 5) + 0xe6546b64) | 0;
  }
  let tail = 0;
  for (let at = length - 1; at >= whole; at -= 1) tail = (tail << 8) | text.charCodeAt(at);
  if (whole < length) {
    tail = Math.imul(tail, 0xcc9e2d51);
    tail = (tail << 15) | (tail >>> 17);
    h ^= Math.imul(tail, 0x1b873593);
  }
  return murmurMix(h ^ length);
}

const TABLE = ((): Uint32Array => {
  const table = new Uint32Array(256);
  for (let byte = 0; byte < 256; byte += 1) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
    table[byte] = crc >>> 0;
  }
  return table;
})();

/** CRC-32 of `bytes` from `from` to `to`, continuing from `seed`: for short runs, where a view and a native call cost more. */
export function crc32Range(bytes: Uint8Array, from: number, to: number, seed: number): number {
  let crc = ~seed;
  for (let at = from; at < to; at += 1) crc = (TABLE[(crc ^ (bytes[at] ?? 0)) & 0xff] ?? 0) ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** CRC-32 in plain JavaScript: equal to `zlib.crc32`, for the rooms that may not import it. */
export const crc32: Checksum = (bytes, seed = 0) => crc32Range(bytes, 0, bytes.length, seed);
