/**
 * The working state of a placement: for each partition the set of members that hold it, with loads and the reverse index kept in step.
 *
 * Every change is one of `add`, `remove`, and `exchange`; `mayExchange` says whether a full partition that keeps the even spread over zones and
 * racks still keeps it after the exchange.
 */

import type { FailureDomains } from './failure-domains.ts';

export class ReplicaSets {
  readonly domains: FailureDomains;
  readonly sets: number[][];
  readonly load: Int32Array;
  /** For each member the partitions it holds, in order of arrival; built when first asked for. */
  #held: readonly Set<number>[] | undefined;

  constructor(domains: FailureDomains, Q: number) {
    this.domains = domains;
    this.sets = Array.from({ length: Q }, () => []);
    this.load = new Int32Array(domains.zoneOf.length);
  }

  set(partition: number): number[] {
    const set = this.sets[partition];
    if (set === undefined) throw new Error(`broken invariant: no partition ${String(partition)}`);
    return set;
  }

  heldBy(member: number): Set<number> {
    const held = (this.#held ??= this.#index())[member];
    if (held === undefined) throw new Error(`broken invariant: no member ${String(member)}`);
    return held;
  }

  #index(): readonly Set<number>[] {
    const held = Array.from({ length: this.load.length }, () => new Set<number>());
    for (const [partition, set] of this.sets.entries()) for (const member of set) held[member]?.add(partition);
    return held;
  }

  add(partition: number, member: number): void {
    this.set(partition).push(member);
    this.#held?.[member]?.add(partition);
    this.load[member] = (this.load[member] ?? 0) + 1;
  }

  exchange(partition: number, out: number, into: number): void {
    const set = this.set(partition);
    set[set.indexOf(out)] = into;
    this.#held?.[out]?.delete(partition);
    this.#held?.[into]?.add(partition);
    this.load[out] = (this.load[out] ?? 0) - 1;
    this.load[into] = (this.load[into] ?? 0) + 1;
  }

  /** Whether `out` may leave the full partition for `into`. */
  mayExchange(partition: number, out: number, into: number): boolean {
    if (this.set(partition).includes(into)) return false;
    return this.mayExchangeForRack(partition, out, this.domains.rackOf[into] ?? 0);
  }

  /** Whether `out` may leave the full partition for some member of `rack` that does not hold it. */
  mayExchangeForRack(partition: number, out: number, rack: number): boolean {
    const { domains } = this;
    const outRack = domains.rackOf[out] ?? 0;
    if (outRack === rack) return true;
    const into = domains.racks[rack];
    const from = domains.racks[outRack];
    if (into === undefined || from === undefined) return false;
    let inIntoRack = 0;
    let inIntoZone = 0;
    let inFromRack = 0;
    let inFromZone = 0;
    for (const member of this.set(partition)) {
      const memberRack = domains.rackOf[member];
      const memberZone = domains.zoneOf[member];
      if (memberRack === rack) inIntoRack += 1;
      if (memberRack === outRack) inFromRack += 1;
      if (memberZone === into.zone) inIntoZone += 1;
      if (memberZone === from.zone) inFromZone += 1;
    }
    if (inIntoRack >= into.high || inFromRack <= from.low) return false;
    if (into.zone === from.zone) return true;
    return inIntoZone < (domains.zones[into.zone]?.high ?? 0) && inFromZone > (domains.zones[from.zone]?.low ?? 0);
  }

  /**
   * Whether `members` can be completed to N replicas that are spread evenly: no group above its upper bound, and room enough left for
   * the lower bounds of the others.
   */
  extendable(members: readonly number[]): boolean {
    const { domains } = this;
    let needed = 0;
    for (const zone of domains.zones) {
      let inZone = 0;
      for (const rack of zone.racks) {
        const { low, high } = domains.racks[rack] ?? { low: 0, high: 0 };
        let inRack = 0;
        for (const member of members) if (domains.rackOf[member] === rack) inRack += 1;
        if (inRack > high) return false;
        inZone += Math.max(inRack, low);
      }
      if (inZone > zone.high) return false;
      needed += Math.max(inZone, zone.low);
    }
    return needed <= domains.N;
  }
}
