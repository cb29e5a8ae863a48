import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';

import { Deadline, Deadlines } from '../../src/transport/deadlines.ts';
import { VirtualClock } from './virtual-clock.ts';

class Noted extends Deadline {
  readonly atMs: number;
  expiredMs: number | undefined;
  readonly #clock: VirtualClock;
  readonly #then: () => void;

  constructor(clock: VirtualClock, atMs: number, then: () => void = () => undefined) {
    super();
    this.#clock = clock;
    this.atMs = atMs;
    this.#then = then;
  }

  override expire(): void {
    expect(this.expiredMs).toBeUndefined();
    this.expiredMs = this.#clock.monotonicMs();
    this.#then();
  }
}

/** No deadline may be later than one tick. */
const LATE_MS = 8;

describe('Deadlines', () => {
  test('expire once, never early, at most one tick late; removed ones do not', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({ waitMs: fc.double({ min: 0, max: 12_000, noNaN: true }), pauseMs: fc.nat({ max: 60 }), removed: fc.boolean() }),
          {
            minLength: 1,
            maxLength: 40,
          },
        ),
        async (plan) => {
          const clock = new VirtualClock();
          const deadlines = new Deadlines(clock);
          const kept: Noted[] = [];
          const removed: Noted[] = [];
          for (const { waitMs, pauseMs, removed: remove } of plan) {
            const deadline = new Noted(clock, clock.monotonicMs() + waitMs);
            deadlines.add(deadline, deadline.atMs);
            if (remove) {
              deadlines.remove(deadline);
              deadlines.remove(deadline);
            }
            (remove ? removed : kept).push(deadline);
            await clock.advance(pauseMs);
          }
          await clock.advance(15_000);
          for (const { atMs, expiredMs } of kept) {
            expect(expiredMs).toBeGreaterThanOrEqual(atMs);
            expect(expiredMs).toBeLessThanOrEqual(atMs + 2 * LATE_MS);
          }
          expect(removed.every(({ expiredMs }) => expiredMs === undefined)).toBe(true);
          expect(deadlines.size).toBe(0);
          expect(clock.timers).toBe(0);
        },
      ),
      { numRuns: 40, seed: 2 },
    );
  });

  test('set one timer however many there are', () => {
    const clock = new VirtualClock();
    const deadlines = new Deadlines(clock);
    for (let i = 0; i < 1000; i += 1) deadlines.add(new Noted(clock, 0), clock.monotonicMs() + ((i * 7919) % 5000));
    expect(deadlines.size).toBe(1000);
    expect(clock.timers).toBe(1);
    deadlines.close();
    expect(clock.timers).toBe(0);
  });

  test('one that expires may remove others that are due, and add new ones', async () => {
    const clock = new VirtualClock();
    const deadlines = new Deadlines(clock);
    const late = new Noted(clock, 0);
    const second = new Noted(clock, 0);
    const first = new Noted(clock, 0, () => {
      deadlines.remove(second);
      deadlines.add(late, clock.monotonicMs());
    });
    deadlines.add(first, clock.monotonicMs() + 10);
    deadlines.add(second, clock.monotonicMs() + 10);
    await clock.advance(100);
    expect(first.expiredMs).toBeDefined();
    expect(second.expiredMs).toBeUndefined();
    expect(late.expiredMs).toBeDefined();
  });

  test('survive a long pause of the process', async () => {
    const clock = new VirtualClock();
    const deadlines = new Deadlines(clock);
    await clock.advance(1_000_000);
    const deadline = new Noted(clock, 0);
    deadlines.add(deadline, clock.monotonicMs() - 500_000);
    await clock.advance(LATE_MS);
    expect(deadline.expiredMs).toBeDefined();
  });

  test('one that is added while another expires holds up none that is due before it', async () => {
    const clock = new VirtualClock();
    const deadlines = new Deadlines(clock);
    const startMs = clock.monotonicMs();
    const far = new Noted(clock, startMs + 3000);
    const first = new Noted(clock, startMs + 100, () => {
      deadlines.add(far, far.atMs);
    });
    const near = new Noted(clock, startMs + 200);
    for (const deadline of [first, near]) deadlines.add(deadline, deadline.atMs);
    await clock.advance(1000);
    expect(near.expiredMs).toBeLessThanOrEqual(near.atMs + 2 * LATE_MS);
    await clock.advance(5000);
    expect(far.expiredMs).toBeLessThanOrEqual(far.atMs + 2 * LATE_MS);
  });
});
