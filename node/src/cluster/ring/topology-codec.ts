/**
 * The canonical form of a topology document, and its digest. Fields in a fixed order, no white space, partitions last: equal documents are equal
 * bytes on every machine, so that nodes can compare 8 bytes instead of documents.
 */

import { toHex } from '../../base/bytes.ts';
import type { Hash64, HashKey } from '../../base/hash.ts';
import { halfSipHash64 } from '../../base/hash.ts';
import type { TopologyDocument } from './topology.ts';

/** Not a secret: the digest tells documents apart, it does not protect them. */
const DIGEST_KEY: HashKey = { k0: 0x636f7465, k1: 0x72696521 };

/** The document without what a `Topology` carries besides. */
export function documentOf(topology: TopologyDocument): TopologyDocument {
  const { format, clusterId, epoch, N, Q, tokenHash, tokenSeed, buckets, members, partitions } = topology;
  return {
    format,
    clusterId,
    epoch,
    N,
    Q,
    tokenHash,
    tokenSeed,
    buckets: buckets.map(({ id, name, consistency, R, W, blindWrites }) => ({ id, name, consistency, R, W, blindWrites })),
    members: members.map(({ name, address: { host, peerPort, respPort, httpPort }, zone, rack, weight, storeId }) => ({
      name,
      address: { host, peerPort, respPort, httpPort },
      zone,
      rack,
      weight,
      ...(storeId === undefined ? {} : { storeId }),
    })),
    partitions,
  };
}

/** The document as canonical JSON. All its characters are ASCII. `parseTopology(JSON.parse(text))` reads it back. */
export function encodeTopology(topology: TopologyDocument): string {
  return JSON.stringify(documentOf(topology));
}

/** 64 bits of the canonical JSON as 16 hexadecimal digits. Costs as much as encoding: keep it with the topology. */
export function topologyDigest(topology: TopologyDocument): string {
  const hash: Hash64 = { hi: 0, lo: 0 };
  halfSipHash64(DIGEST_KEY, encodeTopology(topology), hash);
  const bytes = Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7).map((at) => (at < 4 ? hash.hi : hash.lo) >>> (8 * (3 - (at & 3))));
  return toHex(bytes);
}
