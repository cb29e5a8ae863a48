/** The fault budget: no plan goes beyond what the W in force covers, and together the plans leave out nothing. */

import { describe, expect, test } from '@jest/globals';
import { drawPlan, DESTRUCTIVE, FAULTS, type Fault, type Plan } from '../../sim/faults/plan.ts';
import { Dice } from '../../sim/world/dice.ts';

const PLANS: readonly Plan[] = Array.from({ length: 1000 }, (_, at) => drawPlan(at, new Dice(at, 1)));

function has(plan: Plan, ...faults: readonly Fault[]): boolean {
  return faults.some((fault) => plan.faults.has(fault));
}

describe('plans', () => {
  test('are legal', () => {
    for (const { n, r, w, members } of PLANS) {
      expect(n).toBeLessThanOrEqual(members.length);
      expect(Math.min(r, w)).toBeGreaterThanOrEqual(1);
      expect(Math.max(r, w)).toBeLessThanOrEqual(n);
    }
  });

  test('lose fewer disks at once than W, and demand then what W covers', () => {
    for (const plan of PLANS) {
      expect(plan.lossBudget).toBe(Math.min(plan.w, plan.strong?.w ?? plan.w) - 1);
      if (!has(plan, ...DESTRUCTIVE)) continue;
      expect(plan.w).toBeGreaterThan(1);
      expect(plan.coveredW).toBe(plan.w);
      if (plan.strong !== undefined) expect(plan.strong.w).toBeGreaterThan(1);
    }
  });

  test('have strong buckets in a share of seeds, never without fsync, with every pair of R and W that overlaps', () => {
    const strong = PLANS.filter((plan) => plan.strong !== undefined);
    expect(strong.length).toBeGreaterThan(300);
    expect(strong.every((plan) => plan.fsync.kind === 'always')).toBe(true);
    const pairs = new Set(strong.map(({ n, strong: bucket }) => `${String(n)} ${String(bucket?.r)} ${String(bucket?.w)}`));
    for (const { n, strong: bucket } of strong) expect((bucket?.r ?? 0) + (bucket?.w ?? 0)).toBeGreaterThan(n);
    expect(pairs).toEqual(new Set(['1 1 1', '2 1 2', '2 2 1', '2 2 2', '3 1 3', '3 2 2', '3 3 1', '3 3 2', '3 3 3']));
  });

  test('with fsync each interval, lose power within the budget only', () => {
    const interval = PLANS.filter((plan) => plan.fsync.kind === 'interval');
    expect(interval.length).toBeGreaterThan(50);
    for (const plan of interval) {
      expect(has(plan, 'zone-loss', 'cut-midway', 'failed-sync')).toBe(false);
      if (!has(plan, 'power-loss')) continue;
      expect(plan.coveredW).toBe(plan.w);
      expect(plan.w).toBeGreaterThan(1);
      expect(plan.overlapHolds).toBe(false);
    }
  });

  test('sometimes bound admission so that clients overload the nodes', () => {
    const bounded = PLANS.filter((plan) => plan.admission !== undefined);
    expect(bounded.length).toBeGreaterThan(150);
    expect(bounded.length).toBeLessThan(250);
  });

  test('sometimes truncate clocks above few entries, never before they are older than clocks differ', () => {
    const truncating = PLANS.flatMap(({ truncation, skewMs }) => (truncation === undefined ? [] : [{ ...truncation, skewMs }]));
    expect(truncating.length).toBeGreaterThan(250);
    expect(truncating.length).toBeLessThan(500);
    for (const { entries, ageMs, skewMs } of truncating) {
      expect([2, 3]).toContain(entries);
      expect(ageMs).toBeGreaterThan(skewMs);
    }
  });

  test('cut primaries off where that can show something, and where no fault needs them to be in touch', () => {
    const cutting = PLANS.filter((plan) => plan.cuts !== undefined);
    for (const plan of cutting) {
      expect(plan.faults.size).toBeGreaterThan(0);
      expect(has(plan, 'restored-disk')).toBe(false);
      if (plan.cuts === 'successions') expect(plan.truncation?.entries).toBeLessThan(plan.n);
      else expect(plan.members.length - plan.n).toBeGreaterThanOrEqual(plan.coveredW);
    }
    expect(new Set(cutting.map(({ cuts }) => cuts))).toEqual(new Set(['successions', 'absences']));
    expect(cutting.length).toBeGreaterThan(80);
  });

  test('read single replicas that lost their copies where R + W > N promises something then', () => {
    const reading = PLANS.filter((plan) => plan.singleReads);
    for (const fault of ['bit-rot', 'wiped-disk'] as const) expect(reading.filter((plan) => has(plan, fault)).length).toBeGreaterThan(50);
    for (const plan of reading) {
      expect([has(plan, 'bit-rot') || has(plan, 'wiped-disk'), plan.overlapHolds, plan.n > 1]).toEqual([true, true, true]);
    }
  });

  test('reach every fault, every legal pair of R and W, and runs without faults', () => {
    for (const fault of FAULTS) expect(PLANS.filter((plan) => plan.faults.has(fault)).length).toBeGreaterThan(50);
    const pairs = new Set(PLANS.map(({ n, r, w }) => `${String(n)} ${String(r)} ${String(w)}`));
    expect(pairs.size).toBe(1 + 4 + 9);
    expect(PLANS.filter((plan) => plan.faults.size === 0).length).toBeGreaterThan(50);
    expect(new Set(PLANS.map((plan) => plan.members.length))).toEqual(new Set([3, 4, 5]));
    expect(new Set(PLANS.map((plan) => new Set(plan.members.map(({ zone }) => zone)).size))).toEqual(new Set([1, 2, 3]));
  });
});
