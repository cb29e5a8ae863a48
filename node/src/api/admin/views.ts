/** The node's views as documents of the admin API. */

import { Buffer } from 'node:buffer';

import type { ClusterView, LocalCopy, MemberView, RepairView, Version, WaitingHints } from '../../runtime/kv.ts';
import type { ClusterDocument, MemberDocument, RepairDocument, ReplicaDocument, VersionDocument } from './documents.ts';

function endpoint(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function memberDocument(member: MemberView, repairs: RepairView | undefined): MemberDocument {
  const { waiting } = member;
  const sum = (of: (kept: WaitingHints) => number): number => waiting.reduce((total, kept) => total + of(kept), 0);
  const peer = endpoint(member.host, member.peerPort);
  return {
    id: member.id ?? null,
    name: member.name,
    address: peer,
    endpoints: { peer, resp: endpoint(member.host, member.respPort), http: endpoint(member.host, member.httpPort) },
    zone: member.zone,
    rack: member.rack,
    weight: member.weight,
    state: member.state,
    reachable: member.reachable,
    partitions: member.partitions,
    incarnation: member.incarnation,
    heartbeatAgeMs: member.heartbeatAgeMs,
    load: member.load,
    newestEpoch: member.newestEpoch,
    observers: member.observers,
    accusers: member.accusers,
    repairOwed: repairs?.members.find(({ name }) => name === member.name)?.owed ?? 0,
    lastRepairMs: repairs?.members.find(({ name }) => name === member.name)?.lastMs ?? null,
    hints: sum(({ hints }) => hints),
    hintBytes: sum(({ bytes }) => bytes),
    debt: sum(({ debt }) => debt),
    waiting,
  };
}

export function clusterDocument(view: ClusterView, repairs: RepairView | undefined): ClusterDocument {
  const { clusterId, epoch, n, q, self, buckets, members, collection } = view;
  const repair = repairs === undefined ? null : { owed: repairs.owed, lostRanges: repairs.lostRanges };
  return { clusterId, epoch, n, q, self, buckets, members: members.map((member) => memberDocument(member, repairs)), repair, collection };
}

export function repairDocument(node: string, repairs: RepairView | undefined): RepairDocument {
  const { members = [], scrub, requested, counts = {} } = repairs ?? {};
  return {
    node,
    enabled: repairs !== undefined,
    leaves: repairs?.leaves ?? 0,
    leavesUnknown: repairs?.leavesUnknown ?? 0,
    owed: repairs?.owed ?? 0,
    underWay: repairs?.underWay ?? 0,
    lostRanges: repairs?.lostRanges ?? 0,
    sourcesMissing: repairs?.sourcesMissing ?? 0,
    requested: requested ?? null,
    members: members.map(({ name, owed, lastMs }) => ({ name, owed, lastMs: lastMs ?? null })),
    scrub: {
      startedMs: instant(scrub?.startedMs),
      completedMs: instant(scrub?.completedMs),
      done: scrub?.done ?? 0,
      total: scrub?.total ?? 0,
    },
    counts,
  };
}

function instant(ms = 0): number | null {
  return ms === 0 ? null : ms;
}

export function versionDocument(version: Version): VersionDocument {
  return {
    value: base64(version.value),
    expireAtMs: version.expireAtMs === 0 ? null : version.expireAtMs,
    time: { ms: version.time.ms, logical: version.time.logical },
  };
}

export function replicaDocument(node: string, copy: LocalCopy): ReplicaDocument {
  return {
    node,
    digest: copy.digest ?? null,
    versions: copy.versions.map(versionDocument),
    object: copy.bytes === undefined ? null : base64(copy.bytes),
  };
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}
