/**
 * The judge of a placement. It shares no code with placement, and works from the definitions instead of the algorithms:
 *
 * - even spread: hand out N replicas one by one, each to a zone with the fewest so far that has a member left; no partition's sum of squared counts
 *   may exceed that. The same within each zone for its racks.
 * - target: the weighted fair share that the zones permit, as defined in load-targets.ts, here by nested bisection in floating point.
 * - lower bound of movement: fewer moves cannot lead to a placement that is spread evenly and in which every member holds its target rounded
 *   down or up (`leastMoves`).
 * - leader target: Q leaders in proportion to weight, none with more than it has replicas.
 */

export interface JudgedMember {
  readonly name: string;
  readonly zone: string;
  readonly rack: string;
  readonly weight: number;
}

export interface JudgedPlacement {
  readonly members: readonly JudgedMember[];
  readonly partitions: readonly (readonly number[])[];
}

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
    lowerBound: previous === undefined ? 0 : leastMoves(previous, members, N, targets),
  };
}

/** The targets of all members, in slots; see load-targets.ts for the definition. */
export function fairTargets(members: readonly JudgedMember[], N: number, Q: number): number[] {
  const targets = members.map(() => 0);
  const zones = [...groupBy(members.keys(), (m) => members[m]?.zone ?? '').values()];
  const zoneBounds = spreadBounds(
    zones.map((zone) => zone.length),
    N,
  );
  const tree = zones.map((zone, z): Basin => {
    const [least, most] = zoneBounds[z] ?? [0, 0];
    const racks = [...groupBy(zone, (m) => members[m]?.rack ?? '').values()];
    const sizes = racks.map((rack) => rack.length);
    const ifLeast = spreadBounds(sizes, least);
    const ifMost = spreadBounds(sizes, most);
    const inner = racks.map((rack, r): Basin => {
      const leaves = rack.map((m): Basin => ({ least: 0, most: Q, weight: members[m]?.weight ?? 1, member: m, inner: [] }));
      return { least: Q * (ifLeast[r]?.[0] ?? 0), most: Q * (ifMost[r]?.[1] ?? 0), weight: 0, member: -1, inner: leaves };
    });
    return { least: Q * least, most: Q * most, weight: 0, member: -1, inner };
  });
  pour(tree, Q * N, targets);
  return targets;
}

interface Basin {
  readonly least: number;
  readonly most: number;
  readonly weight: number;
  readonly member: number;
  readonly inner: readonly Basin[];
}

function volume(basin: Basin, level: number): number {
  const inner = basin.member < 0 ? basin.inner.reduce((sum, child) => sum + volume(child, level), 0) : basin.weight * level;
  return Math.min(basin.most, Math.max(basin.least, inner));
}

function pour(basins: readonly Basin[], total: number, targets: number[]): void {
  let low = 0;
  let high = total + 1;
  for (let round = 0; round < 100; round += 1) {
    const level = (low + high) / 2;
    if (basins.reduce((sum, basin) => sum + volume(basin, level), 0) < total) low = level;
    else high = level;
  }
  for (const basin of basins) {
    if (basin.member >= 0) targets[basin.member] = volume(basin, high);
    else pour(basin.inner, volume(basin, high), targets);
  }
}

/** For each group the fewest and the most that it can get when `total` is handed out one by one, always to a group with the fewest. */
function spreadBounds(sizes: readonly number[], total: number): [number, number][] {
  return sizes.map((_, favoured) => [handOut(sizes, total, favoured, false)[favoured] ?? 0, handOut(sizes, total, favoured, true)[favoured] ?? 0]);
}

function handOut(sizes: readonly number[], total: number, favoured = -1, first = false): number[] {
  const counts = sizes.map(() => 0);
  for (let given = 0; given < total; given += 1) {
    let best = -1;
    for (const [group, size] of sizes.entries()) {
      const count = counts[group] ?? 0;
      if (count >= size) continue;
      const least = best < 0 ? Infinity : (counts[best] ?? 0);
      const wins = group === favoured ? first && count <= least : best === favoured && best >= 0 && !first && count <= least;
      if (count < least || wins) best = group;
    }
    if (best < 0) break;
    counts[best] = (counts[best] ?? 0) + 1;
  }
  return counts;
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

/**
 * The lower bound, zone by zone. A zone must take in what its members lack, what its partitions lack, and whatever it drops beyond what its
 * total may fall; it must drop what its members have beyond their targets, what its partitions have beyond their spread, and whatever it must take
 * in beyond what its total may rise. All takings are moves, and so are all drops together with the replicas of members that are gone.
 */
function leastMoves(before: JudgedPlacement, members: readonly JudgedMember[], N: number, targets: readonly number[]): number {
  const now = new Map(members.map((member, m) => [member.name, m]));
  const zones = [...groupBy(members.keys(), (m) => members[m]?.zone ?? '')];
  const bounds = spreadBounds(
    zones.map(([, list]) => list.length),
    N,
  );
  const survivors = before.partitions.map((list) =>
    list.map((old) => now.get(before.members[old]?.name ?? '')).filter((member) => member !== undefined),
  );
  const held = members.map(() => 0);
  for (const list of survivors) for (const member of list) held[member] = (held[member] ?? 0) + 1;
  let taken = 0;
  let dropped = before.partitions.length * N - held.reduce((sum, count) => sum + count, 0);
  for (const [z, [zone, list]] of zones.entries()) {
    const [least, most] = bounds[z] ?? [0, 0];
    const sum = (of: (m: number) => number): number => list.reduce((total, m) => total + of(m), 0);
    const floor = (m: number): number => Math.floor((targets[m] ?? 0) + 1e-6);
    const ceiling = (m: number): number => Math.ceil((targets[m] ?? 0) - 1e-6);
    const has = sum((m) => held[m] ?? 0);
    let takesForSpread = 0;
    let dropsForSpread = 0;
    for (const replicas of survivors) {
      const count = replicas.reduce((total, m) => total + (members[m]?.zone === zone ? 1 : 0), 0);
      takesForSpread += Math.max(0, least - count);
      dropsForSpread += Math.max(0, count - most);
    }
    const takes = Math.max(
      takesForSpread,
      sum((m) => Math.max(0, floor(m) - (held[m] ?? 0))),
    );
    const drops = Math.max(
      dropsForSpread,
      sum((m) => Math.max(0, (held[m] ?? 0) - ceiling(m))),
    );
    taken += Math.max(takes, sum(floor) - has + drops);
    dropped += Math.max(drops, has + takes - sum(ceiling));
  }
  return Math.max(taken, dropped);
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

function groupBy(items: Iterable<number>, key: (item: number) => string): Map<string, number[]> {
  const groups = new Map<string, number[]>();
  for (const item of items) {
    const of = key(item);
    const group = groups.get(of);
    if (group === undefined) groups.set(of, [item]);
    else group.push(item);
  }
  return groups;
}
