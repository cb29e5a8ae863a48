/**
 * The canonical form of a topology document. Fields in a fixed order, no white space, partitions last: equal documents are equal bytes on every
 * machine. (The digest that nodes compare is membership/topology-digest.ts: it leaves out where members listen.)
 */

import type { TopologyDocument } from './topology.ts';

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
