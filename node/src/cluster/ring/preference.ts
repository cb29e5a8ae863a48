/**
 * Who serves a partition: its primaries in order, then the fallbacks that stand in for the unhealthy ones.
 *
 * Fallbacks are found by walking clockwise from the partition: the next partitions' replica lists, in order, give the next distinct nodes.
 * Zone-aware: a stand-in comes from the zone that the healthy primaries and the stand-ins chosen so far use least, so that losing a zone
 * costs no more than it would have cost with all primaries well; among those, the first one clockwise.
 */

import type { PartitionId } from '../../base/ids.ts';
import type { Topology } from './topology.ts';

/** The partition's primaries as indexes into `topology.members`; the first healthy one coordinates writes. */
export function primaries(topology: Topology, partition: PartitionId): readonly number[] {
  const list = topology.partitions[partition];
  if (list === undefined) throw new Error(`broken invariant: no partition ${String(partition)}`);
  return list;
}

/**
 * The preference list: all primaries (healthy or not, in order), then up to `fallbacks` healthy stand-ins, best first.
 *
 * @param healthy whether the member of this index may be sent to
 * @param fallbacks how many stand-ins are wanted; one for each unhealthy primary unless given
 */
export function preferenceList(
  topology: Topology,
  partition: PartitionId,
  healthy: (member: number) => boolean,
  fallbacks?: number,
): number[] {
  const own = primaries(topology, partition);
  const list = [...own];
  const { members, partitions } = topology;
  const zoneUse = new Map<string, number>();
  const use = (member: number): void => {
    const zone = members[member]?.zone ?? '';
    zoneUse.set(zone, (zoneUse.get(zone) ?? 0) + 1);
  };
  for (const member of own) if (healthy(member)) use(member);
  const wanted = fallbacks ?? own.reduce((count, member) => count + (healthy(member) ? 0 : 1), 0);
  if (wanted === 0) return list;

  const candidates: number[] = [];
  const met = new Set<number>(own);
  for (let step = 1; step < partitions.length && met.size < members.length; step += 1) {
    for (const member of partitions[(partition + step) % partitions.length] ?? []) {
      if (met.has(member)) continue;
      met.add(member);
      if (healthy(member)) candidates.push(member);
    }
  }
  // Members without a slot are never met on the walk; they can still stand in.
  for (let member = 0; member < members.length; member += 1) if (!met.has(member) && healthy(member)) candidates.push(member);

  for (let taken = 0; taken < wanted && candidates.length > 0; taken += 1) {
    let best = 0;
    let bestUse = Infinity;
    for (const [at, member] of candidates.entries()) {
      const used = zoneUse.get(members[member]?.zone ?? '') ?? 0;
      if (used < bestUse) [best, bestUse] = [at, used];
      if (used === 0) break;
    }
    const [chosen] = candidates.splice(best, 1);
    if (chosen === undefined) break;
    use(chosen);
    list.push(chosen);
  }
  return list;
}
