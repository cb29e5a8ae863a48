/**
 * The one place where background work (compaction, repair, moves) learns how much it may do: it yields to clients by what their latency says
 * (rules: cluster/overload/pace.ts).
 *
 * A piece of work on the event loop is done in short steps, and after each it waits as long as `pauseMs` says. Work in the worker is given the
 * share itself.
 */

import type { Clock } from '../env/clock.ts';
import { foregroundTook, newPace, type PaceState, shareForWork } from '../cluster/overload/pace.ts';

/** No step is followed by a longer pause, so that a step that was itself held up does not stop its work for minutes. */
const LONGEST_PAUSE_MS = 2000;

export class ForegroundPace {
  readonly #clock: Clock;
  readonly #state: PaceState;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#state = newPace(clock.monotonicMs());
  }

  /** An operation of a client was answered after so many ms. */
  observe(ms: number): void {
    foregroundTook(this.#state, ms);
  }

  /** The share of the time that background work may take now, above 0 to 1. To be asked by such work only, again and again while it runs. */
  share(): number {
    return shareForWork(this.#state, this.#clock.monotonicMs());
  }

  /** How long work pauses after a step that took `workedMs`, in ms: with a share of a quarter three times as long. */
  pauseMs(workedMs: number): number {
    return Math.min(LONGEST_PAUSE_MS, workedMs * (1 / this.share() - 1));
  }
}
