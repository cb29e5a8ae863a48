/**
 * What the zones permit: how many partition replicas (slots) each member should hold.
 *
 * The *target* T_m is the weighted fair share under the constraints: the T_m are real numbers that add up to Q x N, with 0 <= T_m <= Q
 * (a member holds a partition once), and for each zone and rack Q x low <= sum of its T_m <= Q x high (see failure-domains.ts). Among all such
 * they minimise the sum of T_m^2 / w_m, which is also the lexicographic optimum: the highest T_m / w_m is as low as it can be, then the
 * next, and so on (Fujishige, "Lexicographically optimal base of a polymatroid with respect to a weight vector", 1980). It is
 * water-filling: all levels T_m / w_m rise together, a member stops at Q, a group stops at its upper bound, a group below its lower bound is
 * lifted to it. Where zones are unequal this departs from proportion to weight: with zones of 4, 3 and 3 equal nodes and N = 3, each zone
 * holds Q replicas, so the targets are Q/4 and Q/3.
 *
 * The *quota* X_m is T_m rounded down or up such that the groups' bounds still hold; the rounding that keeps more of what members already
 * hold is preferred. Quotas can always be met exactly, so max(X_m / T_m) <= 1 + 1 / T_m: 1.05 from 20 slots on.
 *
 * Decisions are made on integers and on sums, products and quotients of doubles in a fixed order: equal on every machine.
 */

import type { FailureDomains, PlacementMember } from './failure-domains.ts';

/** A node of the tree cluster > zone > rack > member, with bounds on the slots below it. */
interface Share {
  readonly low: number;
  readonly high: number;
  readonly weight: number;
  /** The member's index; -1 in groups. */
  readonly member: number;
  readonly children: readonly Share[];
}

/** T_m as exact fractions: `numerator[m] / denominator[m]`. */
export interface LoadTargets {
  readonly numerator: Float64Array;
  readonly denominator: Float64Array;
}

export function loadTargets(domains: FailureDomains, members: readonly PlacementMember[], Q: number): LoadTargets {
  const zones = domains.zones.map((zone) =>
    group(
      Q * zone.low,
      Q * zone.high,
      zone.racks.map((number) => {
        const rack = domains.racks[number];
        const leaves = rack?.members.map((m) => ({ low: 0, high: Q, weight: members[m]?.weight ?? 1, member: m, children: [] }));
        return group(Q * (rack?.low ?? 0), Q * (rack?.high ?? 0), leaves ?? []);
      }),
    ),
  );
  const targets = { numerator: new Float64Array(members.length), denominator: new Float64Array(members.length).fill(1) };
  divide(zones, Q * domains.N, Q, targets);
  return targets;
}

function group(low: number, high: number, children: readonly Share[]): Share {
  return { low, high, weight: 0, member: -1, children };
}

/** What a share takes when the water stands at `level`. */
function intake(share: Share, level: number): number {
  return Math.min(share.high, Math.max(share.low, unbounded(share, level)));
}

function unbounded(share: Share, level: number): number {
  if (share.member >= 0) return share.weight * level;
  let sum = 0;
  for (const child of share.children) sum += intake(child, level);
  return sum;
}

/** Divides `total` among `shares`: finds the level, then what is bounded there, then the exact fractions of the rest. */
function divide(shares: readonly Share[], total: number, Q: number, targets: LoadTargets): void {
  let below = 0;
  let above = Q;
  for (;;) {
    const level = (below + above) / 2;
    if (level <= below || level >= above) break;
    let sum = 0;
    for (const share of shares) sum += intake(share, level);
    if (sum < total) below = level;
    else above = level;
  }
  // A share within `near` of its bound counts as standing at it; if it is exactly there, both readings give the same targets.
  const near = Q * 1e-12;
  const free: Share[] = [];
  const bounded: { share: Share; total: number }[] = [];
  const sort = (share: Share): void => {
    const sum = unbounded(share, above);
    if (sum >= share.high - near) bounded.push({ share, total: share.high });
    else if (share.low > 0 && sum <= share.low + near) bounded.push({ share, total: share.low });
    else if (share.member >= 0) free.push(share);
    else for (const child of share.children) sort(child);
  };
  for (const share of shares) sort(share);
  let rest = total;
  for (const { share, total: fixed } of bounded) {
    rest -= fixed;
    if (share.member >= 0) targets.numerator[share.member] = fixed;
    else divide(share.children, fixed, Q, targets);
  }
  const weight = free.reduce((sum, share) => sum + share.weight, 0);
  for (const share of free) {
    targets.numerator[share.member] = share.weight * rest;
    targets.denominator[share.member] = weight;
  }
}

/**
 * The slots each member shall hold: targets rounded so that the groups' bounds hold and they add up to Q x N.
 *
 * @param held what each member holds now; a member that holds more than its target rounded down keeps one more before others get one
 */
export function slotQuotas(domains: FailureDomains, targets: LoadTargets, Q: number, held: Int32Array): Int32Array {
  const count = domains.zoneOf.length;
  const quota = new Int32Array(count);
  const rackSum = new Int32Array(domains.racks.length);
  const zoneSum = new Int32Array(domains.zones.length);
  const rest = new Float64Array(count);
  const add = (member: number, slots: number): void => {
    quota[member] = at(quota, member) + slots;
    const rack = at(domains.rackOf, member);
    rackSum[rack] = at(rackSum, rack) + slots;
    const zone = at(domains.zoneOf, member);
    zoneSum[zone] = at(zoneSum, zone) + slots;
  };
  const candidates: number[] = [];
  for (let member = 0; member < count; member += 1) {
    const denominator = at(targets.denominator, member);
    const remainder = at(targets.numerator, member) % denominator;
    add(member, (at(targets.numerator, member) - remainder) / denominator);
    rest[member] = remainder / denominator;
    if (remainder > 0) candidates.push(member);
  }
  const moves = (member: number): number => (at(held, member) > at(quota, member) ? 0 : 1);
  const cost = Int32Array.from({ length: count }, (_, member) => moves(member));
  candidates.sort((a, b) => at(cost, a) - at(cost, b) || at(rest, b) - at(rest, a) || a - b);

  // Greedy from the innermost lower bounds outward, then up to the total: exact on nested bounds.
  const up = new Uint8Array(count);
  const fits = (member: number): boolean => {
    const rack = at(domains.rackOf, member);
    const zone = at(domains.zoneOf, member);
    const rackHigh = Q * (domains.racks[rack]?.high ?? 0);
    return up[member] === 0 && at(rackSum, rack) < rackHigh && at(zoneSum, zone) < Q * (domains.zones[zone]?.high ?? 0);
  };
  const raise = (inGroup: (member: number) => boolean, missing: () => number): void => {
    for (const member of candidates) {
      if (missing() <= 0) return;
      if (!inGroup(member) || !fits(member)) continue;
      up[member] = 1;
      add(member, 1);
    }
  };
  for (const [rack, { low }] of domains.racks.entries()) {
    raise(
      (member) => domains.rackOf[member] === rack,
      () => Q * low - at(rackSum, rack),
    );
  }
  for (const [zone, { low }] of domains.zones.entries()) {
    raise(
      (member) => domains.zoneOf[member] === zone,
      () => Q * low - at(zoneSum, zone),
    );
  }
  raise(
    () => true,
    () => Q * domains.N - zoneSum.reduce((sum, slots) => sum + slots, 0),
  );
  return quota;
}

function at(array: Int32Array | Float64Array, index: number): number {
  return array[index] ?? 0;
}
