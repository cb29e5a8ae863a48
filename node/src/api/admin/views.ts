/** The node's views as documents of the admin API. */

import { Buffer } from 'node:buffer';

import type { ClusterView, LocalCopy, MemberView, Version, WaitingHints } from '../../runtime/kv.ts';
import type { ClusterDocument, MemberDocument, ReplicaDocument, VersionDocument } from './documents.ts';

function endpoint(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function memberDocument(member: MemberView): MemberDocument {
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
    hints: sum(({ hints }) => hints),
    hintBytes: sum(({ bytes }) => bytes),
    debt: sum(({ debt }) => debt),
    waiting,
  };
}

export function clusterDocument(view: ClusterView): ClusterDocument {
  const { clusterId, epoch, n, q, self, buckets, members } = view;
  return { clusterId, epoch, n, q, self, buckets, members: members.map(memberDocument) };
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
