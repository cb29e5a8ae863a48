/**
 * What a store remembers of the others, and whom it lets in.
 *
 * Invariants: memory of a store only grows (highest boot, highest lease); a slot whose store was replaced keeps the new one and refuses the
 * old one for good; what an accepted handshake teaches is durable before the handshake is accepted (the runtime's part).
 */

import type { ErrorCode } from '../../base/errors.ts';
import type { ClusterId, StoreId } from '../../base/ids.ts';
import type { PeerMemory, StoreIdentity } from './identity.ts';

/** What the other side said of itself. */
export interface PeerHello {
  readonly clusterId: ClusterId;
  readonly name: string;
  readonly storeId: StoreId;
  readonly boot: number;
  /** The number of its latest lease. */
  readonly lease: number;
  readonly actorEpoch: number;
  readonly topologyEpoch: number;
  readonly topologyDigest: string;
}

/** What a judge knows of the cluster. */
export interface PeerRules {
  readonly topologyEpoch: number;
  readonly topologyDigest: string;
  /** The store that the topology names for the slot; `undefined` where it names none. */
  readonly expectedStore: (member: string) => StoreId | undefined;
  readonly isMember: (member: string) => boolean;
}

export type PeerJudgement =
  /** `before`: what was remembered; `after`: the identity with what is remembered now (the same object where nothing changed). */
  | { readonly kind: 'accepted'; readonly before: PeerMemory | undefined; readonly after: StoreIdentity; readonly replaced: boolean }
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly message: string };

export function judgePeer(self: StoreIdentity, hello: PeerHello, rules: PeerRules): PeerJudgement {
  if (hello.clusterId !== self.clusterId) {
    return refused('PEER_FOREIGN', `this is cluster ${self.clusterId}, not ${hello.clusterId}`);
  }
  if (!rules.isMember(hello.name)) return refused('PEER_FOREIGN', `${hello.name} is no member of this cluster's topology`);
  if (hello.name === self.member || hello.storeId === self.storeId) {
    return refused('PEER_FOREIGN', `${hello.name} presents itself as this very node: two nodes run with one name or one store`);
  }
  if (hello.topologyDigest !== rules.topologyDigest) {
    return refused(
      'PEER_INCOMPATIBLE',
      `the topologies differ: epoch ${String(rules.topologyEpoch)} here, ${String(hello.topologyEpoch)} there`,
    );
  }
  const expected = rules.expectedStore(hello.name);
  if (expected !== undefined && expected !== hello.storeId) {
    return refused('PEER_REMOVED', `the topology gives ${hello.name} to store ${expected}, not ${hello.storeId}`);
  }
  if (self.removed.includes(hello.storeId)) return refused('PEER_REMOVED', `store ${hello.storeId} was replaced in ${hello.name}`);
  const before = self.peers[hello.name];
  const said: PeerMemory = { storeId: hello.storeId, boot: hello.boot, lease: hello.lease, actorEpoch: hello.actorEpoch };
  if (before === undefined) return { kind: 'accepted', before, after: remembering(self, hello.name, said), replaced: false };
  if (before.storeId !== hello.storeId) {
    const after = { ...remembering(self, hello.name, said), removed: [...self.removed, before.storeId] };
    return { kind: 'accepted', before, after, replaced: true };
  }
  return { kind: 'accepted', before, after: remembering(self, hello.name, highest(before, said)), replaced: false };
}

/** The identity after a peer said how far its leases go, and which stores it knows to be removed. */
export function hearNotice(self: StoreIdentity, member: string, said: PeerMemory, removed: readonly StoreId[]): StoreIdentity {
  const before = self.peers[member];
  let next = before?.storeId === said.storeId ? remembering(self, member, highest(before, said)) : self;
  const unknown = removed.filter((id) => !self.removed.includes(id));
  if (unknown.length > 0) {
    next = { ...next, removed: [...next.removed, ...unknown], retired: next.retired || unknown.includes(self.storeId) };
  }
  return next;
}

function highest(a: PeerMemory, b: PeerMemory): PeerMemory {
  const later = b.boot > a.boot ? b : a;
  return { ...later, lease: Math.max(a.lease, b.lease) };
}

function remembering(self: StoreIdentity, member: string, memory: PeerMemory): StoreIdentity {
  const before = self.peers[member];
  const same =
    before?.storeId === memory.storeId &&
    before.boot === memory.boot &&
    before.lease === memory.lease &&
    before.actorEpoch === memory.actorEpoch;
  return same ? self : { ...self, peers: { ...self.peers, [member]: memory } };
}

function refused(code: ErrorCode, message: string): PeerJudgement {
  return { kind: 'refused', code, message };
}
