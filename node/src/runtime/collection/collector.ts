/**
 * Leads the collecting rounds of the partitions that this node is the first primary of: performs what cluster/collection/round.ts decides.
 *
 * Nobody takes over from a leader that is away: with a member away nothing could be collected anyway. Should two lead one partition at once (there is
 * no lock), at least one of them is answered with a generation that it does not expect, and gives up.
 *
 * Invariants: one batch of partitions at a time; a batch has a bounded number of messages under way; what blocks is kept until a later round of the
 * partition has said otherwise.
 */

import type { ByteString } from '../../base/bytes.ts';
import { asCoterieError, CoterieError } from '../../base/errors.ts';
import type { PartitionId } from '../../base/ids.ts';
import type { Timer } from '../../env/clock.ts';
import { countCandidates } from '../../cluster/collection/candidates.ts';
import type { CollectionItem, CollectionReport, CollectionStep, Obstacle } from '../../cluster/collection/round-messages.ts';
import { newRound, type Outcome, type RoundEvent, type RoundOut, type RoundState, roundStep } from '../../cluster/collection/round.ts';
import { partitionOfDiskKey } from '../../cluster/ring/token.ts';
import { MAX_AHEAD_MS } from '../../cluster/versioning/hlc.ts';
import { decodeCollection, decodeReport, encodeCollection, encodeReport } from '../../transport/messages/collection.ts';
import { MESSAGE } from '../../transport/messages/message-type.ts';
import type { IncomingRequest } from '../../transport/request.ts';
import type { NodeCore } from '../core.ts';
import type { CollectionBlock, CollectionView } from '../kv.ts';
import { ReadOperation } from '../read-operation.ts';
import type { CollectionMember } from './collection-member.ts';

/** Partitions that a leader takes through a round together. */
const BATCH = 32;
/** So many dead entries of a partition are collected before the interval is over. */
const MANY_DEAD = 4096;
/** Looks an interval, at how much there is. */
const LOOKS = 8;
/** Operations that began under an older generation are given so long before they are refused, or less where rounds come fast. */
const MOST_PATIENCE_MS = 5000;
const STEP_TIMEOUT_MS = 10_000;
/** Of steps that read whole partitions. */
const SCAN_TIMEOUT_MS = 60_000;
const HEAL_TIMEOUT_MS = 5000;
/** Reads under way at once to make primaries equal. */
const HEALS = 8;
/** Two clocks that accept each other differ by less, and the one that is behind has passed the instant by what it waits for. */
const EXPIRED_AGO_MS = 2 * MAX_AHEAD_MS;

const OBSTACLES: ReadonlySet<string> = new Set<Obstacle>([
  'unreachable',
  'not-synchronised',
  'damaged',
  'clock',
  'generation',
  'rewound',
  'hints',
  'differing',
]);

export class Collector {
  readonly #core: NodeCore;
  readonly #member: CollectionMember;
  readonly #intervalMs: number;
  readonly #led: readonly PartitionId[];
  readonly #blocks = new Map<PartitionId, { readonly member: number; readonly why: Obstacle }>();
  #sweptMs: number;
  /** The last sweep left work that needs no waiting: what it made old, or brought up. */
  #again = false;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(core: NodeCore, member: CollectionMember, intervalMs: number) {
    const { topology, members } = core;
    this.#core = core;
    this.#member = member;
    this.#intervalMs = intervalMs;
    this.#led = topology.partitions.flatMap((replicas, partition) => (replicas[0] === members.self ? [partition as PartitionId] : []));
    this.#sweptMs = core.clock.monotonicMs();
  }

  /** Answers the members' steps, and begins to lead. */
  begin(): void {
    const { transport } = this.#core;
    transport.handle(MESSAGE.collect, (request) => {
      this.#serve(request);
    });
    this.#look();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  /** As far as this node leads. */
  view(): CollectionView {
    const { store, members } = this.#core;
    const blocks = new Map<string, CollectionBlock>();
    for (const { member, why } of this.#blocks.values()) {
      const name = members.nameOf(member);
      const key = `${name} ${why}`;
      blocks.set(key, { member: name, why, partitions: (blocks.get(key)?.partitions ?? 0) + 1 });
    }
    let least = Number.POSITIVE_INFINITY;
    let most = 0;
    let waiting = 0;
    for (const partition of this.#led) {
      const generation = store.generations.of(partition);
      least = Math.min(least, generation);
      most = Math.max(most, generation);
      waiting += store.generations.pending.youngOf(partition);
    }
    return {
      partitions: this.#led.length,
      leastGeneration: this.#led.length === 0 ? 0 : least,
      mostGeneration: most,
      youngDead: waiting,
      blocked: [...blocks.values()].sort((a, b) => b.partitions - a.partitions),
    };
  }

  #serve(request: IncomingRequest): void {
    const { step, items } = decodeCollection(request.payload);
    const { topology } = this.#core;
    if (items.some(({ partition }) => partition >= topology.Q)) {
      request.fail('REQUEST_INVALID', `a partition is from 0 to ${String(topology.Q - 1)}`, 'none');
      return;
    }
    this.#member.perform(request.peer, step, items).then(
      (report) => {
        request.reply(encodeReport({ ...report, states: report.states.map((state) => ({ ...state, obstacle: state.obstacle ?? '' })) }));
      },
      (error: unknown) => {
        const { code, message } = asCoterieError(error);
        request.fail(code, message, 'unknown');
      },
    );
  }

  #look(): void {
    if (this.#stopped) return;
    this.#timer = this.#core.clock.after(this.#intervalMs / LOOKS, () => {
      if (this.#isTime()) void this.#sweep().finally(() => this.#look());
      else this.#look();
    });
  }

  #isTime(): boolean {
    if (this.#led.length === 0) return false;
    const { pending } = this.#core.store.generations;
    if (this.#again || this.#core.clock.monotonicMs() - this.#sweptMs >= this.#intervalMs) return true;
    return this.#led.some((partition) => pending.youngOf(partition) >= MANY_DEAD);
  }

  /** Takes every partition through a round, a batch at a time. */
  async #sweep(): Promise<void> {
    this.#again = false;
    this.#sweptMs = this.#core.clock.monotonicMs();
    const before = describe(this.view().blocked);
    for (let from = 0; from < this.#led.length && !this.#stopped; from += BATCH) {
      await new Promise<void>((resolve) => {
        new Round(this.#core, this.#member, this.#led.slice(from, from + BATCH), {
          patienceMs: Math.min(MOST_PATIENCE_MS, this.#intervalMs / LOOKS),
          ended: (partition, outcome, candidates) => {
            this.#ended(partition, outcome, candidates);
          },
          over: resolve,
          isStopped: () => this.#stopped,
        }).start();
      });
    }
    const after = describe(this.view().blocked);
    if (after !== before && after !== '') this.#core.warn('collection-blocked', { by: after });
  }

  #ended(partition: PartitionId, outcome: Outcome, candidates: number): void {
    const { counts } = this.#core.metrics;
    if (outcome.kind === 'blocked') {
      counts.collectionsBlocked.add();
      this.#blocks.set(partition, outcome);
      return;
    }
    this.#blocks.delete(partition);
    if (outcome.kind === 'levelled' || outcome.kind === 'raised') this.#again = true;
    if (outcome.kind !== 'collected') return;
    counts.partitionsCollected.add();
    counts.candidatesCollected.add(candidates);
  }
}

/** `node-2: unreachable (12 partitions)`, and so on. */
function describe(blocks: readonly CollectionBlock[]): string {
  return blocks.map(({ member, why, partitions }) => `${member}: ${why} (${String(partitions)} partitions)`).join(', ');
}

interface RoundOwner {
  /** How long older operations are waited for. */
  readonly patienceMs: number;
  ended(partition: PartitionId, outcome: Outcome, candidates: number): void;
  over(): void;
  isStopped(): boolean;
}

/** One batch. */
class Round implements RoundOut {
  readonly #core: NodeCore;
  readonly #member: CollectionMember;
  readonly #owner: RoundOwner;
  readonly #state: RoundState;
  /** Candidates by partition, as this node has confirmed them. */
  readonly #candidates = new Map<PartitionId, number>();

  constructor(core: NodeCore, member: CollectionMember, partitions: readonly PartitionId[], owner: RoundOwner) {
    const { topology, members, clock } = core;
    this.#core = core;
    this.#member = member;
    this.#owner = owner;
    const tasks = partitions.map((partition) => ({ partition, primaries: topology.partitions[partition] ?? [] }));
    const expiredByMs = Math.max(0, clock.wallMs() - EXPIRED_AGO_MS);
    this.#state = newRound(members.names.length, members.self, tasks, expiredByMs, owner.patienceMs);
  }

  start(): void {
    this.#step({ kind: 'start' });
  }

  ask(member: number, step: CollectionStep, items: readonly CollectionItem[]): void {
    const { members, transport, topology } = this.#core;
    const name = members.nameOf(member);
    if (member === members.self) {
      this.#member.perform(name, step, items).then(
        (report) => {
          this.#answered(member, step, report);
        },
        (error: unknown) => {
          if (asCoterieError(error).code === 'INTERNAL') throw error;
          this.#step({ kind: 'failed', member });
        },
      );
      return;
    }
    const timeoutMs = step === 'confirm' || step === 'list' ? SCAN_TIMEOUT_MS : STEP_TIMEOUT_MS;
    transport.request(name, MESSAGE.collect, encodeCollection({ step, items }), timeoutMs, topology.epoch, (reply) => {
      const report = reply.kind === 'reply' ? reportOf(reply.payload, items) : undefined;
      if (report === undefined) this.#step({ kind: 'failed', member });
      else this.#answered(member, step, report);
    });
  }

  #answered(member: number, step: CollectionStep, report: CollectionReport): void {
    const { members, policies } = this.#core;
    if (step !== 'confirm') {
      this.#step({ kind: 'answered', member, report });
      return;
    }
    if (member === members.self) {
      for (const { partition, slices } of report.states) this.#candidates.set(partition, countCandidates(slices));
    }
    const states = report.states.map((state) => ({ ...state, slices: policies.confirms(state.slices) }));
    this.#step({ kind: 'answered', member, report: { ...report, states } });
  }

  /** Reads from all primaries repair what differs; what fails is found to differ once more. */
  heal(keys: readonly ByteString[]): void {
    const left = [...keys];
    let running = 0;
    const next = (): void => {
      running -= 1;
      go();
    };
    const go = (): void => {
      while (running < HEALS && left.length > 0) {
        const key = left.pop();
        if (key === undefined) break;
        running += 1;
        this.#heal(key, next);
      }
      if (running === 0 && left.length === 0) this.#step({ kind: 'healed' });
    };
    running += 1;
    next();
  }

  #heal(diskKey: ByteString, done: () => void): void {
    const { topology } = this.#core;
    const replicas = topology.partitions[partitionOfDiskKey(topology, diskKey)] ?? [];
    const question = { diskKey, replicas, r: replicas.length, timeoutMs: HEAL_TIMEOUT_MS, sloppy: false };
    new ReadOperation(this.#core, question, { succeed: done, fail: done }).start();
  }

  wait(ms: number): void {
    this.#core.clock.after(ms, () => {
      this.#step({ kind: 'waited' });
    });
  }

  end(partition: PartitionId, outcome: Outcome): void {
    this.#owner.ended(partition, outcome, this.#candidates.get(partition) ?? 0);
  }

  over(): void {
    this.#owner.over();
  }

  #step(event: RoundEvent): void {
    if (!this.#owner.isStopped()) roundStep(this.#state, event, this);
  }
}

/** The report, with what belongs to each item; undefined where it does not answer what was asked. */
function reportOf(payload: Uint8Array, items: readonly CollectionItem[]): CollectionReport | undefined {
  try {
    const { storeId, boot, states } = decodeReport(payload);
    if (states.length !== items.length) return undefined;
    return {
      storeId,
      boot,
      states: states.map((state, at) => {
        const { obstacle } = state;
        if (obstacle !== '' && !isObstacle(obstacle)) throw new CoterieError('FRAME_INVALID', `there is no obstacle ${obstacle}`);
        return { ...state, partition: items[at]?.partition ?? (0 as PartitionId), obstacle: obstacle === '' ? undefined : obstacle };
      }),
    };
  } catch (error) {
    if (asCoterieError(error).code !== 'FRAME_INVALID') throw error;
    return undefined;
  }
}

function isObstacle(text: string): text is Obstacle {
  return OBSTACLES.has(text);
}
