/**
 * Runs the failure detector (cluster/membership/detector.ts) of this node over its transport, and tells the members' health.
 *
 * A message to a member that is not connected is an attempt to connect: it fails as a probe does, by silence. A member is avoided while the detector
 * says so, or while it owes an answer to a request for PROBE_MS: one whose loop answers probes and whose disk hangs is slow all the same.
 *
 * Invariants: only the monotonic clock is read; a member that became DOWN or UP is logged once; nothing is sent after `stop`.
 */

import type { Timer } from '../env/clock.ts';
import { detectorStep, type DetectorEvent, type DetectorOut, type UpReason } from '../cluster/membership/detector.ts';
import { type Detector, newDetector } from '../cluster/membership/detector-state.ts';
import type { Gossip } from '../cluster/membership/gossip.ts';
import { PROBE_MS } from '../cluster/membership/pace.ts';
import type { Logger } from '../telemetry/logger.ts';
import { decodeGossip, encodeGossip } from '../transport/messages/gossip.ts';
import { MESSAGE } from '../transport/messages/message-type.ts';
import type { IncomingRequest } from '../transport/request.ts';
import type { Transport } from '../transport/transport.ts';
import type { NodeCore } from './core.ts';

/** How often the answers that members owe are looked at. */
const LOOK_EVERY_MS = PROBE_MS / 2;
/** How long a reply is awaited: a late one is still a word of the member. */
const REPLY_MS = 5000;

export interface DetectionParts extends Pick<NodeCore, 'topology' | 'clock' | 'members' | 'policies' | 'metrics'> {
  readonly transport: Pick<Transport, 'waitedMs' | 'connected' | 'connectNow' | 'request' | 'handle'>;
  readonly log: Logger;
  readonly random: { u32(): number };
  /** The first incarnation of this run: above those of earlier ones, as far as the store knows. */
  readonly incarnation: number;
  readonly store: Detector['rules']['store'];
  /** Client operations under way. */
  readonly load: () => number;
}

/** What the detector knows of a member. */
export interface MemberLife {
  /** 0 until something was heard of it. */
  readonly incarnation: number;
  readonly heartbeat: number;
  /** How long ago, in ms, its heartbeat was last seen to rise, by its own word or by hearsay. */
  readonly heartbeatAgeMs: number;
  readonly load: number;
  readonly newestEpoch: number;
  /** Where it is DOWN: the observers on whose word. */
  readonly observers: readonly number[];
  /** Who is known to have found it silent. */
  readonly accusers: readonly number[];
}

export class Detection implements DetectorOut {
  readonly #parts: DetectionParts;
  readonly #state: Detector;
  /** Members that leave requests unanswered, though they may answer probes. */
  readonly #slow: Uint8Array;
  #asked: IncomingRequest | undefined;
  #timer: Timer | undefined;
  #armedMs = Infinity;
  #lookMs = 0;
  #running = false;

  constructor(parts: DetectionParts) {
    const { topology, members, policies, clock, random, incarnation, store } = parts;
    const zones = [...new Set(topology.members.map((member) => member.zone))];
    this.#parts = parts;
    this.#slow = new Uint8Array(members.names.length);
    this.#state = newDetector(
      {
        self: members.self,
        zones: topology.members.map((member) => zones.indexOf(member.zone)),
        incarnation,
        store,
        epoch: topology.epoch,
        random: () => random.u32(),
        observersNeeded: policies.observersNeeded(),
        accuses: (probed) => policies.accuses(probed),
      },
      clock.monotonicMs(),
    );
  }

  /** How far this node doubts its own judgement, 0 to 4. */
  get doubt(): number {
    return this.#state.doubt;
  }

  begin(): void {
    const { transport, members, clock } = this.#parts;
    if (members.names.length < 2) return;
    this.#running = true;
    transport.handle(MESSAGE.gossip, (request) => {
      const gossip = decodeGossip(request.payload);
      this.#asked = request;
      this.#step({ kind: 'asked', member: members.indexOf(request.peer), gossip, nowMs: clock.monotonicMs() });
      this.#asked = undefined;
    });
    this.#lookMs = clock.monotonicMs() + LOOK_EVERY_MS;
    this.#arm();
  }

  stop(): void {
    this.#running = false;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  life(index: number): MemberLife {
    const { table, verdicts, accusations, incarnation, heartbeat, load, epoch } = this.#state;
    const { members, clock } = this.#parts;
    if (index === members.self) {
      return { incarnation, heartbeat, heartbeatAgeMs: 0, load, newestEpoch: epoch, observers: [], accusers: [] };
    }
    return {
      incarnation: table.incarnations[index] ?? 0,
      heartbeat: table.heartbeats[index] ?? 0,
      heartbeatAgeMs: Math.max(0, Math.floor(clock.monotonicMs() - (table.changedMs[index] ?? 0))),
      load: table.loads[index] ?? 0,
      newestEpoch: table.epochs[index] ?? 0,
      observers: verdicts.get(index)?.observers ?? [],
      accusers: accusations.witnesses(index).map(({ observer }) => observer),
    };
  }

  /** The store that fills a member's slot, by its own word or by hearsay. */
  storeOf(index: number): string | undefined {
    return this.#state.table.storeOf(index);
  }

  send(member: number, gossip: Gossip): void {
    const { members, transport, topology, metrics, clock } = this.#parts;
    if (!this.#running) return;
    const name = members.nameOf(member);
    if (!transport.connected(name)) {
      transport.connectNow(name);
      return;
    }
    const payload = encodeGossip(gossip);
    metrics.counts.gossipSent.add();
    metrics.counts.gossipBytes.add(payload.length);
    transport.request(name, MESSAGE.gossip, payload, REPLY_MS, topology.epoch, (reply) => {
      if (reply.kind !== 'reply') return;
      this.#step({ kind: 'answered', member, gossip: decodeGossip(reply.payload), nowMs: clock.monotonicMs() });
    });
  }

  reply(gossip: Gossip): void {
    const payload = encodeGossip(gossip);
    this.#parts.metrics.counts.gossipBytes.add(payload.length);
    this.#asked?.reply(payload);
  }

  down(member: number, incarnation: number, observers: readonly number[]): void {
    const { members, metrics, log } = this.#parts;
    metrics.counts.membersDowned.add();
    log.log('warn', 'member-down', {
      member: members.nameOf(member),
      observers: observers.map((observer) => members.nameOf(observer)).join(', '),
      incarnation,
    });
    members.setDown(member, true);
  }

  up(member: number, reason: UpReason): void {
    const { members, log } = this.#parts;
    log.log('info', 'member-up', { member: members.nameOf(member), reason });
    members.setDown(member, false);
  }

  avoid(member: number, avoided: boolean): void {
    if (avoided) this.#parts.metrics.counts.membersAvoided.add();
    this.#parts.members.setAvoided(member, avoided || this.#slow[member] === 1);
  }

  accuse(): void {
    this.#parts.metrics.counts.membersAccused.add();
  }

  refute(): void {
    this.#parts.metrics.counts.refutations.add();
  }

  #step(event: DetectorEvent): void {
    if (!this.#running) return;
    detectorStep(this.#state, event, this);
    this.#arm();
  }

  /** One timer for what is due next. */
  #arm(): void {
    const dueMs = Math.min(this.#state.wakeMs, this.#lookMs);
    if (!this.#running || dueMs >= this.#armedMs) return;
    const { clock } = this.#parts;
    this.#timer?.cancel();
    this.#armedMs = dueMs;
    this.#timer = clock.after(Math.max(0, dueMs - clock.monotonicMs()), () => {
      this.#turn();
    });
  }

  #turn(): void {
    const nowMs = this.#parts.clock.monotonicMs();
    this.#armedMs = Infinity;
    if (nowMs >= this.#lookMs) this.#look(nowMs);
    if (nowMs >= this.#state.wakeMs) this.#step({ kind: 'tick', nowMs });
    this.#arm();
  }

  #look(nowMs: number): void {
    const { members, transport, load } = this.#parts;
    // Who looks late was held up itself, and has not read what has come meanwhile.
    const late = nowMs - this.#lookMs > LOOK_EVERY_MS;
    this.#lookMs = nowMs + LOOK_EVERY_MS;
    this.#step({ kind: 'load', load: load() });
    for (const [index, name] of members.names.entries()) {
      const slow = transport.waitedMs(name) >= PROBE_MS;
      if ((slow && late) || slow === (this.#slow[index] === 1)) continue;
      this.#slow[index] = slow ? 1 : 0;
      if (slow) this.#step({ kind: 'waits', member: index, nowMs });
      members.setAvoided(index, slow || this.#state.avoided[index] === 1);
    }
  }
}
