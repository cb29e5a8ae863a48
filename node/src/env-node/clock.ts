/** The machine's clocks and timers. */

import { performance } from 'node:perf_hooks';

import type { Clock, Timer } from '../env/clock.ts';

/** The longest delay `setTimeout` keeps; above it, it would fire at once. */
const LONGEST_MS = 0x7fff_ffff;

class NodeTimer implements Timer {
  #handle: NodeJS.Timeout | undefined;

  constructor(delayMs: number, fn: () => void) {
    this.#arm(delayMs, fn);
  }

  cancel(): void {
    clearTimeout(this.#handle);
    this.#handle = undefined;
  }

  #arm(delayMs: number, fn: () => void): void {
    const rest = delayMs - LONGEST_MS;
    const next =
      rest > 0
        ? (): void => {
            this.#arm(rest, fn);
          }
        : fn;
    this.#handle = setTimeout(next, Math.min(delayMs, LONGEST_MS)).unref();
  }
}

export class NodeClock implements Clock {
  wallMs(): number {
    return Date.now();
  }

  monotonicMs(): number {
    return performance.now();
  }

  after(delayMs: number, fn: () => void): Timer {
    return new NodeTimer(delayMs, fn);
  }

  soon(fn: () => void): void {
    setImmediate(fn);
  }
}
