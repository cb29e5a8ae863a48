/** Members and topologies for the tests of the ring. */

import { bucketId, clusterId, memberName, storeId } from '../../src/base/ids.ts';
import type { BucketDefinition, Member, Topology } from '../../src/cluster/ring/topology.ts';
import type { TopologySpec } from '../../src/cluster/ring/topology-create.ts';
import { createTopology } from '../../src/cluster/ring/topology-create.ts';

export function member(number: number, changes: Partial<Member> = {}): Member {
  return {
    name: memberName(`node-${String(number)}`),
    address: { host: '127.0.0.1', peerPort: 7400 + number, respPort: 6400 + number, httpPort: 8400 + number },
    zone: `zone-${String(((number - 1) % 3) + 1)}`,
    rack: 'rack-1',
    weight: 1,
    ...changes,
  };
}

export const DEFAULT_BUCKET: BucketDefinition = {
  id: bucketId(0),
  name: 'default',
  consistency: 'eventual',
  R: 2,
  W: 2,
  blindWrites: 'newest',
};

export function spec(changes: Partial<TopologySpec> = {}): TopologySpec {
  return {
    clusterId: clusterId('000102030405060708090a0b0c0d0e0f'),
    N: 3,
    Q: 8,
    tokenSeed: '0001020304050607',
    buckets: [DEFAULT_BUCKET, { ...DEFAULT_BUCKET, id: bucketId(7), name: 'ledger', consistency: 'strong' }],
    members: [1, 2, 3, 4, 5].map((number) => member(number, number === 2 ? { storeId: storeId('ff'.repeat(16)), weight: 2 } : {})),
    ...changes,
  };
}

export function topology(changes: Partial<TopologySpec> = {}): Topology {
  return createTopology(spec(changes));
}
