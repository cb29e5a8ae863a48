/** Each checker on hand-made histories: the good ones pass, the bad ones are noticed. */

import { describe, expect, test } from '@jest/globals';
import { checkConvergence } from '../../sim/checkers/convergence.ts';
import { checkBounds, checkSiblingCount, type Load } from '../../sim/checkers/bounds.ts';
import { checkClockBound } from '../../sim/checkers/clock-bound.ts';
import { checkAnswers } from '../../sim/checkers/disk-answers.ts';
import { checkNoReturn } from '../../sim/checkers/no-return.ts';
import { checkRefusals } from '../../sim/checkers/refusals.ts';
import { checkScan } from '../../sim/checkers/scan.ts';
import { checkSiblings } from '../../sim/checkers/siblings.ts';
import { checkOverlap, checkSurvival, type Violation } from '../../sim/checkers/survival.ts';
import { checkTwoObservers } from '../../sim/checkers/two-observers.ts';
import { makeValue, recognise } from '../../sim/clients/value.ts';
import { history, read, wrote } from './histories.ts';

const LATE = 1_000_000;

function noticed(violations: readonly Violation[]): string[] {
  return violations.map((violation) => violation.checker);
}

describe('survival', () => {
  test('the value itself, or what replaced it, is enough', () => {
    const one = history();
    wrote(one, { from: 0, to: 10 });
    expect(checkSurvival(one, read([0], 100), LATE)).toEqual([]);
    wrote(one, { from: 20, to: 30 });
    expect(checkSurvival(one, read([1], 100), LATE)).toEqual([]);
    wrote(one, { covers: [1], from: 40, to: 50 });
    expect(checkSurvival(one, read([2], 100), LATE)).toEqual([]);
  });

  test('a lost value is noticed', () => {
    const one = history();
    wrote(one, { from: 0, to: 10 });
    expect(noticed(checkSurvival(one, read([], 100), LATE))).toEqual(['survival']);
  });

  test('an older blind write does not explain the loss of a newer one', () => {
    const one = history();
    wrote(one, { from: 0, to: 10 });
    wrote(one, { from: 20, to: 30 });
    expect(noticed(checkSurvival(one, read([0], 100), LATE))).toEqual(['survival']);
  });

  test('but it does within the difference of the clocks, for blind writes only', () => {
    const one = history({ skewUs: 15_000 });
    wrote(one, { from: 0, to: 10 });
    wrote(one, { from: 20, to: 30 });
    expect(checkSurvival(one, read([0], 100), LATE)).toEqual([]);
    const other = history({ skewUs: 15_000 });
    wrote(other, { from: 0, to: 10 });
    wrote(other, { covers: [], from: 20, to: 30 });
    expect(noticed(checkSurvival(other, read([0], 100), LATE))).toEqual(['survival']);
  });

  test('a context that did not cover the value does not explain its loss', () => {
    const one = history();
    wrote(one, { covers: [], from: 0, to: 10 });
    wrote(one, { covers: [], from: 0, to: 12 });
    expect(noticed(checkSurvival(one, read([1], 100), LATE))).toEqual(['survival']);
    expect(checkSurvival(one, read([0, 1], 100), LATE)).toEqual([]);
  });

  test('a write that left no trace explains nothing, one that was replaced in turn does', () => {
    const one = history();
    wrote(one, { covers: [], from: 0, to: 10 });
    wrote(one, { covers: [0], from: 20 });
    expect(noticed(checkSurvival(one, read([], 100), LATE))).toEqual(['survival']);
    wrote(one, { kind: 'delete', covers: [1], from: 40, to: 50 });
    expect(checkSurvival(one, read([], 100), LATE)).toEqual([]);
  });

  test('a write that was refused, or whose outcome is unknown, is not demanded', () => {
    const one = history();
    wrote(one, { from: 0, outcome: 'none' });
    wrote(one, { from: 0 });
    expect(checkSurvival(one, read([], 100), LATE)).toEqual([]);
  });

  test('a refused write explains nothing', () => {
    const one = history();
    wrote(one, { from: 0, to: 10 });
    wrote(one, { kind: 'delete', from: 20, outcome: 'none' });
    expect(noticed(checkSurvival(one, read([], 100), LATE))).toEqual(['survival']);
  });

  test('expiry explains absence only once it has come', () => {
    const one = history();
    wrote(one, { from: 0, to: 10, expires: 500 });
    expect(noticed(checkSurvival(one, read([], 100), 400))).toEqual(['survival']);
    expect(checkSurvival(one, read([], 100), 500)).toEqual([]);
  });

  test('EXPIRE and a kept expiry may end a value too', () => {
    const one = history();
    wrote(one, { from: 0, to: 10 });
    one.beginExpiry('k', 300, 20_000);
    expect(checkSurvival(one, read([], 100), 400)).toEqual([]);
  });

  test('only writes of the W that the plan covers are demanded', () => {
    const one = history({ coveredW: 2 });
    wrote(one, { w: 1, from: 0, to: 10 });
    expect(checkSurvival(one, read([], 100), LATE)).toEqual([]);
  });
});

describe('quorum-overlap', () => {
  test('R + W > N must see what was acknowledged before, R + W = N need not', () => {
    const one = history();
    wrote(one, { w: 2, from: 0, to: 10 });
    expect(noticed(checkOverlap(one, read([], 20), LATE))).toEqual(['quorum-overlap']);
    expect(checkOverlap(one, read([], 20, { r: 1 }), LATE)).toEqual([]);
    expect(checkOverlap(one, read([], 5), LATE)).toEqual([]);
    expect(checkOverlap(one, read([0], 20), LATE)).toEqual([]);
    expect(noticed(checkOverlap(one, read([], 20, { r: 3 }), LATE))).toEqual(['survival']);
  });

  test('what one read showed the next one shows, where no process dies', () => {
    for (const readsStick of [true, false]) {
      const one = history({ readsStick });
      wrote(one, { w: 3, from: 0 });
      one.show(read([0], 10));
      expect(noticed(checkOverlap(one, read([], 20), LATE))).toEqual(readsStick ? ['quorum-overlap'] : []);
      expect(checkOverlap(one, read([], 20, { r: 1 }), LATE)).toEqual([]);
      expect(checkOverlap(one, read([], 5), LATE)).toEqual([]);
    }
  });

  test('nor after a process has died against the plan', () => {
    const one = history({ skewUs: 1000 });
    wrote(one, { w: 3, from: 0 });
    one.show(read([0], 10));
    one.died(5000);
    one.died(5000);
    expect(checkOverlap(one, read([], 20), LATE)).toEqual([]);
    expect(one.terms.skewUs).toBe(6000);
  });

  test('a write that began after the answer explains nothing', () => {
    const one = history();
    wrote(one, { w: 2, from: 0, to: 10 });
    wrote(one, { kind: 'delete', from: 30, to: 40 });
    expect(noticed(checkOverlap(one, read([], 20), LATE))).toEqual(['quorum-overlap']);
  });
});

describe('siblings', () => {
  test('concurrent writes with contexts may be siblings', () => {
    const one = history();
    wrote(one, { covers: [], from: 0, to: 10 });
    wrote(one, { covers: [], from: 0, to: 10 });
    expect(checkSiblings(one, read([0, 1], 100))).toEqual([]);
  });

  test('two blind ones may not', () => {
    const one = history();
    wrote(one, { from: 0, to: 10 });
    wrote(one, { from: 0, to: 10 });
    expect(noticed(checkSiblings(one, read([0, 1], 100)))).toEqual(['siblings']);
  });

  test('nor one write twice', () => {
    const one = history();
    wrote(one, { covers: [], from: 0, to: 10 });
    expect(noticed(checkSiblings(one, read([0, 0], 100)))).toEqual(['siblings']);
  });

  test('nor what a context covers, directly or through another', () => {
    const one = history();
    wrote(one, { from: 0, to: 10 });
    wrote(one, { covers: [0], from: 20, to: 30 });
    wrote(one, { covers: [1], from: 40, to: 50 });
    expect(noticed(checkSiblings(one, read([1, 0], 100)))).toEqual(['siblings']);
    expect(noticed(checkSiblings(one, read([2, 0], 100)))).toEqual(['siblings']);
  });

  test('a write that may have happened twice may be beside what covered it once', () => {
    const one = history();
    wrote(one, { from: 0 }).mayRepeat = true;
    wrote(one, { covers: [0], from: 20, to: 30 });
    expect(checkSiblings(one, read([1, 0], 100))).toEqual([]);
    expect(checkNoReturn(one, read([1, 0], 100), true)).toEqual([]);
  });

  test('a retried operation counts as covered once it was acknowledged', () => {
    for (const [acknowledged, expected] of [
      [15, ['siblings']],
      [25, []],
    ] as const) {
      const one = history();
      wrote(one, { covers: [], from: 0, to: acknowledged }).retried = true;
      wrote(one, { covers: [0], from: 20, to: 30 });
      expect(noticed(checkSiblings(one, read([1, 0], 100)))).toEqual(expected);
    }
  });

  test('nor a later blind one, when nothing failed', () => {
    const told = [
      { covers: [], from: 0, to: 10 },
      { from: 20, to: 30 },
    ];
    const faulty = history();
    const faultless = history({ faultless: true });
    for (const write of told) {
      wrote(faulty, write);
      wrote(faultless, write);
    }
    expect(checkSiblings(faulty, read([1, 0], 100))).toEqual([]);
    expect(noticed(checkSiblings(faultless, read([1, 0], 100)))).toEqual(['siblings']);
  });
});

describe('no-return', () => {
  test('what a context covered does not come back', () => {
    const one = history();
    wrote(one, { from: 0, to: 10 });
    wrote(one, { covers: [0], from: 20, to: 30 });
    expect(noticed(checkNoReturn(one, read([0], 100), true))).toEqual(['no-return']);
    expect(checkNoReturn(one, read([1], 100), true)).toEqual([]);
    expect(checkNoReturn(one, read([0], 25), false)).toEqual([]);
    expect(checkNoReturn(one, read([0], 100, { r: 1 }), false)).toEqual([]);
  });

  test('a deleted value does not come back, unless it was written again', () => {
    const one = history();
    wrote(one, { from: 0, to: 10 });
    wrote(one, { kind: 'delete', from: 20, to: 30 });
    expect(noticed(checkNoReturn(one, read([0], 100), true))).toEqual(['no-return']);
    wrote(one, { from: 40, to: 50 });
    expect(checkNoReturn(one, read([2], 100), true)).toEqual([]);
  });

  test('a blind delete does not certainly reach a value written with a context', () => {
    const one = history();
    wrote(one, { covers: [], from: 0, to: 10 });
    wrote(one, { kind: 'delete', from: 20, to: 30 });
    expect(checkNoReturn(one, read([0], 100), true)).toEqual([]);
  });

  test('an expired value is not shown, nor an expiry that nobody gave', () => {
    const one = history();
    wrote(one, { from: 0, to: 10, expires: 50 });
    expect(checkNoReturn(one, read([0], 40, { expireAtMs: 50 }), false)).toEqual([]);
    expect(noticed(checkNoReturn(one, read([0], 60, { expireAtMs: 50 }), false))).toEqual(['no-return']);
    expect(noticed(checkNoReturn(one, read([0], 40, { expireAtMs: 70 }), false))).toEqual(['no-return']);
  });
});

describe('disk-answers', () => {
  test('a value is recognised only when every byte of it is right', () => {
    const value = makeValue('k', 7, 500);
    expect(recognise('k', value)).toBe(7);
    expect(recognise('other', value)).toBeUndefined();
    for (const at of [0, 3, 8, 9, 250, 499]) {
      const bad = Uint8Array.from(value);
      bad[at] = (bad[at] ?? 0) ^ 4;
      expect(recognise('k', bad)).toBeUndefined();
    }
    expect(recognise('k', value.subarray(0, 499))).toBeUndefined();
  });

  test('bytes that nobody wrote are noticed', () => {
    const one = history();
    wrote(one, { from: 0, to: 10 });
    wrote(one, { from: 0 });
    expect(checkAnswers(one, read([0, 1], 100))).toEqual([]);
    expect(noticed(checkAnswers(one, read([undefined], 100)))).toEqual(['disk-answers']);
    expect(noticed(checkAnswers(one, read([9], 100)))).toEqual(['disk-answers']);
  });
});

describe('refusals', () => {
  test('what was refused is not shown; what may have happened is', () => {
    const one = history();
    wrote(one, { from: 0, to: 10 });
    wrote(one, { from: 0, outcome: 'none' });
    wrote(one, { from: 0 });
    expect(checkRefusals(one, read([0, 2], 100))).toEqual([]);
    expect(noticed(checkRefusals(one, read([0, 1], 100)))).toEqual(['refusals']);
  });
});

describe('convergence', () => {
  const versions = [{ number: 1, expireAtMs: 0, shows: '' }];
  test('equal digests and values are equal, anything else is not', () => {
    const same = { digest: 'aa', versions };
    expect(
      checkConvergence('k', [
        { node: 'a', ...same },
        { node: 'b', ...same },
      ]),
    ).toEqual([]);
    expect(
      noticed(
        checkConvergence('k', [
          { node: 'a', ...same },
          { node: 'b', ...same, digest: 'ab' },
        ]),
      ),
    ).toEqual(['convergence']);
    const other = [{ number: 1, expireAtMs: 5, shows: '' }];
    expect(
      noticed(
        checkConvergence('k', [
          { node: 'a', ...same },
          { node: 'b', digest: 'aa', versions: other },
        ]),
      ),
    ).toEqual(['convergence']);
    expect(
      noticed(
        checkConvergence('k', [
          { node: 'a', ...same },
          { node: 'b', digest: undefined, versions: [] },
        ]),
      ),
    ).toEqual(['convergence']);
  });
});

describe('scan', () => {
  test('leaves out nothing that lasted, and makes nothing up', () => {
    expect(checkScan({ node: 'a', keys: ['x', 'y', 'x'] }, ['x'], ['x', 'y', 'z'])).toEqual([]);
    expect(noticed(checkScan({ node: 'a', keys: ['y'] }, ['x'], ['x', 'y']))).toEqual(['scan']);
    expect(noticed(checkScan({ node: 'a', keys: ['x', 'w'] }, ['x'], ['x', 'y']))).toEqual(['scan']);
  });
});

describe('bounds', () => {
  const kept = (held: number): Load['stats']['hints'] => ({ hints: 1, bytes: held, limitBytes: 1e9, debt: 0, full: false });
  const load = { node: 'a', stats: { operationsInFlight: 3, hints: kept(100) }, pending: 40, buffered: 1000, hintBytes: 100 };
  test('much is fine under load, nothing may be left when idle', () => {
    expect(checkBounds(load, false)).toEqual([]);
    expect(noticed(checkBounds(load, true))).toEqual(['bounds', 'bounds']);
    expect(checkBounds({ ...load, stats: { ...load.stats, operationsInFlight: 0 }, buffered: 0 }, true)).toEqual([]);
    expect(noticed(checkBounds({ ...load, pending: 1e6 }, false))).toEqual(['bounds']);
    expect(noticed(checkBounds({ ...load, buffered: 1e9 }, false))).toEqual(['bounds']);
    expect(noticed(checkBounds({ ...load, stats: { ...load.stats, hints: kept(101) } }, false))).toEqual(['bounds']);
    expect(checkSiblingCount('k', 'a', 100)).toEqual([]);
    expect(noticed(checkSiblingCount('k', 'a', 101))).toEqual(['bounds']);
  });
});

describe('two-observers', () => {
  const silent = { ms: 2700, attempts: 6 };
  const claim = { by: 'a', member: 'm', observers: ['a', 'b'] };

  test('two that found the member silent are enough', () => {
    expect(checkTwoObservers(claim, () => silent)).toEqual([]);
  });

  test('one, the same one twice, or the member itself is noticed', () => {
    for (const observers of [['a'], ['a', 'a'], ['a', 'm'], []]) {
      expect(noticed(checkTwoObservers({ ...claim, observers }, () => silent))).toEqual(['two-observers']);
    }
  });

  test('one that has not probed, or not for long, is noticed', () => {
    for (const short of [
      { ms: 0, attempts: 0 },
      { ms: 2400, attempts: 6 },
      { ms: 9000, attempts: 0 },
    ]) {
      const violations = checkTwoObservers(claim, (observer) => (observer === 'b' ? short : silent));
      expect(noticed(violations)).toEqual(['two-observers']);
      expect(violations[0]?.message).toContain('b found it silent');
    }
  });
});

describe('clock-bound', () => {
  test('what is more than 500 ms ahead of the clock is noticed', () => {
    const held = { node: 'a', key: 'k', latestWallMs: 1000 };
    expect(checkClockBound({ ...held, ms: 1500 })).toEqual([]);
    expect(checkClockBound({ ...held, ms: 10 })).toEqual([]);
    expect(noticed(checkClockBound({ ...held, ms: 1501 }))).toEqual(['clock-bound']);
  });
});
