/**
 * Back-pressure on writers, explicit: while flushes or compactions lag, the callbacks of writes come late: a little (`slowed`), or when there was
 * progress (`stopped`). Failures are never held back.
 *
 * Invariant: nothing is held for longer than MOST_HELD_MS, whatever hangs: what is held is done, and who waits for it has a deadline. What
 * bounds a stop is that the engine refuses further writes (`stalledBytes`).
 */

import type { CoterieError } from '../base/errors.ts';
import type { Clock, Timer } from '../env/clock.ts';
import type { Acknowledge } from './wal/segment.ts';

export type StallState = 'none' | 'slowed' | 'stopped';

const SLOW_MS = 1;
export const MOST_HELD_MS = 250;

interface Held {
  readonly group: readonly Acknowledge[];
  readonly sinceMs: number;
}

export class StallGate {
  state: StallState = 'none';
  readonly #clock: Clock;
  /** Oldest first. */
  #held: Held[] = [];
  #oldest: Timer | undefined;
  #heldCount = 0;
  #sinceMs = 0;
  /** When the last stop ended. */
  #stoppedMs = -Infinity;
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

  /** Until when writers were stopped, monotonic: now while they are, -Infinity if they never were. What began later has not been held by a stop. */
  get stoppedMs(): number {
    return this.state === 'stopped' ? this.#clock.monotonicMs() : this.#stoppedMs;
  }

  set(state: StallState): void {
    if (state === this.state) return;
    const now = this.#clock.monotonicMs();
    if (this.state !== 'none') this.#pastMs += now - this.#sinceMs;
    if (this.state === 'stopped') this.#stoppedMs = now;
    this.#sinceMs = now;
    if (state === 'slowed') this.slowdowns += 1;
    if (state === 'stopped') this.stops += 1;
    this.state = state;
    if (state === 'none') this.#release();
    else if (state === 'slowed') this.#delay();
    else this.#watchOldest();
  }

  acknowledge(group: readonly Acknowledge[], error: CoterieError | undefined): void {
    if (error !== undefined || this.state === 'none') {
      for (const done of group) done(error);
      return;
    }
    this.#held.push({ group, sinceMs: this.#clock.monotonicMs() });
    this.#heldCount += group.length;
    if (this.state === 'slowed') this.#delay();
    else this.#watchOldest();
  }

  /** Runs all that is held: the writes were done long ago. */
  close(): void {
    this.set('none');
  }

  #delay(): void {
    if (this.#delayed || this.#heldCount === 0) return;
    this.#delayed = true;
    this.#clock.after(SLOW_MS, () => {
      this.#delayed = false;
      if (this.state !== 'stopped') this.#release();
    });
  }

  #watchOldest(): void {
    const [oldest] = this.#held;
    if (oldest === undefined || this.#oldest !== undefined) return;
    this.#oldest = this.#clock.after(Math.max(0, oldest.sinceMs + MOST_HELD_MS - this.#clock.monotonicMs()), () => {
      this.#oldest = undefined;
      const now = this.#clock.monotonicMs();
      // The same sum as the timer's: by another, rounded otherwise, it would come too early again and again.
      const young = this.#held.findIndex(({ sinceMs }) => sinceMs + MOST_HELD_MS > now);
      this.#run(this.#held.splice(0, young < 0 ? this.#held.length : young));
      this.#watchOldest();
    });
  }

  #release(): void {
    this.#oldest?.cancel();
    this.#oldest = undefined;
    const held = this.#held;
    this.#held = [];
    this.#run(held);
  }

  #run(held: readonly Held[]): void {
    for (const { group } of held) this.#heldCount -= group.length;
    for (const { group } of held) for (const done of group) done();
  }
}
