/**
 * Hash trees on the disk: all of a store's, as they were after one of its writes. Integers are big-endian.
 *
 *   file      = magic "COTERHTR" | u32 version | u32 crc, CRC-32 of every byte after it | header partition*
 *   header    = 16 store id | u64 sequence: the write | u8 log2(Q) | u32 partitions
 *   partition = u32 number, ascending | 32 filled: a bit a leaf, the lowest bit of the first byte for the first leaf | 32 unknown: the same
 *             | (u32 high, u32 low) for each filled leaf; the others are 0
 *
 * Version 1. The numbers of the hash are those of hash-trees.ts and versioning/digest.ts: whoever changes either takes another version. A file that
 * is damaged, or of another store, ring or version, is no error: the trees are then computed anew.
 */

import { fromHex, toByteString, toHex, writeByteString } from '../../base/bytes.ts';
import type { Checksum } from '../../base/hash.ts';
import type { StoreId } from '../../base/ids.ts';
import { readU32, readU64, writeU32, writeU64 } from '../versioning/fields.ts';
import { type HashTrees, UNBUILT } from './hash-trees.ts';
import { LEAVES } from './tree-shape.ts';

const MAGIC = 'COTERHTR';
const VERSION = 1;
const AT_CRC = 12;
const AT_CHECKED = 16;
const AT_SEQUENCE = 32;
const AT_BITS = 40;
const AT_COUNT = 41;
const HEAD_BYTES = 45;
const BITMAP_BYTES = LEAVES / 8;
const PARTITION_HEAD_BYTES = 4 + 2 * BITMAP_BYTES;

/** Trees as they were at one moment. */
export interface TreeCheckpoint {
  /** The content is the one after this write. */
  readonly sequence: number;
  readonly words: Uint32Array;
  /** Damage is written down as a leaf to be computed: the scan that does it meets the damage again. */
  readonly flags: Uint8Array;
}

/** A copy of the trees as they are. */
export function checkpointOf(trees: HashTrees, sequence: number): TreeCheckpoint {
  return { sequence, words: trees.words.slice(), flags: trees.flags.map((flag) => (flag === 0 ? 0 : UNBUILT)) };
}

export function encodeTrees(trees: HashTrees, checkpoint: TreeCheckpoint, store: StoreId, checksum: Checksum): Uint8Array {
  const { words, flags, sequence } = checkpoint;
  let filled = 0;
  for (let leaf = 0; leaf < flags.length; leaf += 1) if (words[2 * leaf] !== 0 || words[2 * leaf + 1] !== 0) filled += 1;
  const bytes = new Uint8Array(HEAD_BYTES + trees.partitions.length * PARTITION_HEAD_BYTES + 8 * filled);
  writeByteString(MAGIC, bytes, 0);
  writeU32(bytes, MAGIC.length, VERSION);
  bytes.set(fromHex(store) ?? [], AT_CHECKED);
  writeU64(bytes, AT_SEQUENCE, sequence);
  bytes[AT_BITS] = trees.space.bits;
  writeU32(bytes, AT_COUNT, trees.partitions.length);
  let at = HEAD_BYTES;
  for (const [place, partition] of trees.partitions.entries()) {
    const filledAt = writeU32(bytes, at, partition);
    at += PARTITION_HEAD_BYTES;
    for (let i = 0; i < LEAVES; i += 1) {
      const leaf = place * LEAVES + i;
      const hi = words[2 * leaf] ?? 0;
      const lo = words[2 * leaf + 1] ?? 0;
      if (flags[leaf] !== 0) setBit(bytes, filledAt + BITMAP_BYTES, i);
      if (hi === 0 && lo === 0) continue;
      setBit(bytes, filledAt, i);
      at = writeU32(bytes, writeU32(bytes, at, hi), lo);
    }
  }
  writeU32(bytes, AT_CRC, checksum(bytes.subarray(AT_CHECKED)));
  return bytes;
}

/** The checkpoint for `trees`; partitions that the file lacks are to be computed. Undefined where the file cannot be used. */
export function decodeTrees(bytes: Uint8Array, trees: HashTrees, store: StoreId, checksum: Checksum): TreeCheckpoint | undefined {
  if (bytes.length < HEAD_BYTES || toByteString(bytes, 0, MAGIC.length) !== MAGIC || readU32(bytes, MAGIC.length) !== VERSION) {
    return undefined;
  }
  if (checksum(bytes.subarray(AT_CHECKED)) !== readU32(bytes, AT_CRC)) return undefined;
  if (toHex(bytes.subarray(AT_CHECKED, AT_SEQUENCE)) !== store || bytes[AT_BITS] !== trees.space.bits) return undefined;
  const words = new Uint32Array(trees.words.length);
  const flags = new Uint8Array(trees.flags.length).fill(UNBUILT);
  let at = HEAD_BYTES;
  for (let left = readU32(bytes, AT_COUNT); left > 0; left -= 1) {
    if (at + PARTITION_HEAD_BYTES > bytes.length) return undefined;
    const place = trees.placeOf(readU32(bytes, at));
    const filledAt = at + 4;
    at += PARTITION_HEAD_BYTES;
    for (let i = 0; i < LEAVES; i += 1) {
      const leaf = place * LEAVES + i;
      if (place >= 0) flags[leaf] = hasBit(bytes, filledAt + BITMAP_BYTES, i) ? UNBUILT : 0;
      if (!hasBit(bytes, filledAt, i)) continue;
      if (at + 8 > bytes.length) return undefined;
      if (place >= 0) {
        words[2 * leaf] = readU32(bytes, at);
        words[2 * leaf + 1] = readU32(bytes, at + 4);
      }
      at += 8;
    }
  }
  return at === bytes.length ? { sequence: readU64(bytes, AT_SEQUENCE), words, flags } : undefined;
}

function setBit(bytes: Uint8Array, at: number, bit: number): void {
  bytes[at + (bit >>> 3)] = (bytes[at + (bit >>> 3)] ?? 0) | (1 << (bit & 7));
}

function hasBit(bytes: Uint8Array, at: number, bit: number): boolean {
  return ((bytes[at + (bit >>> 3)] ?? 0) & (1 << (bit & 7))) !== 0;
}
