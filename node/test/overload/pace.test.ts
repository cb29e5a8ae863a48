/** How background work yields to the foreground: the controller against a foreground that suffers from it, or from something else. */

import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';

import { LatencyWindow } from '../../src/cluster/overload/latency-window.ts';
import { foregroundTook, LEAST_SHARE, newPace, type PaceState, shareForWork } from '../../src/cluster/overload/pace.ts';
import { shareOf } from '../../src/storage/compaction/compaction-pace.ts';

/** Windows of 250 ms with 40 operations each, whose latency depends on the share; answers the share after each. */
function windows(state: PaceState, fromMs: number, count: number, latencyMs: (share: number) => number): number[] {
  const shares: number[] = [];
  for (let window = 1; window <= count; window += 1) {
    for (let i = 0; i < 40; i += 1) foregroundTook(state, latencyMs(state.share));
    shares.push(shareForWork(state, fromMs + window * 250));
  }
  return shares;
}

/** A controller that has seen a second of quiet operations. */
function learned(quietMs: number): PaceState {
  const state = newPace(0);
  for (let i = 0; i < 100; i += 1) foregroundTook(state, quietMs);
  shareForWork(state, 1000);
  return state;
}

describe('the pace of background work', () => {
  test('halves with each window in which the foreground suffers, and never stops', () => {
    const shares = windows(learned(10), 1000, 6, () => 50);
    expect(shares).toEqual([0.5, 0.25, 0.125, LEAST_SHARE, LEAST_SHARE, LEAST_SHARE]);
  });

  test('settles where the foreground bears it', () => {
    // Twice the quiet latency is reached at a share of a half.
    const shares = windows(learned(10), 1000, 80, (share) => 10 * (1 + 2 * share));
    for (const share of shares.slice(40)) {
      expect(share).toBeGreaterThanOrEqual(0.2);
      expect(share).toBeLessThan(0.75);
    }
  });

  test('does not yield to what it has not done', () => {
    // The machine has become slow, whatever the share.
    const shares = windows(learned(10), 1000, 200, () => 60);
    expect(Math.min(...shares)).toBe(LEAST_SHARE);
    expect(shares.at(-1)).toBe(1);
  });

  test('takes all of the time while nobody is there', () => {
    const state = learned(10);
    windows(state, 1000, 5, () => 100);
    const shares: number[] = [];
    for (let ms = 2750; ms <= 10_250; ms += 500) shares.push(shareForWork(state, ms));
    expect([3, 7, 11, 15].map((ask) => shares[ask])).toEqual([0.2, 0.4, 0.8, 1]);
  });

  test('does not yield to a foreground that is quick anyway', () => {
    expect(windows(learned(0.2), 1000, 4, () => 4)).toEqual([1, 1, 1, 1]);
  });

  test('gives back what was taken while no work asked', () => {
    const state = learned(10);
    windows(state, 1000, 6, () => 100);
    for (let i = 0; i < 100; i += 1) foregroundTook(state, 10);
    expect(shareForWork(state, 20_000)).toBe(1);
  });

  test('the share stays in range whatever comes', () => {
    const event = fc.record({
      ms: fc.double({ min: 0, max: 1e9, noNaN: true }),
      count: fc.nat(50),
      laterMs: fc.nat(3000),
      asks: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), (events) => {
        const state = newPace(0);
        let nowMs = 0;
        for (const { ms, count, laterMs, asks } of events) {
          for (let i = 0; i < count; i += 1) foregroundTook(state, ms);
          nowMs += laterMs;
          if (!asks) continue;
          const share = shareForWork(state, nowMs);
          expect(share).toBeGreaterThanOrEqual(LEAST_SHARE);
          expect(share).toBeLessThanOrEqual(1);
        }
      }),
    );
  });
});

describe('compaction', () => {
  test('yields less the closer level 0 comes to a stall, and half-way there not at all', () => {
    const shape = { level0Compact: 4, level0Slow: 16 };
    expect([0, 4, 5, 7, 9, 10, 16, 30].map((tables) => shareOf(0.1, tables, shape))).toEqual([0.1, 0.1, 1 / 6, 0.5, 5 / 6, 1, 1, 1]);
    expect(shareOf(0.7, 5, shape)).toBe(0.7);
  });
});

describe('the latency window', () => {
  test('quantiles are upper bounds within a quarter of the truth', () => {
    const latency = fc.double({ min: 0.0625, max: 1e6, noNaN: true });
    fc.assert(
      fc.property(fc.array(latency, { minLength: 1, maxLength: 200 }), fc.double({ min: 0, max: 1, noNaN: true }), (latencies, q) => {
        const window = new LatencyWindow();
        for (const ms of latencies) window.observe(ms);
        const sorted = [...latencies].sort((a, b) => a - b);
        const exact = sorted[Math.max(1, Math.ceil(q * sorted.length)) - 1] ?? 0;
        expect(window.quantile(q)).toBeGreaterThanOrEqual(exact);
        expect(window.quantile(q)).toBeLessThanOrEqual(exact * 1.25 + 1 / 64);
      }),
    );
  });

  test('halving keeps the quantiles of what is common', () => {
    const window = new LatencyWindow();
    for (let i = 0; i < 1000; i += 1) window.observe(i < 900 ? 1 : 100);
    const before = [0.5, 0.95].map((q) => window.quantile(q));
    window.halve();
    expect(window.count).toBe(500);
    expect([0.5, 0.95].map((q) => window.quantile(q))).toEqual(before);
    window.clear();
    expect(window.quantile(0.5)).toBe(0);
  });
});
