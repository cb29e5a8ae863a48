/** How much the loop writes to the log by itself (wal/write-pace.ts). */

import { describe, expect, it } from '@jest/globals';
import type { Clock } from '../../src/env/clock.ts';
import { WritePace } from '../../src/storage/wal/write-pace.ts';

describe('the pace of synchronous writes', () => {
  function paced(turnMs: number): { pace: WritePace; take: (ms: number) => void; nextTurn: () => void; passes: (ms: number) => void } {
    let now = 0;
    let soon: (() => void)[] = [];
    const clock: Clock = {
      wallMs: () => now,
      monotonicMs: () => now,
      after: () => ({ cancel: () => undefined }),
      soon: (fn) => soon.push(fn),
    };
    const pace = new WritePace(clock, turnMs);
    return {
      pace,
      take: (ms) => {
        pace.charge(() => {
          now += ms;
        });
      },
      nextTurn: () => {
        const due = soon;
        soon = [];
        for (const fn of due) fn();
      },
      passes: (ms) => {
        now += ms;
      },
    };
  }

  it('a turn has its milliseconds, and no large write', () => {
    const { pace, take, nextTurn } = paced(1);
    expect([pace.permits(1000), pace.permits(256 * 1024), pace.permits(256 * 1024 + 1)]).toEqual([true, true, false]);
    take(0.4);
    take(0.4);
    expect(pace.permits(1)).toBe(true);
    take(0.4);
    expect(pace.permits(1)).toBe(false);
    nextTurn();
    expect(pace.permits(1)).toBe(true);
  });

  it('two slow writes in a row make the disk slow: for a second, and until a thread was quick', () => {
    const { pace, take, nextTurn, passes } = paced(1);
    for (const ms of [2, 0.1, 2]) {
      take(ms);
      nextTurn();
    }
    expect(pace.permits(1)).toBe(true);
    take(2);
    nextTurn();
    expect(pace.permits(1)).toBe(false);
    pace.byThread(1);
    expect(pace.permits(1)).toBe(false);
    passes(1000);
    pace.byThread(50);
    expect(pace.permits(1)).toBe(false);
    pace.byThread(1);
    expect(pace.permits(1)).toBe(true);
  });

  it('of no time at all: threads write', () => {
    expect(paced(0).pace.permits(1)).toBe(false);
  });
});
