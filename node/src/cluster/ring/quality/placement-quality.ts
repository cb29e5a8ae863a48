/**
 * The judge of a placement. It shares no code with placement, and works from the definitions instead of the algorithms:
 *
 * - even spread: hand out N replicas one by one, each to a zone with the fewest so far that has a member left; no partition's sum of squared counts
 *   may exceed that. The same within each zone for its racks.
 * - target: the weighted fair share that the zones permit, as defined in load-targets.ts, here by nested bisection in floating point.
 * - lower bound of movement: fewer moves cannot lead to a placement that is spread evenly and in which every member holds its target rounded
 *   down or up (movement-bound.ts).
 * - leader target: Q leaders in proportion to weight, none with more than it has replicas.
 */

import type { JudgedMember, JudgedPlacement } from './expected-spread.ts';
import { groupBy, handOut } from './expected-spread.ts';
import { fairTargets } from './fair-targets.ts';
import { countedBound, flowBound, movementQuestion } from './movement-bound.ts';

export interface PlacementQuality {
  /** Partitions that do not list N distinct members. */
  readonly nodeViolations: number;
  /** Partitions less evenly spread over zones than can be. */
  readonly zoneViolations: number;
  /** Partitions less evenly spread over the racks of some zone than can be. */
  readonly rackViolations: number;
  /** The greatest load / target. */
  readonly maxOverTarget: number;
  /** The same over the members with at least 20 slots for each unit of weight; 1 where there is none. */
  readonly maxOverTargetFrom20: number;
  /** The greatest load - target, in slots. */
  readonly maxExcess: number;
  /** The greatest number of leaders / leader target, and the greatest difference. */
  readonly leaderMaxOverTarget: number;
  readonly leaderMaxExcess: number;
  /** Replicas that are not where they were, and the fewest there could be; 0 without a previous placement. */
  readonly moves: number;
  readonly lowerBound: number;
}

export function judgePlacement(placement: JudgedPlacement, N: number, previous?: JudgedPlacement): PlacementQuality {
  const { members, partitions } = placement;
  const Q = partitions.length;
  const load = members.map(() => 0);
  const leads = members.map(() => 0);
  for (const list of partitions) {
    for (const member of list) load[member] = (load[member] ?? 0) + 1;
    const [leader] = list;
    if (leader !== undefined) leads[leader] = (leads[leader] ?? 0) + 1;
  }
  const targets = fairTargets(members, N, Q);
  const leaderTargets = leaderShares(members, load, Q);
  let from20 = 1;
  for (const [m, target] of targets.entries()) {
    if (target >= 20 * (members[m]?.weight ?? 1)) from20 = Math.max(from20, (load[m] ?? 0) / target);
  }
  return {
    ...violations(placement, N),
    maxOverTarget: highest(load, targets, (value, target) => value / target),
    maxOverTargetFrom20: from20,
    maxExcess: highest(load, targets, (value, target) => value - target),
    leaderMaxOverTarget: highest(leads, leaderTargets, (value, target) => value / target),
    leaderMaxExcess: highest(leads, leaderTargets, (value, target) => value - target),
    moves: previous === undefined ? 0 : movesFrom(previous, placement),
    lowerBound: previous === undefined ? 0 : leastMoves(previous, placement, N, targets),
  };
}

function violations(
  { members, partitions }: JudgedPlacement,
  N: number,
): Pick<PlacementQuality, 'nodeViolations' | 'zoneViolations' | 'rackViolations'> {
  let nodeViolations = 0;
  let zoneViolations = 0;
  let rackViolations = 0;
  const zones = groupBy(members.keys(), (m) => members[m]?.zone ?? '');
  const squares = (counts: Iterable<number>): number => [...counts].reduce((sum, count) => sum + count * count, 0);
  const best = (sizes: readonly number[], total: number): number => squares(handOut(sizes, total));
  const racksOf = new Map([...zones].map(([zone, list]) => [zone, groupBy(list, (m) => members[m]?.rack ?? '')]));
  const bestZones = best(
    [...zones.values()].map((zone) => zone.length),
    N,
  );
  const bestRacks = new Map<string, number>();
  for (const list of partitions) {
    if (list.length !== N || new Set(list).size !== N || list.some((m) => members[m] === undefined)) nodeViolations += 1;
    const byZone = groupBy(list, (m) => members[m]?.zone ?? '');
    if (squares([...byZone.values()].map((group) => group.length)) > bestZones) zoneViolations += 1;
    let uneven = false;
    for (const [zone, group] of byZone) {
      if (group.length < 2) continue;
      const id = `${zone}/${String(group.length)}`;
      let possible = bestRacks.get(id);
      if (possible === undefined) {
        possible = best(
          [...(racksOf.get(zone)?.values() ?? [])].map((rack) => rack.length),
          group.length,
        );
        bestRacks.set(id, possible);
      }
      const racks = groupBy(group, (m) => members[m]?.rack ?? '');
      if (squares([...racks.values()].map((rack) => rack.length)) > possible) uneven = true;
    }
    if (uneven) rackViolations += 1;
  }
  return { nodeViolations, zoneViolations, rackViolations };
}

/** Replicas of `now` that `before` did not have in the same partition. */
function movesFrom(before: JudgedPlacement, now: JudgedPlacement): number {
  let moves = 0;
  for (const [partition, list] of now.partitions.entries()) {
    const names = new Set(before.partitions[partition]?.map((m) => before.members[m]?.name));
    for (const member of list) if (!names.has(now.members[member]?.name)) moves += 1;
  }
  return moves;
}

/** The bound by counting; the sharper and slower one only where the moves exceed that. */
function leastMoves(before: JudgedPlacement, now: JudgedPlacement, N: number, targets: readonly number[]): number {
  const question = movementQuestion(before, now.members, N, targets);
  const counted = countedBound(question);
  return movesFrom(before, now) <= counted ? counted : Math.max(counted, flowBound(question));
}

/** Q shared out in proportion to weight, with nobody above its `cap`. */
function leaderShares(members: readonly JudgedMember[], caps: readonly number[], Q: number): number[] {
  const shares = members.map(() => 0);
  let open = [...members.keys()];
  let left = Q;
  for (;;) {
    const weight = open.reduce((sum, m) => sum + (members[m]?.weight ?? 1), 0);
    const share = (m: number): number => (left * (members[m]?.weight ?? 1)) / weight;
    const capped = open.filter((m) => share(m) > (caps[m] ?? 0));
    if (capped.length === 0) {
      for (const m of open) shares[m] = share(m);
      return shares;
    }
    for (const m of capped) shares[m] = caps[m] ?? 0;
    left -= capped.reduce((sum, m) => sum + (caps[m] ?? 0), 0);
    open = open.filter((m) => !capped.includes(m));
  }
}

function highest(values: readonly number[], targets: readonly number[], measure: (value: number, target: number) => number): number {
  let most = -Infinity;
  for (const [m, value] of values.entries()) {
    const target = targets[m] ?? 0;
    if (target > 0 || value > 0) most = Math.max(most, measure(value, target));
  }
  return most;
}
