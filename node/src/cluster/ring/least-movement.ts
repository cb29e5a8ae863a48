/**
 * Placement with the least movement away from a previous one: successive cheapest paths of a minimum-cost flow.
 *
 * The flow sends each partition's N replicas over its zones and racks to members; holding on to a replica costs nothing, a new one costs 1; each
 * member should end at its quota. It starts from all that may stay (cost 0, so optimal for what it carries), completes each partition within its
 * spread, and then moves surplus to deficit along cheapest paths in the residual graph: an edge from member a to member b is a partition that
 * can exchange a for b. Exchanging a replica that is itself new costs nothing more, so that early choices are taken back for free.
 *
 * How far it goes: what is free is always done. Moves are paid for up to the bound, the slots that members lack of their quotas, which any
 * exact placement costs at least. Where exactness would cost more (the partitions that lost a replica can only take one in a zone that should
 * shrink, say), a member may stay up to 1/20 above its target: that alone is not worth streaming data for, and the next change evens it out for
 * free. Beyond 1/20, or a whole slot, moves are paid for whatever the bound. A path exists as long as there is surplus (load-targets.ts says why).
 * Each path is checked again step by step when it is applied: spread is never given up for balance.
 */

import type { FailureDomains } from './failure-domains.ts';
import type { LoadTargets } from './load-targets.ts';
import { slotQuotas } from './load-targets.ts';
import { PseudoRandom } from './pseudo-random.ts';
import { ReplicaSets } from './replica-sets.ts';

/** A member may stay this fraction of its target above it, 1/20, where relieving it would move more than the bound. */
const SLACK = 20;

interface Step {
  readonly partition: number;
  readonly out: number;
  readonly into: number;
}

/** @param previous for each partition the members that hold it now, without those that are gone */
export function placeMovingLeast(
  domains: FailureDomains,
  Q: number,
  targets: LoadTargets,
  previous: readonly (readonly number[])[],
): ReplicaSets {
  return new LeastMovement(domains, Q, targets, previous).place();
}

class LeastMovement {
  readonly #domains: FailureDomains;
  readonly #Q: number;
  readonly #quota: Int32Array;
  readonly #ceiling: Int32Array;
  readonly #bound: number;
  #room: Int32Array;
  readonly #previous: readonly (readonly number[])[];
  readonly #replicas: ReplicaSets;
  readonly #random: PseudoRandom;
  #moves = 0;

  constructor(domains: FailureDomains, Q: number, targets: LoadTargets, previous: readonly (readonly number[])[]) {
    const held = new Int32Array(domains.zoneOf.length);
    for (const list of previous) for (const member of list) held[member] = (held[member] ?? 0) + 1;
    this.#domains = domains;
    this.#Q = Q;
    this.#quota = slotQuotas(domains, targets, Q, held);
    this.#room = this.#quota;
    this.#ceiling = this.#quota.map((_, member) => {
      const target = (targets.numerator[member] ?? 0) / (targets.denominator[member] ?? 1);
      return Math.max(Math.ceil(target), Math.floor(target + target / SLACK));
    });
    this.#bound = this.#quota.reduce((sum, quota, member) => sum + Math.max(0, quota - (held[member] ?? 0)), 0);
    this.#previous = previous;
    this.#replicas = new ReplicaSets(domains, Q);
    this.#random = new PseudoRandom(Q + held.length);
  }

  place(): ReplicaSets {
    this.#keep();
    this.#fill();
    this.#relieve(this.#quota, this.#quota, 0);
    this.#relieve(this.#ceiling, this.#quota, this.#bound);
    this.#relieve(this.#ceiling, this.#ceiling, this.#bound);
    this.#relieve(this.#ceiling, this.#ceiling, Infinity);
    this.#relieve(this.#quota, this.#quota, this.#bound);
    return this.#replicas;
  }

  /** Moves what members hold beyond `limit` to members below `room`, as long as no more than `budget` replicas are new in all. */
  #relieve(limit: Int32Array, room: Int32Array, budget: number): void {
    const over = (member: number): boolean => (this.#replicas.load[member] ?? 0) > (limit[member] ?? 0);
    this.#room = room;
    if (this.#moves < budget) this.#moveDirectly(over, budget);
    for (;;) {
      const sources = this.#members(over);
      if (sources.length === 0) return;
      const freeOnly = this.#moves >= budget;
      if (this.#apply(this.#cheapestPath(sources, true, freeOnly), budget)) continue;
      if (freeOnly || !this.#apply(this.#cheapestPath(sources, false, false), budget)) return;
    }
  }

  #lacks(member: number): boolean {
    return (this.#replicas.load[member] ?? 0) < (this.#room[member] ?? 0);
  }

  #surplus(member: number): number {
    return (this.#replicas.load[member] ?? 0) - (this.#quota[member] ?? 0);
  }

  #members(wanted: (member: number) => boolean): number[] {
    const list: number[] = [];
    for (let member = 0; member < this.#quota.length; member += 1) if (wanted(member)) list.push(member);
    return list;
  }

  #held(partition: number, member: number): boolean {
    return this.#previous[partition]?.includes(member) ?? false;
  }

  /** Keeps of each partition as many replicas as its spread allows; members that hold too much give way first. */
  #keep(): void {
    const expected = new Int32Array(this.#quota.length);
    for (const list of this.#previous) for (const member of list) expected[member] = (expected[member] ?? 0) + 1;
    const excess = (member: number): number => (expected[member] ?? 0) - (this.#quota[member] ?? 0);
    for (let partition = 0; partition < this.#Q; partition += 1) {
      const candidates = this.#previous[partition] ?? [];
      if (this.#replicas.extendable(candidates)) {
        for (const member of candidates) this.#replicas.add(partition, member);
        continue;
      }
      // Independent sets of a matroid: taking whatever still fits keeps as many as can be kept.
      for (const member of [...candidates].sort((a, b) => excess(a) - excess(b) || a - b)) {
        if (this.#replicas.extendable([...this.#replicas.set(partition), member])) this.#replicas.add(partition, member);
        else expected[member] = (expected[member] ?? 0) - 1;
      }
    }
  }

  /** Completes each partition within its spread, taking the members that lack most. */
  #fill(): void {
    const { N, racks } = this.#domains;
    for (let partition = 0; partition < this.#Q; partition += 1) {
      const set = this.#replicas.set(partition);
      while (set.length < N) {
        let best = -1;
        let ties = 0;
        for (const rack of racks) {
          const [first] = rack.members;
          if (first === undefined) continue;
          // All members of a rack are alike to the spread: ask for one that is not in the set yet.
          if (!this.#replicas.extendable([...set, first])) continue;
          for (const member of rack.members) {
            if (set.includes(member)) continue;
            const better = best < 0 ? -1 : this.#surplus(member) - this.#surplus(best);
            ties = better < 0 ? 1 : better === 0 ? ties + 1 : ties;
            if (better < 0 || (better === 0 && this.#random.below(ties) === 0)) best = member;
          }
        }
        if (best < 0) throw new Error(`broken invariant: partition ${String(partition)} cannot be completed`);
        this.#replicas.add(partition, best);
        if (!this.#held(partition, best)) this.#moves += 1;
      }
    }
  }

  /** Moves of one exchange, in rounds of one replica each; those of replicas that are new here first: they cost nothing more. */
  #moveDirectly(over: (member: number) => boolean, budget: number): void {
    const waiting = this.#members(over).map((member) => {
      const held = this.#random.shuffle([...this.#replicas.heldBy(member)]);
      const isKept = (partition: number): boolean => this.#held(partition, member);
      return { member, held: [...held.filter(isKept), ...held.filter((partition) => !isKept(partition))] };
    });
    for (let progress = true; progress && this.#moves < budget;) {
      progress = false;
      for (const { member, held } of waiting) {
        if (this.#moves >= budget || !over(member)) continue;
        for (let partition = held.pop(); partition !== undefined; partition = held.pop()) {
          const into = this.#neediest(partition, member);
          if (into === undefined) continue;
          this.#exchange({ partition, out: member, into });
          progress = true;
          break;
        }
      }
    }
  }

  /** The member that lacks most among those that can take over `partition` from `out`. */
  #neediest(partition: number, out: number): number | undefined {
    let best: number | undefined;
    for (let into = 0; into < this.#quota.length; into += 1) {
      if (!this.#lacks(into) || (best !== undefined && this.#surplus(into) >= this.#surplus(best))) continue;
      if (this.#replicas.mayExchange(partition, out, into)) best = into;
    }
    return best;
  }

  #exchange({ partition, out, into }: Step): void {
    this.#replicas.exchange(partition, out, into);
    if (this.#held(partition, out)) this.#moves += 1;
    if (this.#held(partition, into)) this.#moves -= 1;
  }

  /**
   * A path from one of `sources` to a member that lacks a replica, of the fewest additional moves (`weighted`) or of the fewest steps.
   * Breadth first by cost: within a level, everything that costs nothing is followed to its end before a move is paid for.
   */
  #cheapestPath(sources: readonly number[], weighted: boolean, freeOnly: boolean): readonly Step[] {
    const cameBy = new Map<number, Step>();
    const unmet = this.#domains.racks.map((rack) => new Set(rack.members));
    const meet = (member: number): void => {
      unmet[this.#domains.rackOf[member] ?? 0]?.delete(member);
    };
    let level = [...sources];
    level.forEach(meet);
    while (level.length > 0) {
      // The level grows while it is walked: free steps lead to members of the same level.
      if (weighted) {
        for (const member of level) {
          const goal = this.#follow(member, true, unmet, cameBy, level, meet);
          if (goal !== undefined) return this.#trace(goal, cameBy);
        }
      }
      if (freeOnly) return [];
      const next: number[] = [];
      for (const member of level) {
        const goal = this.#follow(member, false, unmet, cameBy, next, meet);
        if (goal !== undefined) return this.#trace(goal, cameBy);
      }
      level = next;
    }
    return [];
  }

  /** Meets every member that an exchange can bring in for `member`; answers the first that lacks a replica. */
  #follow(
    member: number,
    freeOnly: boolean,
    unmet: readonly Set<number>[],
    cameBy: Map<number, Step>,
    reached: number[],
    meet: (member: number) => void,
  ): number | undefined {
    for (const partition of this.#replicas.heldBy(member)) {
      if (freeOnly && this.#held(partition, member)) continue;
      for (const [rack, candidates] of unmet.entries()) {
        if (candidates.size === 0 || !this.#replicas.mayExchangeForRack(partition, member, rack)) continue;
        for (const into of candidates) {
          if (this.#replicas.set(partition).includes(into)) continue;
          meet(into);
          cameBy.set(into, { partition, out: member, into });
          if (this.#lacks(into)) return into;
          reached.push(into);
        }
      }
    }
    return undefined;
  }

  #trace(goal: number, cameBy: ReadonlyMap<number, Step>): readonly Step[] {
    const steps: Step[] = [];
    for (let step = cameBy.get(goal); step !== undefined; step = cameBy.get(step.out)) steps.unshift(step);
    return steps;
  }

  /** Applies the path; takes everything back and answers false if its steps do not go together or cost more than `budget`. */
  #apply(steps: readonly Step[], budget: number): boolean {
    const done: Step[] = [];
    const before = this.#moves;
    let good = steps.length > 0;
    for (const step of steps) {
      good = this.#replicas.mayExchange(step.partition, step.out, step.into);
      if (!good) break;
      this.#exchange(step);
      done.push(step);
    }
    if (good && this.#moves <= Math.max(before, budget)) return true;
    for (const { partition, out, into } of done.reverse()) this.#exchange({ partition, out: into, into: out });
    return false;
  }
}
