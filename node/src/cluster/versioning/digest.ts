/**
 * The 8-byte digest of an object's state: HalfSipHash-2-4 under a fixed key over the canonical bytes. It is compared across nodes and enters
 * the Merkle trees, so neither key nor algorithm may change within version 1 of the encoding.
 */

import type { Hash64 } from '../../base/hash.ts';
import { halfSipHash64Bytes } from '../../base/hash.ts';
import { readU32, writeU32 } from './fields.ts';
import { AT_DIGEST, AT_HEADER, DIGEST_BYTES } from './layout.ts';

const KEY = { k0: 0x636f7465, k1: 0x7269652d } as const;
const scratch: Hash64 = { hi: 0, lo: 0 };

/** Writes the digest of the encoded object in `bytes`, whose state ends at `end`. */
export function writeDigest(bytes: Uint8Array, end: number): void {
  halfSipHash64Bytes(KEY, bytes, AT_HEADER, end, scratch);
  writeU32(bytes, AT_DIGEST, scratch.hi);
  writeU32(bytes, AT_DIGEST + 4, scratch.lo);
}

/** Whether the digest in `bytes` is the one of its state. */
export function hasItsDigest(bytes: Uint8Array, end: number): boolean {
  halfSipHash64Bytes(KEY, bytes, AT_HEADER, end, scratch);
  return readU32(bytes, AT_DIGEST) === scratch.hi && readU32(bytes, AT_DIGEST + 4) === scratch.lo;
}

/** Whether two digests of 8 bytes are equal. */
export function sameDigest(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === DIGEST_BYTES && b.length === DIGEST_BYTES && readU32(a, 0) === readU32(b, 0) && readU32(a, 4) === readU32(b, 4);
}
