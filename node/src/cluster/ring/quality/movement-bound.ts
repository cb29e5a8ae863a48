/**
 * Lower bounds on movement: no placement that is spread evenly over zones and racks, and in which every member holds its target rounded down or
 * up, is fewer moves away from the previous one. A move is a replica in a partition that did not have it.
 *
 * `countedBound` counts zone by zone. `flowBound` is the minimum of a min-cost flow in which partitions whose remaining replicas lie alike in
 * the racks are taken together: a relaxation of the placement problem, so its minimum is a lower bound too, and close to the truth.
 */

import type { JudgedMember, JudgedPlacement } from './expected-spread.ts';
import { groupBy, spreadBounds } from './expected-spread.ts';

export interface MovementQuestion {
  readonly members: readonly JudgedMember[];
  readonly N: number;
  /** For each partition, who of the members of now was there before. */
  readonly survivors: readonly (readonly number[])[];
  /** The fewest and most replicas each member may end with: its target rounded. */
  readonly least: readonly number[];
  readonly most: readonly number[];
}

export function movementQuestion(
  before: JudgedPlacement,
  members: readonly JudgedMember[],
  N: number,
  targets: readonly number[],
): MovementQuestion {
  const now = new Map(members.map((member, m) => [member.name, m]));
  const stays = (old: number): number | undefined => now.get(before.members[old]?.name ?? '');
  return {
    members,
    N,
    survivors: before.partitions.map((list) => list.map(stays).filter((member) => member !== undefined)),
    least: targets.map((target) => Math.floor(target + 1e-6)),
    most: targets.map((target) => Math.ceil(target - 1e-6)),
  };
}

/**
 * Zone by zone: a zone must take in what its members lack, what its partitions lack, and whatever it drops beyond what its total may fall;
 * it must drop what its members have beyond their targets, what its partitions have beyond their spread, and whatever it must take in beyond
 * what its total may rise. All takings are moves, and so are all drops together with the replicas of members that are gone.
 */
export function countedBound({ members, N, survivors, least, most }: MovementQuestion): number {
  const zones = [...groupBy(members.keys(), (m) => members[m]?.zone ?? '')];
  const bounds = spreadBounds(
    zones.map(([, list]) => list.length),
    N,
  );
  const held = members.map(() => 0);
  for (const list of survivors) for (const member of list) held[member] = (held[member] ?? 0) + 1;
  let taken = 0;
  let dropped = survivors.length * N - held.reduce((sum, count) => sum + count, 0);
  for (const [z, [zone, list]] of zones.entries()) {
    const [fewest, greatest] = bounds[z] ?? [0, 0];
    const sum = (of: (m: number) => number): number => list.reduce((total, m) => total + of(m), 0);
    const has = sum((m) => held[m] ?? 0);
    let takesForSpread = 0;
    let dropsForSpread = 0;
    for (const replicas of survivors) {
      const count = replicas.reduce((total, m) => total + (members[m]?.zone === zone ? 1 : 0), 0);
      takesForSpread += Math.max(0, fewest - count);
      dropsForSpread += Math.max(0, count - greatest);
    }
    const takes = Math.max(
      takesForSpread,
      sum((m) => Math.max(0, (least[m] ?? 0) - (held[m] ?? 0))),
    );
    const drops = Math.max(
      dropsForSpread,
      sum((m) => Math.max(0, (held[m] ?? 0) - (most[m] ?? 0))),
    );
    taken += Math.max(takes, sum((m) => least[m] ?? 0) - has + drops);
    dropped += Math.max(drops, has + takes - sum((m) => most[m] ?? 0));
  }
  return Math.max(taken, dropped);
}

export function flowBound({ members, N, survivors, least, most }: MovementQuestion): number {
  const zones = [...groupBy(members.keys(), (m) => members[m]?.zone ?? '').values()];
  const rackOf = new Map<number, number>();
  const racks: number[][] = [];
  const racksOfZone = zones.map((zone) =>
    [...groupBy(zone, (m) => members[m]?.rack ?? '').values()].map((rack) => {
      for (const m of rack) rackOf.set(m, racks.length);
      return racks.push(rack) - 1;
    }),
  );
  const zoneBounds = spreadBounds(
    zones.map((zone) => zone.length),
    N,
  );

  const classes = new Map<string, (readonly number[])[]>();
  for (const list of survivors) {
    const id = list
      .map((m) => rackOf.get(m) ?? 0)
      .sort((a, b) => a - b)
      .join();
    const alike = classes.get(id);
    if (alike === undefined) classes.set(id, [list]);
    else alike.push(list);
  }

  const flow = new MinCostFlow();
  const source = flow.node();
  const sink = flow.node();
  const memberNodes = members.map((_, m) => {
    const node = flow.node();
    flow.edge(node, sink, least[m] ?? 0, most[m] ?? 0, 0);
    return node;
  });
  for (const alike of classes.values()) {
    const count = alike.length;
    const stay = members.map(() => 0);
    for (const list of alike) for (const m of list) stay[m] = (stay[m] ?? 0) + 1;
    const start = flow.node();
    flow.edge(source, start, count * N, count * N, 0);
    for (const [z, inZone] of racksOfZone.entries()) {
      const [fewest, greatest] = zoneBounds[z] ?? [0, 0];
      const sizes = inZone.map((rack) => racks[rack]?.length ?? 0);
      const ifFewest = spreadBounds(sizes, fewest);
      const ifGreatest = spreadBounds(sizes, greatest);
      const zone = flow.node();
      flow.edge(start, zone, count * fewest, count * greatest, 0);
      for (const [r, number] of inZone.entries()) {
        const rack = flow.node();
        flow.edge(zone, rack, count * (ifFewest[r]?.[0] ?? 0), count * (ifGreatest[r]?.[1] ?? 0), 0);
        for (const m of racks[number] ?? []) {
          const staying = stay[m] ?? 0;
          flow.edge(rack, memberNodes[m] ?? 0, 0, staying, 0);
          flow.edge(rack, memberNodes[m] ?? 0, 0, count - staying, 1);
        }
      }
    }
  }
  return flow.cost(source, sink, survivors.length * N);
}

/** Textbook successive shortest paths (Bellman-Ford with a queue); slow and plain on purpose. */
class MinCostFlow {
  readonly #from: number[] = [];
  readonly #to: number[] = [];
  readonly #room: number[] = [];
  readonly #cost: number[] = [];
  readonly #edges: number[][] = [];
  #reward = 0;

  node(): number {
    return this.#edges.push([]) - 1;
  }

  /** An edge that carries `least` to `most`. The first `least` units are rewarded so highly that a cheapest flow takes them. */
  edge(from: number, to: number, least: number, most: number, cost: number): void {
    if (least > 0) this.#add(from, to, least, cost - REWARD);
    if (most > least) this.#add(from, to, most - least, cost);
    this.#reward += REWARD * least;
  }

  #add(from: number, to: number, room: number, cost: number): void {
    this.#edges[from]?.push(this.#to.length);
    this.#from.push(from);
    this.#to.push(to);
    this.#room.push(room);
    this.#cost.push(cost);
    this.#edges[to]?.push(this.#to.length);
    this.#from.push(to);
    this.#to.push(from);
    this.#room.push(0);
    this.#cost.push(-cost);
  }

  /** The least cost of sending `amount`. */
  cost(source: number, sink: number, amount: number): number {
    let total = this.#reward;
    for (let left = amount; left > 0;) {
      const distance = this.#edges.map(() => Infinity);
      const by = this.#edges.map(() => -1);
      const queued = new Set([source]);
      distance[source] = 0;
      // A set visits what is added while it is walked; deleting first lets a node be queued again.
      for (const node of queued) {
        queued.delete(node);
        for (const edge of this.#edges[node] ?? []) {
          const to = this.#to[edge] ?? 0;
          const length = (distance[node] ?? 0) + (this.#cost[edge] ?? 0);
          if ((this.#room[edge] ?? 0) === 0 || length >= (distance[to] ?? 0)) continue;
          distance[to] = length;
          by[to] = edge;
          queued.add(to);
        }
      }
      if (by[sink] === -1) throw new Error('broken invariant: the targets cannot be met');
      let units = left;
      for (let edge = by[sink] ?? -1; edge >= 0; edge = by[this.#from[edge] ?? 0] ?? -1) units = Math.min(units, this.#room[edge] ?? 0);
      for (let edge = by[sink] ?? -1; edge >= 0; edge = by[this.#from[edge] ?? 0] ?? -1) {
        this.#room[edge] = (this.#room[edge] ?? 0) - units;
        this.#room[edge ^ 1] = (this.#room[edge ^ 1] ?? 0) + units;
        total += units * (this.#cost[edge] ?? 0);
      }
      left -= units;
    }
    return total;
  }
}

/** More than any path through the network can cost otherwise. */
const REWARD = 1_000_000;
