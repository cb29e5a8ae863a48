/**
 * A client's write at its coordinator, and at a second one where the first is silent (stopped, cut off, dead a moment ago): a hedged request, as in
 * Dean and Barroso, "The Tail at Scale" (2013). A write takes effect, so more is needed than for a read:
 *
 * - each coordinator begins it within a given time of its sending or never, which it can tell however long the request was held up
 *   (transport/lateness.ts), and the second is asked when the first begins it no more;
 * - the second asks the primaries first whether the first has begun it (cluster/versioning/attempt.ts), and then finishes that; where the first is
 *   silent altogether, it does not wait for it;
 * - what the first answers meanwhile is passed on only once the second has answered, or begins it no more: a write that the client sends next is
 *   later than both.
 *
 * Where the first has begun it and nobody who answers knows, the second makes it once more, in the place of the first: later than that, and before
 * anybody was told of it. For a blind write that is the same write. Their clocks may differ: so the router says up to which time the first may date
 * it, and from which on the second; a first one that would date it later refuses, and is asked again without a second.
 *
 * Invariants: the sink ends once; the second is asked at most once; a failure has outcome `none` only if both coordinators said so.
 */

import { CoterieError } from '../base/errors.ts';
import type { Timer } from '../env/clock.ts';
import type { Sink } from './answer.ts';
import type { NodeCore } from './core.ts';
import type { WriteAnswer } from './write-command.ts';
import { MARGIN_MS, SECOND_WITHIN_MS } from './write-hedging.ts';

/** Who knows the coordinators. */
export interface Coordinators {
  /** When the first was last heard of, on the monotonic clock. */
  heardMs(): number;
  /** What is left of the client's time, in ms. */
  leftMs(): number;
  /** By how much a request to a second coordinator may be late unseen, in ms; undefined where there is none to ask. */
  findSecond(): number | undefined;
  /** Asks the one that was found. @param silent the first answers nobody */
  askSecond(sink: Sink<WriteAnswer>, silent: boolean): void;
}

/** What it needs of the node. */
export interface HedgedWriteCore extends Pick<NodeCore, 'clock' | 'metrics' | 'wheel' | 'writeHedging'> {
  readonly admission: Pick<NodeCore['admission'], 'overloaded'>;
}

export class HedgedWrite {
  readonly #core: HedgedWriteCore;
  readonly #coordinators: Coordinators;
  readonly #sink: Sink<WriteAnswer>;
  #sentMs = 0;
  #dueMs = 0;
  /** Until the second is due; then until it begins the write no more. */
  #timer: Timer | undefined;
  #secondIsDue = true;
  #secondMayBegin = false;
  /** Coordinators that were asked and have not answered. */
  #open = 1;
  /** What the first has answered, while the second may yet begin the write. */
  #held: WriteAnswer | undefined;
  /** Why it is not known what became of the write; and of one that did nothing, why. */
  #doubt: CoterieError | undefined;
  #refusal: CoterieError | undefined;
  #ended = false;

  /** `succeed` and `fail` take the answer of the first. */
  constructor(core: HedgedWriteCore, coordinators: Coordinators, sink: Sink<WriteAnswer>) {
    this.#core = core;
    this.#coordinators = coordinators;
    this.#sink = sink;
  }

  /** The first has just been asked. @param afterMs until the second is, in ms: `WriteHedging.afterMs` */
  begin(afterMs: number): void {
    const { clock, wheel, writeHedging } = this.#core;
    writeHedging.began();
    this.#sentMs = clock.monotonicMs();
    this.#dueMs = this.#sentMs + afterMs;
    this.#timer = wheel.after(afterMs, () => {
      this.#secondDue();
    });
  }

  succeed(answer: WriteAnswer): void {
    this.#observe(Infinity);
    this.#open -= 1;
    this.#held = answer;
    this.#settle();
  }

  fail(error: CoterieError): void {
    // It came too late to be begun: had only those that came in time a say in how long is waited, all would stay too late. None counts for more
    // than was waited: a process that was stopped refuses all at once that came meanwhile, and goes on as fast as before.
    if (error.code === 'CANCELLED' && error.outcome === 'none') this.#observe(this.#dueMs);
    // What did nothing is for the router to take elsewhere.
    if (error.outcome === 'none' || !this.#hasTime()) this.#secondIsDue = false;
    this.#failed(error);
  }

  /** The first has answered, which counts as if it had been by `latestMs` at the latest. */
  #observe(latestMs: number): void {
    const { clock, writeHedging } = this.#core;
    writeHedging.observe(Math.min(clock.monotonicMs(), latestMs) - this.#sentMs);
  }

  /** Whether the client still waits when the second is due. */
  #hasTime(): boolean {
    return this.#coordinators.leftMs() > this.#dueMs - this.#core.clock.monotonicMs();
  }

  #secondDue(): void {
    const { admission, clock, metrics, wheel, writeHedging } = this.#core;
    this.#secondIsDue = false;
    // One that was not heard of since is silent in all it does, and no cause of load: only slow ones are hedged by budget.
    const silent = this.#open === 0 || this.#coordinators.heardMs() <= this.#sentMs;
    // A node that stops runs its timers before their time.
    const isTime = clock.monotonicMs() >= this.#dueMs && (silent || (!admission.overloaded && writeHedging.take()));
    const unseenMs = isTime ? this.#coordinators.findSecond() : undefined;
    if (unseenMs === undefined) {
      this.#settle();
      return;
    }
    metrics.counts.writeHedges.add();
    this.#open += 1;
    this.#secondMayBegin = true;
    const waitMs = SECOND_WITHIN_MS + unseenMs + MARGIN_MS;
    const overMs = clock.monotonicMs() + waitMs;
    this.#coordinators.askSecond({ succeed: this.#secondSucceeded.bind(this), fail: this.#secondFailed.bind(this) }, silent);
    if (!this.#waitsForSecond()) return;
    this.#timer = wheel.after(Math.min(waitMs, this.#coordinators.leftMs()), () => {
      if (clock.monotonicMs() >= overMs) this.#secondIsOver();
      else if (this.#coordinators.leftMs() > 0) this.#fail(new CoterieError('CLOSED', 'the node is stopping', { outcome: 'unknown' }));
      else this.#fail(new CoterieError('TIMEOUT', 'two coordinators did not answer in time', { outcome: 'unknown' }));
    });
  }

  /** It may have answered at once. */
  #waitsForSecond(): boolean {
    return !this.#ended && this.#secondMayBegin;
  }

  #secondSucceeded(answer: WriteAnswer): void {
    if (this.#end()) this.#sink.succeed(answer);
  }

  #secondFailed(error: CoterieError): void {
    // Where that is in doubt, only its connection may be gone: it may begin the write all the same.
    if (error.outcome === 'none') this.#secondMayBegin = false;
    this.#failed(error);
  }

  /** The second begins the write no more, if it has not. */
  #secondIsOver(): void {
    this.#secondMayBegin = false;
    this.#settle();
  }

  #failed(error: CoterieError): void {
    this.#open -= 1;
    if (error.outcome === 'none') this.#refusal ??= error;
    else this.#doubt ??= error;
    this.#settle();
  }

  /** Answers, if there is nothing to wait for. */
  #settle(): void {
    if (this.#held !== undefined) {
      if (!this.#secondMayBegin && this.#end()) this.#sink.succeed(this.#held);
      return;
    }
    const error = this.#doubt ?? this.#refusal;
    if (this.#open === 0 && !this.#secondIsDue && error !== undefined) this.#fail(error);
  }

  #fail(error: CoterieError): void {
    if (this.#end()) this.#sink.fail(error);
  }

  #end(): boolean {
    if (this.#ended) return false;
    this.#ended = true;
    this.#timer?.cancel();
    return true;
  }
}
