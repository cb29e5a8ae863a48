/**
 * Makes topologies: the first one of a cluster, and the next one after a change of members or buckets.
 *
 * Equal settings make equal documents, on any machine and in whatever order they are written down: nodes that each make the first topology
 * from their own configuration agree on it.
 */

import type { ClusterId, Epoch } from '../../base/ids.ts';
import { epoch } from '../../base/ids.ts';
import { placeReplicas } from './placement.ts';
import type { BucketDefinition, Member, Topology } from './topology.ts';
import { checkTopology } from './topology-parse.ts';

/** What a topology is made from; ranges as in `TopologyDocument`. */
export interface TopologySpec {
  readonly clusterId: ClusterId;
  /** 1 unless given. */
  readonly epoch?: Epoch;
  readonly N: number;
  readonly Q: number;
  readonly tokenSeed: string;
  readonly buckets: readonly BucketDefinition[];
  readonly members: readonly Member[];
}

/**
 * The first topology of a cluster: members in order of name (shorter first), buckets in order of id, replicas placed afresh.
 *
 * @throws CoterieError CLUSTER_TOO_SMALL, SETTING_INVALID
 */
export function createTopology(spec: TopologySpec): Topology {
  return make(spec, spec.epoch ?? epoch(1));
}

/**
 * The topology after `previous`: other members or buckets, the next epoch, as few replicas moved as balance allows. What may change is
 * `compareTopologies`'s business.
 *
 * @throws CoterieError CLUSTER_TOO_SMALL, SETTING_INVALID
 */
export function nextTopology(previous: Topology, change: Partial<Pick<TopologySpec, 'members' | 'buckets'>>): Topology {
  return make({ ...previous, ...change }, epoch(previous.epoch + 1), previous);
}

function make(spec: TopologySpec, number: Epoch, previous?: Topology): Topology {
  const settings = {
    format: 1,
    clusterId: spec.clusterId,
    epoch: number,
    N: spec.N,
    Q: spec.Q,
    tokenHash: 'halfsiphash-2-4',
    tokenSeed: spec.tokenSeed,
    buckets: [...spec.buckets].sort((a, b) => a.id - b.id),
    members: [...spec.members].sort((a, b) => a.name.length - b.name.length || (a.name < b.name ? -1 : 1)),
  };
  return checkTopology(settings, (members, N, Q) => placeReplicas({ members, N, Q, ...(previous === undefined ? {} : { previous }) }));
}
