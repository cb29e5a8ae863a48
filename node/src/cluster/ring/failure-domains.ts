/**
 * Zones and racks, and how evenly each partition's N replicas must be spread over them.
 *
 * A partition's spread is *as even as possible*: with n_z members in zone z, the level L is the greatest number for which the sum of
 * min(n_z, L) is at most N; each zone then takes at least min(n_z, L) replicas and at most min(n_z, L + 1) (exactly min(n_z, L) where that
 * sum is N already). So with at least N zones a zone takes at most one replica; with fewer, no zone takes two more than another unless the
 * other has no more members. Within a zone the same rule spreads the zone's replicas over its racks (a rack is known by zone and name).
 *
 * Per-partition bounds on nested groups that differ by at most one have a useful property: *any* totals that respect Q times the bounds can
 * be split into Q partitions that each respect them (integer decomposition of a laminar system; constructively, McNaughton's wrap-around
 * rule). Load targets can therefore be computed from totals alone; see load-targets.ts.
 */

/** What placement needs to know of a member. */
export interface PlacementMember {
  readonly name: string;
  readonly zone: string;
  readonly rack: string;
  readonly weight: number;
}

/** A zone or rack: `low` to `high` replicas of each partition. */
export interface Group {
  /** Position of the zone in `zones`. */
  readonly zone: number;
  readonly low: number;
  readonly high: number;
}

export interface Zone extends Group {
  /** Positions in `racks`, in order of first appearance. */
  readonly racks: readonly number[];
}

export interface Rack extends Group {
  readonly members: readonly number[];
}

export interface FailureDomains {
  readonly N: number;
  readonly zones: readonly Zone[];
  readonly racks: readonly Rack[];
  readonly zoneOf: Int32Array;
  readonly rackOf: Int32Array;
}

/** The zones and racks of `members` in order of first appearance. There must be at least N members. */
export function failureDomains(members: readonly PlacementMember[], N: number): FailureDomains {
  const zoneNumbers = new Map<string, number>();
  const rackNumbers: Map<string, number>[] = [];
  const rackMembers: number[][] = [];
  const racksOfZone: number[][] = [];
  const zoneOf = new Int32Array(members.length);
  const rackOf = new Int32Array(members.length);
  for (const [at, member] of members.entries()) {
    const zone = zoneNumbers.get(member.zone) ?? zoneNumbers.size;
    zoneNumbers.set(member.zone, zone);
    const known = (rackNumbers[zone] ??= new Map());
    let rack = known.get(member.rack);
    if (rack === undefined) {
      rack = rackMembers.length;
      known.set(member.rack, rack);
      rackMembers.push([]);
      (racksOfZone[zone] ??= []).push(rack);
    }
    rackMembers[rack]?.push(at);
    zoneOf[at] = zone;
    rackOf[at] = rack;
  }

  const racks: Rack[] = [];
  const rackSize = (rack: number): number => rackMembers[rack]?.length ?? 0;
  const zoneSizes = racksOfZone.map((list) => list.reduce((sum, rack) => sum + rackSize(rack), 0));
  const bounds = evenSpread(zoneSizes, N);
  const zones = racksOfZone.map((list, zone): Zone => {
    const { low, high } = bounds[zone] ?? { low: 0, high: 0 };
    const sizes = list.map(rackSize);
    // A zone that takes `low` or `high` replicas: each rack between its share of the one and of the other.
    const least = evenSpread(sizes, low);
    const most = evenSpread(sizes, high);
    for (const [at, rack] of list.entries()) {
      racks[rack] = { zone, low: least[at]?.low ?? 0, high: most[at]?.high ?? 0, members: rackMembers[rack] ?? [] };
    }
    return { zone, low, high, racks: list };
  });
  return { N, zones, racks, zoneOf, rackOf };
}

/** The bounds of an even spread of `total` over groups of these sizes; the sizes add up to `total` at least. */
function evenSpread(sizes: readonly number[], total: number): { low: number; high: number }[] {
  const filled = (level: number): number => sizes.reduce((sum, size) => sum + Math.min(size, level), 0);
  let level = 0;
  while (level < total && filled(level + 1) <= total) level += 1;
  const rest = total - filled(level);
  return sizes.map((size) => ({ low: Math.min(size, level), high: Math.min(size, rest > 0 ? level + 1 : level) }));
}
