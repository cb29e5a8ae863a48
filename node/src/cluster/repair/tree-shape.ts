/**
 * The shape of a partition's hash tree: 256 leaves, equal ranges of the partition's tokens, under 16 inner nodes, under the root.
 *
 * Why so: a differing key should cost a short range scan and few bytes. At a million keys a node and 1,024 partitions a leaf holds about four
 * keys, at a hundred million some hundreds. With a fan-out of 16 one differing key costs two questions of 128 bytes below the root, where 256
 * would cost one of 2 KiB and 2 eight round trips. In memory a partition takes 2,304 bytes, so the 1,024 of a node of a small cluster 2.3 MiB.
 */

import type { ByteString } from '../../base/bytes.ts';
import type { PartitionId } from '../../base/ids.ts';
import type { TokenSpace } from '../ring/token.ts';

export const LEAF_BITS = 8;
export const LEAVES = 256;
export const FANOUT = 16;

/** The leaf of a disk key within its partition. */
export function leafOfDiskKey(space: TokenSpace, diskKey: ByteString): number {
  const hi = (diskKey.charCodeAt(0) << 24) | (diskKey.charCodeAt(1) << 16) | (diskKey.charCodeAt(2) << 8) | diskKey.charCodeAt(3);
  return (hi >>> (32 - LEAF_BITS - space.bits)) & (LEAVES - 1);
}

/** The disk keys of leaves `first` to `last` (inclusive) of a partition: from `from` up to, not including, `to`; undefined: no end. */
export function leafRange(
  space: TokenSpace,
  partition: PartitionId,
  first: number,
  last: number = first,
): { readonly from: ByteString; readonly to: ByteString | undefined } {
  const shift = 32 - LEAF_BITS - space.bits;
  const end = (partition * LEAVES + last + 1) * 2 ** shift;
  return { from: prefix((partition * LEAVES + first) * 2 ** shift), to: end >= 2 ** 32 ? undefined : prefix(end) };
}

/** The leaves that a range of disk keys touches, numbered through all partitions of the ring: partition * LEAVES + leaf. */
export function leavesTouched(
  space: TokenSpace,
  from: ByteString,
  to: ByteString | undefined,
): { readonly first: number; readonly last: number } {
  const most = 2 ** space.bits * LEAVES - 1;
  const number = (key: ByteString): number => {
    const at = (i: number): number => (i < key.length ? key.charCodeAt(i) : 0);
    return Math.floor((at(0) * 2 ** 24 + at(1) * 2 ** 16 + at(2) * 2 ** 8 + at(3)) / 2 ** (32 - LEAF_BITS - space.bits));
  };
  if (to === undefined) return { first: number(from), last: most };
  const last = number(to);
  // A range that ends where a leaf begins does not touch it.
  const begins = to <= leafRange(space, 0 as PartitionId, last).from;
  return { first: number(from), last: begins ? Math.max(number(from), last - 1) : last };
}

function prefix(hi: number): ByteString {
  return String.fromCharCode(hi / 2 ** 24, (hi >>> 16) & 0xff, (hi >>> 8) & 0xff, hi & 0xff, 0, 0, 0, 0);
}
