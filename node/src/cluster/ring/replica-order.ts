/**
 * The order within each replica list. The first of a list coordinates the partition's writes, the second does when the first is away; both places
 * are spread over the members in proportion to weight, as far as the members' replicas allow.
 *
 * For one place, each partition picks one of its members not placed yet; l_m is how often m is picked. The picks minimise the sum of
 * l_m^2 / w_m, which makes the highest l_m / w_m as low as it can be: a pick moves along a path of partitions from m to m' as long as that
 * lowers the sum, that is while (2 l_m - 1) / w_m > (2 l_m' + 1) / w_m'. Without such a path the sum is minimal (a convex-cost flow has no
 * negative cycle). Given a previous order, the picks start from it and change only where they must: each change moves coordination.
 */

/** How many places of each list are balanced; the rest follows in order of arrival. */
const BALANCED_PLACES = 2;

/** Orders each list in place. */
export function orderReplicas(lists: readonly number[][], weights: readonly number[]): void {
  const longest = lists[0]?.length ?? 0;
  for (let place = 0; place < Math.min(BALANCED_PLACES, longest - 1); place += 1) new PlaceBalance(lists, weights, place).balance();
}

/** Puts first in each list what already came first: the members of `previous` in their order, then the others. */
export function keepOrder(lists: readonly number[][], previous: readonly (readonly number[])[]): void {
  for (const [partition, list] of lists.entries()) {
    const before = previous[partition] ?? [];
    const rank = (member: number): number => (before.includes(member) ? before.indexOf(member) : before.length);
    list.sort((a, b) => rank(a) - rank(b));
  }
}

class PlaceBalance {
  readonly #lists: readonly number[][];
  readonly #weights: readonly number[];
  readonly #place: number;
  /** For each member the partitions in which it stands at the place. */
  readonly #picked: Set<number>[];

  constructor(lists: readonly number[][], weights: readonly number[], place: number) {
    this.#lists = lists;
    this.#weights = weights;
    this.#place = place;
    this.#picked = weights.map(() => new Set<number>());
    for (const [partition, list] of lists.entries()) this.#picked[list[place] ?? 0]?.add(partition);
  }

  balance(): void {
    // Direct moves first, partition by partition; then whole paths, until no member can pass a pick on.
    for (let moved = true; moved;) {
      moved = false;
      for (let partition = 0; partition < this.#lists.length; partition += 1) if (this.#improve(partition)) moved = true;
    }
    for (let moved = true; moved;) {
      moved = false;
      for (let member = 0; member < this.#weights.length; member += 1) {
        while (this.#passOn(member)) moved = true;
      }
    }
  }

  #improve(partition: number): boolean {
    const list = this.#lists[partition] ?? [];
    const picked = list[this.#place] ?? 0;
    let best = -1;
    for (let at = this.#place + 1; at < list.length; at += 1) {
      const into = list[at] ?? 0;
      if (this.#lowers(picked, into) && (best < 0 || this.#less(into, best))) best = into;
    }
    if (best >= 0) this.#pick(partition, best);
    return best >= 0;
  }

  #pick(partition: number, into: number): void {
    const list = this.#lists[partition] ?? [];
    const out = list[this.#place] ?? 0;
    list[list.indexOf(into)] = out;
    list[this.#place] = into;
    this.#picked[out]?.delete(partition);
    this.#picked[into]?.add(partition);
  }

  /** Passes one pick of `member` on, over others if need be, to where it lowers the sum most. */
  #passOn(member: number): boolean {
    if (!this.#weights.some((_, into) => this.#lowers(member, into))) return false;
    const cameFrom = new Map<number, { readonly partition: number; readonly from: number }>();
    const queue = [member];
    let best = -1;
    for (const from of queue) {
      for (const partition of this.#picked[from] ?? []) {
        const list = this.#lists[partition] ?? [];
        for (let at = this.#place + 1; at < list.length; at += 1) {
          const into = list[at] ?? 0;
          if (into === member || cameFrom.has(into)) continue;
          cameFrom.set(into, { partition, from });
          queue.push(into);
          if (this.#lowers(member, into) && (best < 0 || this.#less(into, best))) best = into;
        }
      }
    }
    if (best < 0) return false;
    for (let into = best; into !== member;) {
      const step = cameFrom.get(into);
      if (step === undefined) break;
      this.#pick(step.partition, into);
      into = step.from;
    }
    return true;
  }

  #count(member: number): number {
    return this.#picked[member]?.size ?? 0;
  }

  #weight(member: number): number {
    return this.#weights[member] ?? 1;
  }

  #lowers(from: number, into: number): boolean {
    return (2 * this.#count(from) - 1) * this.#weight(into) > (2 * this.#count(into) + 1) * this.#weight(from);
  }

  #less(a: number, b: number): boolean {
    return (2 * this.#count(a) + 1) * this.#weight(b) < (2 * this.#count(b) + 1) * this.#weight(a);
  }
}
