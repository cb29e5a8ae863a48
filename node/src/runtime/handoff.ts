/**
 * Hands the hints of this store off when the primaries that they are kept for are healthy again (rules: cluster/handoff/delivery.ts), and records
 * as debt what cannot be handed off.
 *
 * Invariants: one session at a time for each target, and few in all; a page of hints is under way at a time, and after it the work pauses as the
 * clients' latency asks for (foreground-pace.ts); a failed session is tried again ever more seldom, until somebody's health changes; without hints
 * no timer runs.
 */

import type { ByteString } from '../base/bytes.ts';
import { asCoterieError, type ErrorCode } from '../base/errors.ts';
import type { PartitionId } from '../base/ids.ts';
import type { Clock, Timer } from '../env/clock.ts';
import { type DeliveryOut, type DeliveryState, deliveryStep, newDelivery } from '../cluster/handoff/delivery.ts';
import type { Backlog } from '../cluster/handoff/hint-index.ts';
import { primaries } from '../cluster/ring/preference.ts';
import type { Topology } from '../cluster/ring/topology.ts';
import type { HotEncoder } from '../transport/messages/hot-encoder.ts';
import { MESSAGE } from '../transport/messages/message-type.ts';
import type { HintBacklog } from '../transport/messages/notice.ts';
import type { Transport } from '../transport/transport.ts';
import type { ForegroundPace } from './foreground-pace.ts';
import type { Hint } from './hint-scan.ts';
import { type HintStore, NO_FALLBACK } from './hint-store.ts';
import { DebtNotices } from './debt-notices.ts';
import type { Members } from './members.ts';
import type { NodeMetrics } from './node-metrics.ts';
import type { Policies } from './policies.ts';

const PAGE_ENTRIES = 32;
const PAGE_BYTES = 128 * 1024;
const MOST_SESSIONS = 4;
const SEND_TIMEOUT_MS = 5000;
const LONGEST_RETRY_MS = 60_000;

/** Refusals that a primary will not take back by itself: what it refuses so is debt at once. */
const LASTING: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'REQUEST_INVALID',
  'UNSUPPORTED',
  'PEER_REMOVED',
  'DATA_DAMAGED',
  'FRAME_TOO_LARGE',
]);

export interface HandoffParts {
  readonly topology: Topology;
  readonly members: Members;
  readonly transport: Transport;
  readonly encoder: HotEncoder;
  readonly clock: Clock;
  readonly pace: ForegroundPace;
  readonly hints: HintStore;
  readonly policies: Policies;
  readonly metrics: NodeMetrics;
  readonly warn: (event: string, fields: Readonly<Record<string, string | number>>) => void;
  /** What is kept, or what is said of it, has changed. */
  readonly touched: () => void;
  readonly retryMs: number;
  /** How long hints may wait for their primary before they are debt. */
  readonly overdueMs: number;
}

/** How the attempt at one hint ended. */
interface Delivered {
  /** `short`: its primary has it, and too few others could be asked; `again`: it is to be tried anew. */
  readonly kind: 'dropped' | 'short' | 'again' | 'refused';
  readonly refusal: ErrorCode | undefined;
}

/** How a pass over a slot's hints ended. */
interface Pass {
  /** Why the primary took no more. */
  readonly refusal: ErrorCode | undefined;
  /** Some stayed because too few other primaries could be asked. */
  readonly short: boolean;
  /** Some are to be tried anew. */
  readonly again: boolean;
}

export class Handoff {
  readonly #parts: HandoffParts;
  readonly #notices: DebtNotices;
  readonly #sessions = new Set<number>();
  /** By partition and slot: the healthy primaries with which a pass fell short. */
  readonly #short = new Map<string, number>();
  #retry: Timer | undefined;
  #retryMs: number;
  #stopped = false;

  constructor(parts: HandoffParts) {
    this.#parts = parts;
    this.#notices = new DebtNotices(parts);
    this.#retryMs = parts.retryMs;
    parts.members.onChange(() => {
      this.#retryMs = parts.retryMs;
      this.advance();
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#retry?.cancel();
  }

  /** What is kept here, by the member that it is kept for. */
  backlogs(): HintBacklog[] {
    const { members } = this.#parts;
    const found = new Map<number, { hints: number; bytes: number; debt: number }>();
    for (const backlog of this.#parts.hints.index.backlogs()) {
      const target = this.#targetOf(backlog);
      const sum = found.get(target) ?? { hints: 0, bytes: 0, debt: 0 };
      sum.hints += backlog.count;
      sum.bytes += backlog.bytes;
      if (backlog.debt !== undefined) sum.debt += Math.max(1, backlog.count);
      found.set(target, sum);
    }
    return [...found].sort(([a], [b]) => a - b).map(([target, sum]) => ({ member: members.nameOf(target), ...sum }));
  }

  /** This node has coordinated a write, as a fallback, that one of the primaries missed, and nobody could keep it for that one. */
  missed(partition: PartitionId, slot: number): void {
    const { hints, metrics, warn, members, touched } = this.#parts;
    this.#notices.renew(partition, slot);
    if (hints.index.of(partition, slot)?.debt === NO_FALLBACK) return;
    metrics.counts.debtsRecorded.add();
    hints.owe(partition, slot, NO_FALLBACK);
    touched();
    warn('repair-debt', { partition, target: members.nameOf(this.#targetOf({ partition, slot })), hints: 0, reason: NO_FALLBACK });
    this.#later();
  }

  /** Does what can be done now; called whenever something changed. */
  advance(): void {
    const { hints, members } = this.#parts;
    if (this.#stopped || !hints.counted || hints.index.isEmpty) return;
    this.#findOverdue();
    this.#notices.advance();
    for (const target of this.#targets()) {
      if (this.#sessions.size >= MOST_SESSIONS) break;
      if (this.#sessions.has(target) || !members.isHealthy(target)) continue;
      this.#sessions.add(target);
      this.#session(target).then(
        (more) => {
          this.#ended(target, more);
        },
        (error: unknown) => {
          const { code, message } = asCoterieError(error);
          if (code === 'INTERNAL') throw error;
          this.#parts.warn('handoff-interrupted', { target: members.nameOf(target), code, message });
          this.#ended(target, true);
        },
      );
    }
    this.#later();
  }

  #ended(target: number, more: boolean): void {
    this.#sessions.delete(target);
    // Others may have waited for their turn.
    if (!more) this.advance();
    else this.#later();
  }

  /** While there are hints, they are looked at again. */
  #later(): void {
    if (this.#stopped || this.#retry !== undefined || this.#parts.hints.index.isEmpty) return;
    this.#retry = this.#parts.clock.after(this.#retryMs, () => {
      this.#retry = undefined;
      this.#retryMs = Math.min(2 * this.#retryMs, LONGEST_RETRY_MS);
      this.advance();
    });
  }

  #targetOf({ partition, slot }: Pick<Backlog, 'partition' | 'slot'>): number {
    return primaries(this.#parts.topology, partition)[slot] ?? -1;
  }

  #targets(): Set<number> {
    const targets = new Set<number>();
    for (const backlog of this.#parts.hints.index.backlogs()) if (backlog.count > 0) targets.add(this.#targetOf(backlog));
    return targets;
  }

  #findOverdue(): void {
    const { hints, members, clock, overdueMs } = this.#parts;
    const nowMs = clock.wallMs();
    for (const backlog of [...hints.index.backlogs()]) {
      if (backlog.count === 0 || backlog.debt !== undefined || nowMs - backlog.sinceMs < overdueMs) continue;
      if (members.isHealthy(this.#targetOf(backlog))) continue;
      this.#owe(backlog, 'its primary has been away for long');
    }
  }

  #owe({ partition, slot }: Backlog, reason: string): void {
    const { hints, metrics, policies, warn, members } = this.#parts;
    const backlog = hints.index.of(partition, slot);
    if (backlog === undefined || backlog.debt !== undefined) return;
    metrics.counts.debtsRecorded.add();
    policies.overdue(hints, backlog, reason);
    this.#parts.touched();
    warn('repair-debt', { partition, target: members.nameOf(this.#targetOf(backlog)), hints: backlog.count, reason });
  }

  /** Delivers what is kept for one member; answers whether something had to stay. */
  async #session(target: number): Promise<boolean> {
    const { hints } = this.#parts;
    let more = false;
    for (const backlog of [...hints.index.backlogs()]) {
      if (backlog.count === 0 || this.#targetOf(backlog) !== target) continue;
      const at = `${String(backlog.partition)}/${String(backlog.slot)}`;
      const healthy = this.#healthyOf(backlog);
      if (this.#short.get(at) === healthy) {
        more = true;
        continue;
      }
      const { refusal, short, again } = await this.#pass(backlog, target, healthy);
      if (short) this.#short.set(at, healthy);
      else this.#short.delete(at);
      if (refusal !== undefined && LASTING.has(refusal)) this.#owe(backlog, `its primary refuses with ${refusal}`);
      else if (refusal !== undefined) return true;
      more ||= short || again || refusal !== undefined;
      if (!this.#goesOn(target)) return true;
    }
    return more;
  }

  #goesOn(target: number): boolean {
    return !this.#stopped && this.#parts.members.isHealthy(target);
  }

  #healthyOf({ partition }: Backlog): number {
    const { members, topology } = this.#parts;
    return members.healthyBits(primaries(topology, partition));
  }

  /** @param healthy the primaries that are, at its beginning */
  async #pass(backlog: Backlog, target: number, healthy: number): Promise<Pass> {
    const { hints, clock, metrics, pace } = this.#parts;
    const { partition, slot } = backlog;
    let from: ByteString | undefined;
    let damaged = false;
    let short = false;
    let again = false;
    let lasting: ErrorCode | undefined;
    do {
      const startMs = clock.monotonicMs();
      const page = await hints.page(partition, slot, from, PAGE_ENTRIES, PAGE_BYTES);
      damaged ||= page.damaged;
      for (const { kind, refusal } of await Promise.all(page.hints.map((hint) => this.#deliver(hint, backlog, healthy)))) {
        short ||= kind === 'short';
        again ||= kind === 'again';
        if (refusal === undefined) continue;
        if (!LASTING.has(refusal)) return { refusal, short, again };
        lasting = refusal;
      }
      from = page.next;
      if (!this.#goesOn(target)) return { refusal: 'PEER_UNREACHABLE', short, again };
      const workedMs = clock.monotonicMs() - startMs;
      await new Promise<void>((resolve) => clock.after(pace.pauseMs(workedMs), resolve));
    } while (from !== undefined);
    if (damaged) {
      metrics.counts.hintsDamaged.add();
      await hints.mend(partition, slot);
    }
    return { refusal: lasting, short, again };
  }

  /** Hands one hint off. */
  async #deliver(hint: Hint, backlog: Backlog, healthyBefore: number): Promise<Delivered> {
    const { hints, metrics } = this.#parts;
    const healthy = this.#healthyOf(backlog);
    if (hints.isOutlived(hint)) {
      const dropped = await hints.drop(hint);
      if (dropped) metrics.counts.hintsOutlived.add();
      return { kind: dropped ? 'dropped' : 'again', refusal: undefined };
    }
    return new Promise((resolve, reject) => {
      const state = newDelivery(hint.slot, hint.w);
      const replicas = primaries(this.#parts.topology, backlog.partition);
      const out: DeliveryOut = {
        send: (replica) => {
          this.#send(state, out, hint, replicas[replica] ?? -1, replica);
        },
        drop: () => {
          hints.drop(hint).then((dropped) => {
            metrics.counts.hintsDelivered.add();
            // One that was merged with another meanwhile comes up again.
            resolve({ kind: dropped ? 'dropped' : 'again', refusal: undefined });
          }, reject);
        },
        keep: (refusal, again) => {
          // With others than those of the pass it fell short of what they might confirm.
          resolve({ kind: refusal !== undefined ? 'refused' : again || healthy !== healthyBefore ? 'again' : 'short', refusal });
        },
      };
      deliveryStep(state, { kind: 'start', healthy }, out);
    });
  }

  #send(state: DeliveryState, out: DeliveryOut, hint: Hint, member: number, replica: number): void {
    const { members, transport, encoder, topology } = this.#parts;
    const payload = encoder.writeRequest(hint.diskKey, hint.bytes, hint.generation);
    transport.request(members.nameOf(member), MESSAGE.write, payload, SEND_TIMEOUT_MS, topology.epoch, (reply) => {
      const confirmed = reply.kind === 'reply';
      deliveryStep(state, confirmed ? { kind: 'confirmed', replica } : { kind: 'refused', replica, code: reply.code }, out);
    });
  }
}
