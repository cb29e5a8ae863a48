/** Writers held back: for no longer than is allowed, and without a timer that comes too early again and again. */

import { describe, expect, it } from '@jest/globals';
import { SeededRandom } from '../../sim/disk/seeded-random.ts';
import type { Clock, Timer } from '../../src/env/clock.ts';
import { MOST_HELD_MS, StallGate } from '../../src/storage/stall.ts';

/** Timers run exactly when they are due. */
class ExactClock implements Clock {
  nowMs: number;
  timers: { readonly dueMs: number; readonly fn: () => void }[] = [];

  constructor(nowMs: number) {
    this.nowMs = nowMs;
  }

  wallMs(): number {
    return this.nowMs;
  }

  monotonicMs(): number {
    return this.nowMs;
  }

  after(delayMs: number, fn: () => void): Timer {
    const timer = { dueMs: this.nowMs + delayMs, fn };
    this.timers.push(timer);
    return {
      cancel: () => {
        this.timers = this.timers.filter((other) => other !== timer);
      },
    };
  }

  soon(fn: () => void): void {
    this.after(0, fn);
  }

  /** Runs the next timer. */
  next(): void {
    const timer = this.timers.shift();
    this.nowMs = timer?.dueMs ?? this.nowMs;
    timer?.fn();
  }
}

describe('a stop', () => {
  it('holds a group for as long as is allowed, whatever the sum of times is rounded to', () => {
    const random = new SeededRandom(4);
    for (let i = 0; i < 2000; i += 1) {
      const clock = new ExactClock(random.below(1_000_000) / 977);
      const gate = new StallGate(clock);
      gate.set('stopped');
      let done = 0;
      gate.acknowledge([() => (done += 1)], undefined);
      clock.nowMs += random.below(200_000) / 1009;
      gate.acknowledge([() => (done += 1)], undefined);
      const heldSinceMs = clock.nowMs;
      clock.next();
      expect([done, gate.held]).toEqual([1, 1]);
      clock.next();
      expect([done, gate.held, clock.timers.length]).toEqual([2, 0, 0]);
      expect(clock.nowMs - heldSinceMs).toBeCloseTo(MOST_HELD_MS, 6);
    }
  });
});

it('says until when writers were stopped, and nothing of a mere slowdown', () => {
  const clock = new ExactClock(1000);
  const gate = new StallGate(clock);
  const seen: number[] = [];
  for (const state of ['slowed', 'stopped', 'slowed', 'none', 'stopped'] as const) {
    gate.set(state);
    clock.nowMs += 10;
    seen.push(gate.stoppedMs);
  }
  expect(seen).toEqual([-Infinity, 1020, 1020, 1020, 1050]);
  gate.close();
  clock.nowMs += 10;
  expect(gate.stoppedMs).toBe(1050);
});
