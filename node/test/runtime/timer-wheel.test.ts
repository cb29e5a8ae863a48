import { describe, expect, test } from '@jest/globals';

import type { Clock, Timer } from '../../src/env/clock.ts';
import { TimerWheel } from '../../src/runtime/timer-wheel.ts';

/** A clock that is turned by hand. */
class HandClock implements Clock {
  now = 0;
  readonly #timers = new Map<object, { at: number; run: () => void }>();

  get pending(): number {
    return this.#timers.size;
  }

  wallMs(): number {
    return this.now;
  }

  monotonicMs(): number {
    return this.now;
  }

  after(delayMs: number, run: () => void): Timer {
    const key = {};
    this.#timers.set(key, { at: this.now + delayMs, run });
    return { cancel: () => this.#timers.delete(key) };
  }

  soon(run: () => void): void {
    this.after(0, run);
  }

  turnTo(ms: number): void {
    for (;;) {
      const due = [...this.#timers].filter(([, { at }]) => at <= ms).sort(([, a], [, b]) => a.at - b.at)[0];
      if (due === undefined) break;
      this.#timers.delete(due[0]);
      this.now = Math.max(this.now, due[1].at);
      due[1].run();
    }
    this.now = ms;
  }
}

describe('the timer wheel', () => {
  test('runs timers in order, never early, at most a tick late, on one clock timer', () => {
    const clock = new HandClock();
    const wheel = new TimerWheel(clock, 4);
    const ran: string[] = [];
    for (const delay of [30, 10, 10, 0, 500, 11]) wheel.after(delay, () => ran.push(`${String(delay)} at ${String(clock.now)}`));
    expect(clock.pending).toBe(1);
    clock.turnTo(9);
    expect(ran).toEqual(['0 at 0']);
    clock.turnTo(40);
    expect(ran.slice(1)).toEqual(['10 at 12', '10 at 12', '11 at 12', '30 at 32']);
    clock.turnTo(1000);
    expect(ran).toHaveLength(6);
    expect(clock.pending).toBe(0);
  });

  test('runs a timer at a time, and one whose time is past as soon as it can', () => {
    const clock = new HandClock();
    const wheel = new TimerWheel(clock, 4);
    const ran: string[] = [];
    clock.turnTo(100);
    wheel.at(110, () => ran.push(`110 at ${String(clock.now)}`));
    wheel.at(50, () => ran.push(`50 at ${String(clock.now)}`));
    clock.turnTo(200);
    expect(ran).toEqual(['50 at 100', '110 at 112']);
  });

  test('a timer cancels those that are to run after it in its tick, and itself, once or twice', () => {
    const clock = new HandClock();
    const wheel = new TimerWheel(clock, 4);
    const ran: number[] = [];
    const timers = [0, 1, 2, 3].map((i) =>
      wheel.after(4, () => {
        ran.push(i);
        if (i !== 1) return;
        for (const timer of timers.slice(0, 3)) timer.cancel();
        timers[2]?.cancel();
      }),
    );
    clock.turnTo(1000);
    expect([ran, clock.pending]).toEqual([[0, 1, 3], 0]);
  });

  test('what is cancelled does not run, and leaves nothing behind', () => {
    const clock = new HandClock();
    const wheel = new TimerWheel(clock, 4);
    let ran = 0;
    const timers = Array.from({ length: 100 }, (_, i) => wheel.after(i, () => (ran += 1)));
    for (const timer of timers) timer.cancel();
    clock.turnTo(1000);
    expect([ran, clock.pending]).toEqual([0, 0]);
  });

  test('a timer set by a timer runs in its own time; closing runs all that are left', () => {
    const clock = new HandClock();
    const wheel = new TimerWheel(clock, 4);
    const ran: number[] = [];
    wheel.after(8, () => {
      ran.push(clock.now);
      wheel.after(20, () => ran.push(clock.now));
      wheel.after(900, () => ran.push(clock.now));
    });
    clock.turnTo(100);
    expect(ran).toEqual([8, 28]);
    wheel.close();
    expect(ran).toEqual([8, 28, 100]);
    expect(clock.pending).toBe(0);
  });
});
