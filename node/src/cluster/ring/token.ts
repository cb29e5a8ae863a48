/**
 * Where a key lies in the token space, and so on which partition and at which place on disk.
 *
 * The token of a key is the 64-bit HalfSipHash-2-4, keyed with the topology's token seed, of the bucket's number (2 bytes, big-endian)
 * followed by the key. Q equal partitions divide the token space: a key's partition is the top log2(Q) bits of its token. On disk a key
 * is token (8 bytes, big-endian), bucket (2 bytes, big-endian), key; so a partition is one contiguous range of disk keys.
 *
 * Seed, hash and Q never change in a cluster's life: every key would be lost from sight.
 */

import { type ByteString, byteStringOf64 } from '../../base/bytes.ts';
import type { Hash64, HashKey } from '../../base/hash.ts';
import { halfSipHash64 } from '../../base/hash.ts';
import type { BucketId, PartitionId } from '../../base/ids.ts';

/** The two parameters that turn keys into partitions. */
export interface TokenSpace {
  readonly key: HashKey;
  /** log2(Q), 0 to 20. */
  readonly bits: number;
}

/** A key's place. */
export interface PlacedKey {
  diskKey: ByteString;
  partition: PartitionId;
}

/** The bytes in front of the user's key in a disk key: token and bucket. */
export const DISK_KEY_PREFIX_BYTES = 10;

/** The hash's key from the seed's 16 hexadecimal digits: its 8 bytes are two little-endian words, as in the reference code of SipHash. */
export function tokenSpace(tokenSeed: string, Q: number): TokenSpace {
  const word = (at: number): number => {
    let value = 0;
    for (let i = 3; i >= 0; i -= 1) value = value * 256 + Number.parseInt(tokenSeed.slice(at + 2 * i, at + 2 * i + 2), 16);
    return value;
  };
  return { key: { k0: word(0), k1: word(8) }, bits: 31 - Math.clz32(Q) };
}

const hash: Hash64 = { hi: 0, lo: 0 };

/**
 * The key's disk key and partition. Hot: give `into` to allocate nothing but the disk key.
 *
 * @param key a byte string; its length is not checked here
 */
export function placeKey(
  topology: { readonly tokenSpace: TokenSpace },
  bucket: BucketId,
  key: ByteString,
  into: PlacedKey = { diskKey: '', partition: 0 as PartitionId },
): PlacedKey {
  const { key: hashKey, bits } = topology.tokenSpace;
  const named = String.fromCharCode(bucket >>> 8, bucket & 0xff) + key;
  const { hi, lo } = halfSipHash64(hashKey, named, hash);
  into.diskKey = byteStringOf64(hi, lo) + named;
  into.partition = partitionOfHigh(hi, bits);
  return into;
}

/** The partition of a disk key, read from its token. */
export function partitionOfDiskKey(topology: { readonly tokenSpace: TokenSpace }, diskKey: ByteString): PartitionId {
  const hi = (diskKey.charCodeAt(0) << 24) | (diskKey.charCodeAt(1) << 16) | (diskKey.charCodeAt(2) << 8) | diskKey.charCodeAt(3);
  return partitionOfHigh(hi >>> 0, topology.tokenSpace.bits);
}

/** The bucket of a disk key. */
export function bucketOfDiskKey(diskKey: ByteString): BucketId {
  return ((diskKey.charCodeAt(8) << 8) | diskKey.charCodeAt(9)) as BucketId;
}

/** The user's key in a disk key. */
export function keyOfDiskKey(diskKey: ByteString): ByteString {
  return diskKey.slice(DISK_KEY_PREFIX_BYTES);
}

/** A partition's range of disk keys: from `from` up to, not including, `to`; `to` is undefined for the last one: no end. */
export function partitionRange(
  topology: { readonly tokenSpace: TokenSpace },
  partition: PartitionId,
): { readonly from: ByteString; readonly to: ByteString | undefined } {
  const { bits } = topology.tokenSpace;
  const last = 2 ** bits - 1;
  return { from: tokenPrefix(partition, bits), to: partition === last ? undefined : tokenPrefix(partition + 1, bits) };
}

function tokenPrefix(partition: number, bits: number): ByteString {
  const hi = bits === 0 ? 0 : (partition << (32 - bits)) >>> 0;
  return String.fromCharCode(hi >>> 24, (hi >>> 16) & 0xff, (hi >>> 8) & 0xff, hi & 0xff, 0, 0, 0, 0);
}

function partitionOfHigh(hi: number, bits: number): PartitionId {
  return (bits === 0 ? 0 : hi >>> (32 - bits)) as PartitionId;
}
