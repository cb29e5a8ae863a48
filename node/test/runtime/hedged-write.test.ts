/** Every order in which two coordinators of a write can answer (runtime/hedged-write.ts). */

import { expect, test } from '@jest/globals';
import fc from 'fast-check';

import { CoterieError } from '../../src/base/errors.ts';
import type { Sink } from '../../src/runtime/answer.ts';
import type { NodeCore } from '../../src/runtime/core.ts';
import { HedgedWrite } from '../../src/runtime/hedged-write.ts';
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

test('the client is answered once, in time, and by the first only while the second cannot begin the write', async () => {
  await fc.assert(
    fc.asyncProperty(COORDINATOR, fc.option(COORDINATOR), async (first, second) => {
      const clock = new VirtualClock();
      const metrics = registerMetrics(new MetricRegistry());
      const core = {
        admission: { overloaded: false },
        clock,
        wheel: new TimerWheel(clock, TICK_MS),
        writeHedging: new WriteHedging(),
        metrics,
      } as unknown as NodeCore;
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
      write.begin(core.writeHedging.afterMs(UNSEEN_MS) ?? NaN);
      clock.after(first.atMs, () => answerTo(write, first, 1));
      await clock.advance(2 * TIMEOUT_MS);
      expect(ends.length).toBe(1);
      expect(asked).toBeLessThanOrEqual(1);
      const [{ by, atMs } = { by: '', atMs: 0 }] = ends;
      expect(atMs).toBeLessThanOrEqual(TIMEOUT_MS + 2 * TICK_MS);
      if (askedMs !== undefined && second !== null) {
        expect(askedMs).toBeGreaterThanOrEqual(FIRST_WITHIN_MS + UNSEEN_MS);
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

test('the second is asked once the first begins the write no more, later where writes take long, and within half a second', () => {
  const hedging = new WriteHedging();
  const slow = (ms: number): number | undefined => {
    for (let i = 0; i < 8192; i += 1) hedging.observe(ms);
    return hedging.afterMs(UNSEEN_MS);
  };
  expect(slow(1)).toBeGreaterThanOrEqual(FIRST_WITHIN_MS + UNSEEN_MS);
  expect(slow(1)).toBeLessThan(FIRST_WITHIN_MS + UNSEEN_MS + 10);
  expect(slow(100)).toBeGreaterThanOrEqual(200);
  expect(slow(3000)).toBe(500);
  // What takes long is looked at on: it may take less again.
  expect(slow(1)).toBeLessThan(FIRST_WITHIN_MS + UNSEEN_MS + 10);
  expect(hedging.afterMs(300)).toBeUndefined();
  expect(hedging.afterMs(Infinity)).toBeUndefined();
});
