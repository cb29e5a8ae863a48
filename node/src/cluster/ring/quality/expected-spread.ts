/**
 * How replicas should be spread over groups of members, by its definition: handed out one by one, always to a group with the fewest so far that
 * has a member left.
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

/** For each group the fewest and the most that it can get when `total` is handed out one by one, always to a group with the fewest. */
export function spreadBounds(sizes: readonly number[], total: number): [number, number][] {
  return sizes.map((_, favoured) => [
    handOut(sizes, total, favoured, false)[favoured] ?? 0,
    handOut(sizes, total, favoured, true)[favoured] ?? 0,
  ]);
}

export function handOut(sizes: readonly number[], total: number, favoured = -1, first = false): number[] {
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

/** The items by their key, groups in order of first appearance. */
export function groupBy(items: Iterable<number>, key: (item: number) => string): Map<string, number[]> {
  const groups = new Map<string, number[]>();
  for (const item of items) {
    const of = key(item);
    const group = groups.get(of);
    if (group === undefined) groups.set(of, [item]);
    else group.push(item);
  }
  return groups;
}
