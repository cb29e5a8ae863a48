/** The cluster and the ring as this node shows them. */

import type { BucketDefinition, Topology } from '../cluster/ring/topology.ts';
import type { StoreIdentity } from '../cluster/membership/identity.ts';
import type { Bucket, ClusterView, CollectionView, MemberView, RingView } from './kv.ts';
import type { Detection } from './detection.ts';
import type { Members } from './members.ts';

export function bucketView(bucket: BucketDefinition): Bucket {
  const { id, name, consistency, R, W, blindWrites } = bucket;
  return { id, name, consistency, r: R, w: W, blindWrites };
}

export function clusterView(
  topology: Topology,
  members: Members,
  identity: StoreIdentity,
  detection: Detection,
  waitingFor: (member: string) => MemberView['waiting'],
  collection: CollectionView,
): ClusterView {
  const held = new Array<number>(topology.members.length).fill(0);
  for (const replicas of topology.partitions) for (const member of replicas) held[member] = (held[member] ?? 0) + 1;
  return {
    clusterId: topology.clusterId,
    epoch: topology.epoch,
    n: topology.N,
    q: topology.Q,
    self: identity.member,
    buckets: topology.buckets.map(bucketView),
    members: topology.members.map((member, index) => ({
      id: index === members.self ? identity.storeId : (identity.peers[member.name]?.storeId ?? detection.storeOf(index) ?? member.storeId),
      name: member.name,
      host: member.address.host,
      peerPort: member.address.peerPort,
      respPort: member.address.respPort,
      httpPort: member.address.httpPort,
      zone: member.zone,
      rack: member.rack,
      weight: member.weight,
      state: members.state(index),
      reachable: members.isReachable(index),
      partitions: held[index] ?? 0,
      ...lifeOf(detection, members, index),
      waiting: waitingFor(member.name),
    })),
    collection,
  };
}

type Life = Pick<MemberView, 'incarnation' | 'heartbeatAgeMs' | 'load' | 'newestEpoch' | 'observers' | 'accusers'>;

function lifeOf(detection: Detection, members: Members, index: number): Life {
  const { incarnation, heartbeatAgeMs, load, newestEpoch, observers, accusers } = detection.life(index);
  const names = (indexes: readonly number[]): string[] => indexes.map((observer) => members.nameOf(observer));
  return { incarnation, heartbeatAgeMs, load, newestEpoch, observers: names(observers), accusers: names(accusers) };
}

export function ringView(topology: Topology): RingView {
  const { epoch, N, Q, tokenHash, tokenSeed, members, partitions } = topology;
  return { epoch, n: N, q: Q, tokenHash, tokenSeed, members: members.map((member) => member.name), partitions };
}
