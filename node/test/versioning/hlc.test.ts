/** The hybrid logical clock. */

import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Hlc, MAX_LOGICAL, MAX_MS, compareTime, nextTime } from '../../src/cluster/versioning/hlc.ts';

const WALL = 1_700_000_000_000;

describe('the hybrid clock', () => {
  test('never runs backward, whatever the wall clock and the peers do', () => {
    const event = fc.record({
      wallMs: fc.integer({ min: WALL - 5000, max: WALL + 5000 }),
      remote: fc.option(
        fc.record({ ms: fc.integer({ min: WALL - 6000, max: WALL + 6000 }), logical: fc.integer({ min: 0, max: MAX_LOGICAL }) }),
      ),
    });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 100 }), (events) => {
        const hlc = new Hlc();
        for (const { wallMs, remote } of events) {
          const before = hlc.latest;
          if (remote !== null) {
            const observed = hlc.observe(remote, wallMs);
            const drags = compareTime(remote, before) > 0 && remote.ms > before.ms && remote.ms > wallMs + 500;
            expect(observed).toBe(drags ? 'ahead' : 'ok');
            if (observed === 'ahead') expect(hlc.latest).toEqual(before);
            else expect(compareTime(hlc.latest, remote)).toBeGreaterThanOrEqual(0);
          }
          const last = hlc.latest;
          const time = hlc.now(wallMs);
          expect(compareTime(time, last)).toBeGreaterThan(0);
          expect(time.ms).toBeGreaterThanOrEqual(wallMs);
        }
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  test('takes in a time 500 ms ahead and refuses one of 501', () => {
    const hlc = new Hlc();
    hlc.now(WALL);
    expect(hlc.observe({ ms: WALL + 501, logical: 0 }, WALL)).toBe('ahead');
    expect(hlc.latest).toEqual({ ms: WALL, logical: 0 });
    expect(hlc.observe({ ms: WALL + 500, logical: 9 }, WALL)).toBe('ok');
    expect(hlc.now(WALL)).toEqual({ ms: WALL + 500, logical: 10 });
  });

  test('accepts a time that it has passed, also after its wall clock jumped back', () => {
    const hlc = new Hlc();
    hlc.now(WALL);
    expect(hlc.observe({ ms: WALL - 10, logical: 3 }, WALL - 3_600_000)).toBe('ok');
    expect(hlc.now(WALL - 3_600_000)).toEqual({ ms: WALL, logical: 1 });
  });

  test('overflows its logical part into the next millisecond', () => {
    const hlc = new Hlc();
    hlc.observe({ ms: WALL, logical: MAX_LOGICAL - 1 }, WALL);
    expect(hlc.now(WALL)).toEqual({ ms: WALL, logical: MAX_LOGICAL });
    expect(hlc.now(WALL)).toEqual({ ms: WALL + 1, logical: 0 });
    expect(nextTime({ ms: WALL, logical: MAX_LOGICAL })).toEqual({ ms: WALL + 1, logical: 0 });
  });

  test('starts above its durable ceiling, and asks for a new one in time', () => {
    const hlc = new Hlc(WALL + 300);
    expect(compareTime(hlc.now(WALL), { ms: WALL + 300, logical: MAX_LOGICAL })).toBeGreaterThan(0);
    expect(hlc.renewCeiling(WALL, 400, 100)).toBe(WALL + 301 + 400);
    hlc.confirmCeiling(WALL + 701);
    expect(hlc.ceilingMs).toBe(WALL + 701);
    expect(hlc.renewCeiling(WALL + 600, 400, 100)).toBeUndefined();
    expect(hlc.renewCeiling(WALL + 601, 400, 100)).toBe(WALL + 1001);
    hlc.confirmCeiling(WALL);
    expect(hlc.ceilingMs).toBe(WALL + 701);
  });

  test('refuses a wall clock outside 48 bits', () => {
    expect(() => new Hlc().now(MAX_MS + 1)).toThrow(/out.*range/);
    expect(() => new Hlc(MAX_MS).now(0)).toThrow(/out.*range/);
  });
});
