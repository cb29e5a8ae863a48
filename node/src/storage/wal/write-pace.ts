/**
 * How much the loop may write to the log synchronously: so many milliseconds a turn, and nothing while the disk is slow. A write of a few KiB
 * into the system's cache takes a microsecond or two, and the way to a thread and back many times that; but where the system holds writers
 * back, or the disk hangs, the loop must not be the one that waits.
 *
 * A disk is slow from SLOW_WRITES slow writes in a row on (one alone is more often a processor taken away), and stays so until a second has
 * passed and a write by a thread has been quick.
 */

import type { Clock } from '../../env/clock.ts';

/** Larger writes go to a thread: their copy alone would take a good part of a turn. */
export const MOST_SYNC_BYTES: number = 256 * 1024;
/** What the slowest write of a disk that is not slow takes. */
const SLOW_MS = 0.5;
const SLOW_WRITES = 2;
const SLOW_FOR_MS = 1000;
/** By a thread, with the way there and back, on a machine that may be busy. */
const QUICK_BY_THREAD_MS = 5;

export class WritePace {
  readonly #clock: Clock;
  readonly #turnMs: number;
  #usedMs = 0;
  #resets = false;
  #slowInARow = 0;
  #slow = false;
  #slowUntilMs = 0;

  /** @param turnMs what a turn's writes may take together; 0: every write goes to a thread */
  constructor(clock: Clock, turnMs: number) {
    this.#clock = clock;
    this.#turnMs = turnMs;
  }

  /** Whether `bytes` may be written now. */
  permits(bytes: number): boolean {
    return !this.#slow && this.#usedMs < this.#turnMs && bytes <= MOST_SYNC_BYTES;
  }

  /** Runs `write`, which is one synchronous write, and charges it. */
  charge(write: () => void): void {
    const before = this.#clock.monotonicMs();
    try {
      write();
    } finally {
      const after = this.#clock.monotonicMs();
      this.#used(after - before, after);
    }
  }

  /** A thread took so long for a write. */
  byThread(tookMs: number): void {
    if (this.#slow && tookMs < QUICK_BY_THREAD_MS && this.#clock.monotonicMs() >= this.#slowUntilMs) this.#slow = false;
  }

  #used(tookMs: number, nowMs: number): void {
    this.#usedMs += tookMs;
    if (tookMs <= SLOW_MS) {
      this.#slowInARow = 0;
    } else {
      this.#slowInARow += 1;
      if (this.#slowInARow >= SLOW_WRITES) {
        this.#slowInARow = 0;
        this.#slow = true;
        this.#slowUntilMs = nowMs + SLOW_FOR_MS;
      }
    }
    if (this.#resets) return;
    this.#resets = true;
    this.#clock.soon(() => {
      this.#resets = false;
      this.#usedMs = 0;
    });
  }
}
