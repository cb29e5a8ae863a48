/**
 * Back-pressure on writers, explicit: while flushes or compactions lag, the callbacks of writes come late (`slowed`) or not until there was
 * progress (`stopped`). Failures are never held back.
 */

import type { CoterieError } from '../base/errors.ts';
import type { Clock } from '../env/clock.ts';
import type { Acknowledge } from './wal/log.ts';

export type StallState = 'none' | 'slowed' | 'stopped';

const SLOW_MS = 1;

export class StallGate {
  state: StallState = 'none';
  readonly #clock: Clock;
  #held: (readonly Acknowledge[])[] = [];
  #heldCount = 0;
  #sinceMs = 0;
  #pastMs = 0;
  #delayed = false;
  slowdowns = 0;
  stops = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Callbacks now held back. */
  get held(): number {
    return this.#heldCount;
  }

  /** Milliseconds spent in any stall since the start. */
  get stalledMs(): number {
    return this.#pastMs + (this.state === 'none' ? 0 : this.#clock.monotonicMs() - this.#sinceMs);
  }

  set(state: StallState): void {
    if (state === this.state) return;
    const now = this.#clock.monotonicMs();
    if (this.state !== 'none') this.#pastMs += now - this.#sinceMs;
    this.#sinceMs = now;
    if (state === 'slowed') this.slowdowns += 1;
    if (state === 'stopped') this.stops += 1;
    this.state = state;
    if (state === 'none') this.#release();
    else if (state === 'slowed') this.#delay();
  }

  acknowledge(group: readonly Acknowledge[], error: CoterieError | undefined): void {
    if (error !== undefined || this.state === 'none') {
      for (const done of group) done(error);
      return;
    }
    this.#held.push(group);
    this.#heldCount += group.length;
    if (this.state === 'slowed') this.#delay();
  }

  /** Runs all that is held: the writes were done long ago. */
  close(): void {
    this.state = 'none';
    this.#release();
  }

  #delay(): void {
    if (this.#delayed || this.#heldCount === 0) return;
    this.#delayed = true;
    this.#clock.after(SLOW_MS, () => {
      this.#delayed = false;
      if (this.state !== 'stopped') this.#release();
    });
  }

  #release(): void {
    const held = this.#held;
    this.#held = [];
    this.#heldCount = 0;
    for (const group of held) for (const done of group) done();
  }
}
