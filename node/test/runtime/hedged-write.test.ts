/** Every order in which two coordinators of a write can answer (runtime/hedged-write.ts). */

import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';

import { CoterieError } from '../../src/base/errors.ts';
import type { Sink } from '../../src/runtime/answer.ts';
import { HedgedWrite, type HedgedWriteCore } from '../../src/runtime/hedged-write.ts';
import { registerMetrics } from '../../src/runtime/node-metrics.ts';
import { TimerWheel } from '../../src/runtime/timer-wheel.ts';
import type { WriteAnswer } from '../../src/runtime/write-command.ts';
import { FIRST_WITHIN_MS, SECOND_WITHIN_MS, WriteHedging } from '../../src/runtime/write-hedging.ts';
import { MetricRegistry } from '../../src/telemetry/metrics.ts';
import { VirtualClock } from '../transport/virtual-clock.ts';

const UNSEEN_MS = 30;
const TIMEOUT_MS = 1000;
const TICK_MS = 4;
const ANSWER = { context: undefined, existed: false, changed: true, fallbacks: 0 };

type End = 'success' | 'none' | 'unknown';
interface Coordinator {
  readonly end: End;
  readonly atMs: number;
}

const COORDINATOR: fc.Arbitrary<Coordinator> = fc.record({
  end: fc.constantFrom<End>('success', 'none', 'unknown'),
  atMs: fc.integer({ min: 0, max: TIMEOUT_MS }),
});

function answerTo(sink: Sink<WriteAnswer>, { end }: Coordinator, siblings: number): void {
  if (end === 'success') sink.succeed({ ...ANSWER, siblings });
  else sink.fail(new CoterieError('NO_QUORUM', end, { outcome: end }));
}

function coreOf(clock: VirtualClock, writeHedging: WriteHedging): HedgedWriteCore {
  const metrics = registerMetrics(new MetricRegistry());
  return { admission: { overloaded: false }, clock, wheel: new TimerWheel(clock, TICK_MS), writeHedging, metrics };
}

/** Where writes have taken so long until now. */
function hedgingAt(ms: number): WriteHedging {
  const hedging = new WriteHedging();
  for (let i = 0; i < 8192; i += 1) hedging.observe(ms);
  return hedging;
}

test('the client is answered once, in time, and by the first only while the second cannot begin the write', async () => {
  await fc.assert(
    fc.asyncProperty(COORDINATOR, fc.option(COORDINATOR), fc.constantFrom(10, 100), async (first, second, p95Ms) => {
      const clock = new VirtualClock();
      const hedging = hedgingAt(p95Ms);
      const core = coreOf(clock, hedging);
      const afterMs = hedging.afterMs(UNSEEN_MS) ?? NaN;
      const startMs = clock.monotonicMs();
      const ends: { by: string; atMs: number }[] = [];
      const end = (by: string): void => void ends.push({ by, atMs: clock.monotonicMs() - startMs });
      let askedMs: number | undefined;
      let asked = 0;
      const write = new HedgedWrite(
        core,
        {
          heardMs: () => 0,
          leftMs: () => startMs + TIMEOUT_MS - clock.monotonicMs(),
          findSecond: () => (second === null ? undefined : UNSEEN_MS),
          askSecond: (sink) => {
            asked += 1;
            if (second === null) throw new Error('there is none');
            askedMs = clock.monotonicMs() - startMs;
            const delayMs = Math.min(second.atMs, TIMEOUT_MS - askedMs);
            if (delayMs === 0) answerTo(sink, second, 2);
            else clock.after(delayMs, () => answerTo(sink, second, 2));
          },
        },
        {
          succeed: ({ siblings }) => end(siblings === 1 ? 'first' : 'second'),
          fail: ({ outcome }) => end(outcome ?? ''),
        },
      );
      write.begin(afterMs);
      clock.after(first.atMs, () => answerTo(write, first, 1));
      await clock.advance(2 * TIMEOUT_MS);
      expect(ends.length).toBe(1);
      expect(asked).toBeLessThanOrEqual(1);
      const [{ by, atMs } = { by: '', atMs: 0 }] = ends;
      expect(atMs).toBeLessThanOrEqual(TIMEOUT_MS + 2 * TICK_MS);
      if (askedMs !== undefined && second !== null) {
        expect(askedMs).toBeGreaterThanOrEqual(hedging.firstWithinMs(afterMs, UNSEEN_MS) + UNSEEN_MS);
        const windowMs = askedMs + SECOND_WITHIN_MS + UNSEEN_MS;
        const overMs = second.end === 'none' ? Math.min(askedMs + second.atMs, windowMs) : windowMs;
        if (by === 'first') expect(atMs).toBeGreaterThanOrEqual(Math.min(overMs, TIMEOUT_MS));
        if (by === 'none') expect([first.end, second.end]).toEqual(['none', 'none']);
      } else if (by === 'none') expect(first.end).toBe('none');
      if (first.end === 'success' && askedMs === undefined) expect(by).toBe('first');
    }),
    { numRuns: 500, seed: 5 },
  );
});

describe('a second coordinator is asked', () => {
  const afterMs = (p95Ms: number): number => hedgingAt(p95Ms).afterMs(UNSEEN_MS) ?? NaN;

  test('once the first begins the write no more, later where writes take long, and within half a second', () => {
    expect(afterMs(1)).toBeGreaterThanOrEqual(FIRST_WITHIN_MS + UNSEEN_MS);
    expect(afterMs(1)).toBeLessThan(FIRST_WITHIN_MS + UNSEEN_MS + 10);
    expect(afterMs(100)).toBeGreaterThanOrEqual(200);
    expect(afterMs(3000)).toBe(500);
  });

  test('never where it could not be told how late a request is', () => {
    expect(hedgingAt(1).afterMs(300)).toBeUndefined();
    expect(hedgingAt(1).afterMs(Infinity)).toBeUndefined();
  });

  test('soon again where writes took long, and do no more', () => {
    const hedging = hedgingAt(3000);
    for (let i = 0; i < 8192; i += 1) hedging.observe(1);
    expect(hedging.afterMs(UNSEEN_MS)).toBe(afterMs(1));
  });
});

describe('the time within which the first begins a write', () => {
  const within = (p95Ms: number, unseenMs: number): number => {
    const hedging = hedgingAt(p95Ms);
    return hedging.firstWithinMs(hedging.afterMs(unseenMs) ?? NaN, unseenMs);
  };

  test('is at least what an idle node needs, and else all for which the second waits', () => {
    expect(within(1, UNSEEN_MS)).toBe(FIRST_WITHIN_MS);
    expect(within(1, 0.1 + Number.EPSILON)).toBe(FIRST_WITHIN_MS);
    expect(within(100, UNSEEN_MS)).toBeGreaterThanOrEqual(200 - UNSEEN_MS - 3);
  });

  /** So many writes are sent, and all come back together after so long as too late to be begun. */
  async function tooLate(clock: VirtualClock, core: HedgedWriteCore, count: number, lateMs: number): Promise<void> {
    const ignore: Sink<WriteAnswer> = { succeed: () => undefined, fail: () => undefined };
    const sentMs = clock.monotonicMs();
    const coordinators = {
      heardMs: () => sentMs + 1,
      leftMs: () => 10 * TIMEOUT_MS,
      findSecond: () => undefined,
      askSecond: () => undefined,
    };
    const writes = Array.from({ length: count }, () => new HedgedWrite(core, coordinators, ignore));
    for (const write of writes) write.begin(core.writeHedging.afterMs(UNSEEN_MS) ?? NaN);
    await clock.advance(lateMs);
    for (const write of writes) write.fail(new CoterieError('CANCELLED', 'too late', { outcome: 'none' }));
  }

  test('grows where writes come too late, though none of them is begun', async () => {
    const clock = new VirtualClock();
    const core = coreOf(clock, new WriteHedging());
    for (let round = 0; round < 20; round += 1) await tooLate(clock, core, 64, 200);
    expect(core.writeHedging.delayMs).toBeGreaterThan(100);
  });

  test('stays short where a process was stopped for long once', async () => {
    const clock = new VirtualClock();
    const core = coreOf(clock, new WriteHedging());
    await tooLate(clock, core, 640, 5000);
    expect(core.writeHedging.delayMs).toBeLessThan(3 * FIRST_WITHIN_MS);
  });
});
