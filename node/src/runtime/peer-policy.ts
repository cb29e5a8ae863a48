/**
 * Whom this node lets in, what it tells others of itself, and what it learns from them (rules: cluster/membership/peers.ts).
 *
 * Invariants: what a handshake teaches is durable before it is accepted; nothing is told that is not durable.
 * On the wire `leaseEnd` carries the number of the store's latest lease.
 */

import type { CoterieError } from '../base/errors.ts';
import type { Clock, Timer } from '../env/clock.ts';
import type { Topology } from '../cluster/ring/topology.ts';
import { hearNotice, judgePeer, type PeerHello, type PeerRules } from '../cluster/membership/peers.ts';
import type { StoreIdentity } from '../cluster/membership/identity.ts';
import { topologyDigest } from '../cluster/membership/topology-digest.ts';
import type { HandshakePolicy, Hello, Judgement, Remembered } from '../transport/handshake.ts';
import { decodeNotice, encodeNotice, type StoreNotice } from '../transport/messages/notice.ts';
import { MESSAGE } from '../transport/messages/message-type.ts';
import type { PeerStatus } from '../transport/peer-status.ts';
import type { Transport } from '../transport/transport.ts';
import type { Hinting } from './hinting.ts';
import type { IdentityFile } from './identity-file.ts';
import type { Standing } from './standing.ts';

export const PEER_PROTOCOL = 1;
const NOTICE_TIMEOUT_MS = 2000;
/** How long a lease that a peer told may be known in memory only. */
const NOTE_MS = 1000;

export interface PeerPolicyOptions {
  readonly topology: Topology;
  readonly file: IdentityFile;
  readonly clock: Clock;
  readonly standing: Standing;
  /** A peer's store says whether it is synchronised. */
  readonly peerSynchronised: (member: string, synchronised: boolean) => void;
  /** What this store keeps for others, and what peers say they keep. */
  readonly hinting: Pick<Hinting, 'notice' | 'heard'>;
  readonly warn: (event: string, fields: Readonly<Record<string, string | number>>) => void;
}

export class PeerPolicy implements HandshakePolicy {
  readonly #options: PeerPolicyOptions;
  readonly #rules: PeerRules;
  readonly #digest: string;
  /** Peers whose store this node refused as removed in their latest attempt. */
  readonly #turnedAway = new Set<string>();
  #saving: Timer | undefined;

  constructor(options: PeerPolicyOptions) {
    const { topology } = options;
    const stores = new Map(topology.members.map((member) => [member.name as string, member.storeId]));
    this.#options = options;
    this.#digest = topologyDigest(topology);
    this.#rules = {
      topologyEpoch: topology.epoch,
      topologyDigest: this.#digest,
      expectedStore: (member) => stores.get(member),
      isMember: (member) => stores.has(member),
    };
  }

  hello(): Hello {
    const { topology, file } = this.#options;
    const { clusterId, member, storeId, boot, lease, actorEpoch } = file.durable;
    return {
      protocol: { min: PEER_PROTOCOL, max: PEER_PROTOCOL },
      clusterId,
      name: member,
      storeId,
      boot,
      leaseEnd: lease,
      actorEpoch,
      topologyEpoch: topology.epoch,
      topologyDigest: this.#digest,
    };
  }

  async judge(theirs: Hello): Promise<Judgement> {
    const { file, warn } = this.#options;
    const hello: PeerHello = { ...theirs, lease: theirs.leaseEnd };
    const judged = judgePeer(file.current, hello, this.#rules);
    if (judged.kind === 'refused') {
      if (judged.code === 'PEER_REMOVED') this.#turnedAway.add(theirs.name);
      return { accept: false, code: judged.code, message: judged.message };
    }
    this.#turnedAway.delete(theirs.name);
    if (judged.after !== file.current) {
      if (judged.replaced) warn('peer-replaced', { peer: theirs.name, store: theirs.storeId, before: judged.before?.storeId ?? '' });
      try {
        await file.change(() => judged.after);
      } catch (error) {
        // Not expected to fail in any other way; the peer tries again.
        const { code, message } = error as CoterieError;
        return { accept: false, code, message };
      }
    }
    const { before } = judged;
    const remembered: Remembered =
      before === undefined
        ? { known: false, boot: 0, leaseEnd: 0, actorEpoch: 0 }
        : { known: true, storeId: before.storeId, boot: before.boot, leaseEnd: before.lease, actorEpoch: before.actorEpoch };
    return { accept: true, remembered };
  }

  remembered(peer: string, what: Remembered): void {
    const { file, standing } = this.#options;
    const { storeId } = file.current;
    const mine = what.known && what.storeId === storeId;
    standing.hear(peer, mine ? { storeId, boot: what.boot, lease: what.leaseEnd, actorEpoch: what.actorEpoch } : undefined);
  }

  /** A peer that refuses this store because its slot was given to another one; not one that this node has itself turned away. */
  refusedBy(transport: Transport): PeerStatus | undefined {
    return transport
      .peers()
      .find(({ name, state, failure }) => state !== 'connected' && failure?.code === 'PEER_REMOVED' && !this.#turnedAway.has(name));
  }

  /** Answers the notices of peers. */
  serve(transport: Transport): void {
    transport.handle(MESSAGE.notice, (request) => {
      this.#learn(request.peer, decodeNotice(request.payload));
      request.reply(encodeNotice(this.#notice()));
    });
  }

  /** Tells a peer of this store, and hears of its. */
  tell(transport: Transport, peer: string): void {
    const { topology } = this.#options;
    transport.request(peer, MESSAGE.notice, encodeNotice(this.#notice()), NOTICE_TIMEOUT_MS, topology.epoch, (reply) => {
      if (reply.kind === 'reply') this.#learn(peer, decodeNotice(reply.payload));
    });
  }

  #noteSoon(after: StoreIdentity): void {
    const { file, clock } = this.#options;
    file.note(() => after);
    this.#saving ??= clock.after(NOTE_MS, () => {
      this.#saving = undefined;
      // What failed stands in memory, and goes with the next one.
      file.change((identity) => identity).catch(() => undefined);
    });
  }

  /** Writes nothing any more. */
  stop(): void {
    this.#saving?.cancel();
  }

  #notice(): StoreNotice {
    const { file, standing, hinting } = this.#options;
    const { storeId, boot, lease, actorEpoch, removed } = file.durable;
    return { storeId, boot, lease, actorEpoch, synchronised: standing.sound, removed, ...hinting.notice() };
  }

  #learn(peer: string, notice: StoreNotice): void {
    const { file, peerSynchronised, standing, hinting } = this.#options;
    hinting.heard(peer, notice);
    const { removed } = file.current;
    const after = hearNotice(file.current, peer, notice, notice.removed);
    // Removals are written down at once. Leases come twice a second from every store that writes: they go to the disk together.
    if (after.removed.length > removed.length) file.change(() => after).catch(() => undefined);
    else if (after !== file.current) this.#noteSoon(after);
    if (after.retired) standing.retire(`${peer} knows of its replacement`);
    peerSynchronised(peer, notice.synchronised);
  }
}
