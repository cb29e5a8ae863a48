/** What two nodes must agree on about the topology before they talk: everything but where the members listen. */

import { type ByteString, byteStringOf64, fromByteString } from '../../base/bytes.ts';
import { halfSipHash64Bytes } from '../../base/hash.ts';
import type { Topology } from '../ring/topology.ts';

/** "coterie topology" as a key: a constant, because both sides must come to the same digest. */
const KEY = { k0: 0x636f7465, k1: 0x746f706f } as const;

/** 8 bytes; equal documents (addresses aside) have equal digests. */
export function topologyDigest(topology: Topology): ByteString {
  const { clusterId, epoch, N, Q, tokenHash, tokenSeed, buckets, partitions } = topology;
  const members = topology.members.map(({ name, zone, rack, weight, storeId }) => [name, zone, rack, weight, storeId ?? '']);
  const definitions = buckets.map((bucket) => [bucket.id, bucket.name, bucket.consistency, bucket.R, bucket.W, bucket.blindWrites]);
  const text = JSON.stringify([clusterId, epoch, N, Q, tokenHash, tokenSeed, definitions, members, partitions]);
  const bytes = fromByteString(text);
  const { hi, lo } = halfSipHash64Bytes(KEY, bytes, 0, bytes.length, { hi: 0, lo: 0 });
  return byteStringOf64(hi, lo);
}
