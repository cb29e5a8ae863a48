/**
 * Admission at a node: performs what cluster/overload/admission.ts decides, for the operations of clients and, by how much time the turn of the
 * loop has left, for the requests of peers.
 *
 * Work that is further along goes first, since what it has cost is lost when it is refused: a request of a peer is part of an operation that
 * another node has begun, so it is refused only in a turn that has gone on for much longer.
 *
 * Invariants: what is refused was not begun; a refusal builds no error and reads no body; with nothing to refuse or to wait, an operation costs a
 * comparison, and a turn of the loop at most one mark a millisecond.
 */

import { CoterieError } from '../base/errors.ts';
import type { Clock } from '../env/clock.ts';
import {
  type AdmissionBounds,
  type AdmissionOut,
  type AdmissionState,
  arrive,
  ended,
  enqueue,
  hasRoom,
  hasTime,
  isOverloaded,
  newAdmission,
  refuseAll,
  retryAfterMs,
  serve,
  TARGET_MS,
  turnEnded,
  writersStopped,
  type Waiting,
} from '../cluster/overload/admission.ts';
import type { NodeMetrics } from './node-metrics.ts';
import type { Policies } from './policies.ts';

/** Turns are looked at no more often, in ms, unless they take long. */
const MARK_EVERY_MS = 1;
const LONG_TURN_MS = 2;
/** A turn that has gone on for longer, in ms, refuses the requests of peers too. */
export const PEER_TURN_MS = 500;

/** How many times as long a turn goes on with writes that another node has forwarded, and so already worked for. */
const FORWARDED = 2;

/** An operation that waits for its beginning. */
export interface WaitingOperation extends Waiting {
  /** Begins it, with so much of its time left. */
  begin(leftMs: number): void;
  /** It will not be begun. */
  refused(error: CoterieError): void;
}

export interface AdmissionParts {
  readonly clock: Clock;
  readonly bounds: AdmissionBounds;
  readonly metrics: NodeMetrics;
  readonly policies: Policies;
  /** Until when the store of this node stopped its writers, monotonic: now while it does. */
  readonly stoppedMs: () => number;
}

export class Admission implements AdmissionOut<WaitingOperation> {
  readonly #clock: Clock;
  readonly #metrics: NodeMetrics;
  readonly #policies: Policies;
  readonly #stoppedMs: () => number;
  readonly #state: AdmissionState<WaitingOperation>;
  readonly #refusals = new Map<number, CoterieError>();
  /** When the turn of the loop that is being looked at began; undefined while none is. */
  #turnMs: number | undefined;
  /** When it came to the first operation of a client: what others made of the turn before is not taken from the clients' time. */
  #clientsMs: number | undefined;
  /** Operations of clients that it has served. */
  #served = 0;
  #lookedMs = -Infinity;
  #sweeping = false;
  #stopping = false;
  #idle: (() => void) | undefined;

  constructor({ clock, bounds, metrics, policies, stoppedMs }: AdmissionParts) {
    this.#clock = clock;
    this.#metrics = metrics;
    this.#policies = policies;
    this.#stoppedMs = stoppedMs;
    this.#state = newAdmission(bounds, clock.monotonicMs());
  }

  /** Operations of clients begun and not answered. */
  get underWay(): number {
    return this.#state.underWay;
  }

  get waiting(): number {
    return this.#state.line.length;
  }

  /** How many operations may be under way now. */
  get limit(): number {
    return this.#state.limit;
  }

  /** Whatever can be left away had better be. */
  get overloaded(): boolean {
    return this.#state.overloaded && isOverloaded(this.#state, this.#clock.monotonicMs());
  }

  /** Refuses what comes from now on, and what waits. `idle` runs when nothing is under way any more, perhaps at once. */
  stop(idle: () => void): void {
    this.#stopping = true;
    this.#idle = idle;
    refuseAll(this.#state, this);
    if (this.#state.underWay === 0) idle();
  }

  /**
   * To be called before anything is done for a client's operation.
   *
   * @throws CoterieError CLOSED, or BUSY where the turn has no time left for it
   */
  check(nowMs: number): void {
    if (this.#stopping) throw closed();
    if (this.#turnMs !== undefined) {
      this.#clientsMs ??= nowMs;
      if (!hasTime(this.#state, nowMs, nowMs - this.#clientsMs, this.#served)) throw this.#busy(nowMs);
      this.#served += 1;
    } else if (nowMs - this.#lookedMs >= MARK_EVERY_MS) {
      this.#look(nowMs);
      this.#clientsMs = nowMs;
    }
  }

  /** Why an operation that came now would be refused; undefined where it would not be. For protocols whose own work costs more than a refusal. */
  refusal(): CoterieError | undefined {
    if (this.#clientsMs === undefined || this.#stopping) return undefined;
    const nowMs = this.#clock.monotonicMs();
    if (hasTime(this.#state, nowMs, nowMs - this.#clientsMs, this.#served) && hasRoom(this.#state, nowMs)) return undefined;
    return this.#busy(nowMs);
  }

  /** Whether a request of a peer can be served in this turn. `forwarded`: it is a client's write, of which nothing was done yet. */
  admitsPeer(forwarded: boolean): boolean {
    const nowMs = this.#clock.monotonicMs();
    if (this.#turnMs === undefined) {
      if (nowMs - this.#lookedMs >= MARK_EVERY_MS) this.#look(nowMs);
      return true;
    }
    if (!forwarded) return nowMs - this.#turnMs < PEER_TURN_MS;
    this.#clientsMs ??= nowMs;
    if (!hasTime(this.#state, nowMs, (nowMs - this.#clientsMs) / FORWARDED, this.#served / FORWARDED)) return false;
    this.#served += 1;
    return true;
  }

  /** True: the operation begins now, and `ended` is due at its end. False: it is to `wait`. @throws CoterieError BUSY */
  enters(nowMs: number): boolean {
    writersStopped(this.#state, this.#stoppedMs());
    const decision = arrive(this.#state, nowMs);
    if (decision === 'refuse') throw this.#busy(nowMs);
    return decision === 'start';
  }

  wait(operation: WaitingOperation): void {
    this.#metrics.counts.waited.add();
    enqueue(this.#state, operation);
    this.#sweepLater();
  }

  /**
   * @param tookMs undefined for an operation whose duration says nothing of the node
   * @param writes as that of a write does which a stop of the store has held
   */
  ended(nowMs: number, tookMs: number | undefined, error?: CoterieError, writes = false): void {
    const stoppedMs = this.#stoppedMs();
    writersStopped(this.#state, stoppedMs);
    const held = writes && tookMs !== undefined && nowMs - tookMs <= stoppedMs;
    const counts = !held && (error === undefined || error.code === 'BUSY');
    ended(this.#state, nowMs, counts ? tookMs : undefined, error?.code === 'BUSY', this);
    if (this.#state.underWay === 0) this.#idle?.();
  }

  start(operation: WaitingOperation): void {
    operation.begin(Math.max(1, Math.ceil(operation.deadlineMs - this.#clock.monotonicMs())));
  }

  refuse(operation: WaitingOperation): void {
    operation.refused(this.#stopping ? closed() : this.#busy(this.#clock.monotonicMs()));
    this.#policies.shed(() => {
      this.start(operation);
    });
  }

  #busy(nowMs: number): CoterieError {
    this.#metrics.counts.busy.add();
    const ms = retryAfterMs(this.#state, nowMs);
    let error = this.#refusals.get(ms);
    if (error === undefined) {
      // One for all that are refused so: to build an error costs more than all the rest of a refusal.
      error = new CoterieError('BUSY', 'this node has more to do than it can answer in time', { outcome: 'none', retryAfterMs: ms });
      this.#refusals.set(ms, error);
    }
    return error;
  }

  /** Looks at how long this turn takes. */
  #look(nowMs: number): void {
    this.#turnMs = nowMs;
    this.#clock.soon(() => {
      const endMs = this.#clock.monotonicMs();
      const tookMs = endMs - nowMs;
      turnEnded(this.#state, endMs, tookMs);
      this.#lookedMs = endMs;
      this.#turnMs = undefined;
      this.#clientsMs = undefined;
      this.#served = 0;
      // The next one is looked at whole, whatever it does.
      if (tookMs >= LONG_TURN_MS) this.#look(endMs);
    });
  }

  #sweepLater(): void {
    if (this.#sweeping) return;
    this.#sweeping = true;
    this.#clock.after(TARGET_MS, () => {
      this.#sweeping = false;
      serve(this.#state, this.#clock.monotonicMs(), this);
      if (this.#state.line.length > 0) this.#sweepLater();
    });
  }
}

function closed(): CoterieError {
  return new CoterieError('CLOSED', 'the node is stopping', { outcome: 'none' });
}
