/** The weighted fair share that the zones permit, as defined in load-targets.ts, by nested bisection in floating point. */

import type { JudgedMember } from './expected-spread.ts';
import { groupBy, spreadBounds } from './expected-spread.ts';

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
