/**
 * Virtual time for one process under proof: a clock whose events run one a turn, each followed by a drain of everything it made ready
 * (`setImmediate` comes after all microtasks and ticks), so that the same seed gives the same history.
 */

import type { Clock, Timer } from '../../src/env/clock.ts';

interface Event {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
  cancelled: boolean;
}

/** Nothing is left that could ever settle what was waited for: the program under proof hangs. */
export class Stuck extends Error {
  override readonly name = 'Stuck';
}

function before(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

export class Timeline implements Clock {
  #nowMs = 0;
  #order = 0;
  #heap: Event[] = [];
  readonly #startMs: number;
  /** Events run so far. */
  events = 0;

  constructor(startMs = 1_700_000_000_000) {
    this.#startMs = startMs;
  }

  wallMs(): number {
    return Math.floor(this.#startMs + this.#nowMs);
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, fn: () => void): Timer {
    const event: Event = { at: this.#nowMs + Math.max(0, delayMs), order: this.#order, run: fn, cancelled: false };
    this.#order += 1;
    this.#push(event);
    return {
      cancel: () => {
        event.cancelled = true;
      },
    };
  }

  soon(fn: () => void): void {
    this.after(0, fn);
  }

  /** The same as `after` without a way to cancel: what a simulated disk asks for. */
  readonly schedule = (delayMs: number, fn: () => void): void => {
    this.after(delayMs, fn);
  };

  /** Drops everything that was to happen: the process is gone. */
  clear(): void {
    this.#heap = [];
  }

  /**
   * Runs events until `promise` settles; answers or throws what it does.
   *
   * @param mostEvents a bound that tells a hang that keeps itself busy (timers without end) from work
   * @throws Stuck when no event is left or the bound is reached
   */
  async run<T>(promise: Promise<T>, mostEvents = 200_000): Promise<T> {
    let settled = false;
    const mark = (): void => {
      settled = true;
    };
    promise.then(mark, mark);
    await drained();
    for (let count = 0; !settled; count += 1) {
      if (count >= mostEvents) throw new Stuck(`not settled after ${String(mostEvents)} events`);
      if (!(await this.#next())) throw new Stuck('nothing left to happen, and not settled');
    }
    return promise;
  }

  /** Ends the turn of the caller, runs one event, and drains; false when there is none. */
  async step(): Promise<boolean> {
    await drained();
    return this.#next();
  }

  async #next(): Promise<boolean> {
    let event = this.#pop();
    while (event?.cancelled === true) event = this.#pop();
    if (event === undefined) return false;
    this.#nowMs = Math.max(this.#nowMs, event.at);
    this.events += 1;
    event.run();
    await drained();
    return true;
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const up = (at - 1) >> 1;
      const parent = heap[up];
      if (parent === undefined || !before(event, parent)) break;
      heap[at] = parent;
      at = up;
    }
    heap[at] = event;
  }

  #pop(): Event | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let down = 2 * at + 1;
      let child = heap[down];
      if (child === undefined) break;
      const right = heap[down + 1];
      if (right !== undefined && before(right, child)) {
        child = right;
        down += 1;
      }
      if (!before(child, last)) break;
      heap[at] = child;
      at = down;
    }
    heap[at] = last;
    return first;
  }
}

function drained(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
