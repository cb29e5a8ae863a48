/** A clock that moves only when told to, so that tests of deadlines take no time. */

import type { Clock, Timer } from '../../src/env/clock.ts';

interface Pending {
  readonly atMs: number;
  readonly fn: () => void;
}

export class VirtualClock implements Clock {
  #nowMs = 1000;
  #soon: (() => void)[] = [];
  readonly #timers = new Set<Pending>();

  wallMs(): number {
    return 1_700_000_000_000 + Math.floor(this.#nowMs);
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, fn: () => void): Timer {
    const pending = { atMs: this.#nowMs + delayMs, fn };
    this.#timers.add(pending);
    return { cancel: () => this.#timers.delete(pending) };
  }

  soon(fn: () => void): void {
    this.#soon.push(fn);
  }

  get timers(): number {
    return this.#timers.size;
  }

  /** Runs everything that is ready, promises included, without moving time. */
  async settle(): Promise<void> {
    do {
      this.turn();
      await new Promise<void>((resolve) => setImmediate(resolve));
    } while (this.#soon.length > 0);
  }

  /** Runs what is ready, except promises. */
  turn(): void {
    while (this.#soon.length > 0) {
      const ready = this.#soon;
      this.#soon = [];
      for (const fn of ready) fn();
    }
  }

  /** Time passes while nothing runs, as for a process that is stopped. */
  jump(ms: number): void {
    this.#nowMs += ms;
  }

  /** Moves time on, firing timers in their order. */
  async advance(ms: number): Promise<void> {
    const end = this.#nowMs + ms;
    await this.settle();
    for (;;) {
      const next = [...this.#timers].reduce<Pending | undefined>(
        (first, one) => (first === undefined || one.atMs < first.atMs ? one : first),
        undefined,
      );
      if (next === undefined || next.atMs > end) break;
      this.#timers.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.fn();
      await this.settle();
    }
    this.#nowMs = end;
  }
}
