/** The admission by a clock that only the test moves: turns of the loop, and stops of the store. */

import { describe, expect, test } from '@jest/globals';

import type { Clock, Timer } from '../../src/env/clock.ts';
import { INTERVAL_MS, LEAST_PER_TURN, TURN_MS } from '../../src/cluster/overload/admission.ts';
import { Admission, PEER_TURN_MS } from '../../src/runtime/admission.ts';
import { registerMetrics } from '../../src/runtime/node-metrics.ts';
import { SHIPPED_POLICIES } from '../../src/runtime/policies.ts';
import { MetricRegistry } from '../../src/telemetry/metrics.ts';

/** What was put off for a later turn runs in the next one, and what that puts off in the one after it. */
class TurnClock implements Clock {
  nowMs = 0;
  /** How often anything was put off. */
  scheduled = 0;
  #soon: (() => void)[] = [];

  wallMs(): number {
    return this.nowMs;
  }

  monotonicMs(): number {
    return this.nowMs;
  }

  after(): Timer {
    throw new Error('nothing waits here');
  }

  soon(fn: () => void): void {
    this.scheduled += 1;
    this.#soon.push(fn);
  }

  turn(): void {
    for (const fn of this.#soon.splice(0)) fn();
  }
}

class Loop {
  stoppedMs = -Infinity;
  readonly clock = new TurnClock();
  readonly metrics = registerMetrics(new MetricRegistry());
  readonly admission = new Admission({
    clock: this.clock,
    bounds: { operations: 1000, waiting: 10 },
    metrics: this.metrics,
    policies: SHIPPED_POLICIES,
    stoppedMs: () => this.stoppedMs,
  });

  /** The code and outcome with which an operation that comes now is refused. */
  ask(): unknown {
    try {
      this.admission.check(this.clock.monotonicMs());
      return undefined;
    } catch (error) {
      return error;
    }
  }

  /** So many operations, each of which takes so long, begin and end together. */
  round(operations: number, tookMs: number, writes: boolean): void {
    for (let i = 0; i < operations; i += 1) expect(this.admission.enters(this.clock.nowMs)).toBe(true);
    this.work(tookMs);
    for (let i = 0; i < operations; i += 1) this.admission.ended(this.clock.nowMs, tookMs, undefined, writes);
  }

  /** As many operations as a turn serves in any case. */
  serveLeast(): void {
    for (let i = 0; i < LEAST_PER_TURN; i += 1) expect(this.ask()).toBeUndefined();
  }

  work(ms: number): void {
    this.clock.nowMs += ms;
  }

  /** The turn ends; the next begins after the loop has waited for so long. */
  next(idleMs = 0): void {
    this.clock.turn();
    this.clock.nowMs += idleMs;
  }

  /** Turns in which clients get `ms` of work done each, until that is overload. */
  overload(ms: number): void {
    for (let spentMs = 0; spentMs <= 2 * INTERVAL_MS; spentMs += ms) {
      this.ask();
      this.work(ms);
      this.next();
    }
  }
}

const BUSY = { code: 'BUSY', outcome: 'none' };

describe('a turn of the loop', () => {
  test('is as long as it needs to be, until turns have been long for an interval', () => {
    const loop = new Loop();
    expect(loop.ask()).toBeUndefined();
    loop.work(INTERVAL_MS - 1);
    expect(loop.ask()).toBeUndefined();
    expect(loop.admission.refusal()).toBeUndefined();
    loop.next(2);
    expect(loop.ask()).toBeUndefined();
  });

  test('under overload has its time for clients, and refuses the rest at no cost', () => {
    const loop = new Loop();
    loop.overload(100);
    expect(loop.admission.overloaded).toBe(true);
    loop.serveLeast();
    loop.work(TURN_MS - 1);
    expect(loop.ask()).toBeUndefined();
    loop.work(1);
    const first = loop.ask();
    expect(first).toMatchObject(BUSY);
    // No error is built for each: it is one and the same.
    expect(loop.ask()).toBe(first);
    expect(loop.admission.refusal()).toBe(first);
    expect(loop.metrics.counts.busy.value()).toBe(3);
    loop.next();
    expect(loop.ask()).toBeUndefined();
  });

  test('what others made of it is not taken from the time of clients', () => {
    const loop = new Loop();
    loop.overload(100);
    loop.work(50);
    expect(loop.admission.refusal()).toBeUndefined();
    loop.serveLeast();
    loop.work(TURN_MS);
    expect(loop.ask()).toMatchObject(BUSY);
  });

  test('serves some hundred operations however long they take', () => {
    const loop = new Loop();
    loop.overload(100);
    for (let i = 0; i < LEAST_PER_TURN; i += 1) {
      expect(loop.ask()).toBeUndefined();
      loop.work(2);
    }
    expect(loop.ask()).toMatchObject(BUSY);
  });

  test('serves peers for longer, and writes that were forwarded for longer than those that come from clients', () => {
    const loop = new Loop();
    loop.overload(100);
    loop.serveLeast();
    loop.work(TURN_MS);
    expect([loop.ask() === undefined, loop.admission.admitsPeer(true), loop.admission.admitsPeer(false)]).toEqual([false, true, true]);
    loop.work(TURN_MS);
    for (let i = 0; i < LEAST_PER_TURN; i += 1) loop.admission.admitsPeer(true);
    expect([loop.admission.admitsPeer(true), loop.admission.admitsPeer(false)]).toEqual([false, true]);
    loop.work(PEER_TURN_MS);
    expect(loop.admission.admitsPeer(false)).toBe(false);
    loop.next();
    expect(loop.admission.admitsPeer(false)).toBe(true);
  });

  test('overload is over when there was none for an interval', () => {
    const loop = new Loop();
    loop.overload(100);
    for (let passedMs = 0; passedMs <= INTERVAL_MS; passedMs += 10) {
      expect(loop.ask()).toBeUndefined();
      loop.work(1);
      loop.next(9);
    }
    expect(loop.admission.overloaded).toBe(false);
    loop.serveLeast();
    loop.work(TURN_MS);
    expect(loop.ask()).toBeUndefined();
  });

  test('nothing is looked at while nothing comes', () => {
    const loop = new Loop();
    loop.overload(100);
    loop.next();
    const before = loop.clock.scheduled;
    for (let turn = 0; turn < 10; turn += 1) loop.next(10);
    expect(loop.clock.scheduled).toBe(before);
    loop.ask();
    expect(loop.clock.scheduled).toBe(before + 1);
  });
});

describe('a store that stops its writers', () => {
  test('makes no limit fall by what it holds, however long that goes on', () => {
    const loop = new Loop();
    for (let round = 0; round < 20; round += 1) {
      loop.stoppedMs = loop.clock.nowMs + 260;
      loop.round(200, 260, true);
    }
    expect(loop.admission.limit).toBe(LEAST_PER_TURN);
    // The last of what it held, which is heard of later.
    loop.stoppedMs = loop.clock.nowMs;
    loop.round(200, 400, true);
    expect(loop.admission.limit).toBe(LEAST_PER_TURN);
    // Not so what began when it was over.
    loop.work(1);
    loop.round(200, 400, true);
    expect(loop.admission.limit).toBeLessThan(200);
  });

  test('holds no reads: those that are slow meanwhile count', () => {
    const loop = new Loop();
    loop.stoppedMs = Infinity;
    loop.round(200, 400, false);
    expect(loop.admission.limit).toBeLessThan(200);
  });

  test('explains a window in which nothing ends, which neither lowers nor raises the limit', () => {
    const limitAfter = (stoppedMs: number): number => {
      const loop = new Loop();
      loop.round(200, 300, false);
      loop.round(1, 300, false);
      const { limit } = loop.admission;
      loop.stoppedMs = stoppedMs;
      while (loop.admission.enters(loop.clock.nowMs));
      loop.work(INTERVAL_MS);
      loop.admission.enters(loop.clock.nowMs);
      return loop.admission.limit / limit;
    };
    expect(limitAfter(Infinity)).toBe(1);
    expect(limitAfter(-Infinity)).toBeLessThan(1);
  });
});
