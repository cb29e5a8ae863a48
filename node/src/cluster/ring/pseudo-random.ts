/** A small seeded sequence of numbers for choices that must look random and be equal on every machine (Marsaglia's xorshift32). */
export class PseudoRandom {
  #state: number;

  constructor(seed: number) {
    this.#state = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) | 1;
  }

  /** A whole number from 0 to `limit` - 1. */
  below(limit: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return (x >>> 0) % limit;
  }

  shuffle<T>(items: T[]): T[] {
    for (let at = items.length - 1; at > 0; at -= 1) {
      const other = this.below(at + 1);
      const held = items[at];
      const swapped = items[other];
      if (held === undefined || swapped === undefined) break;
      items[at] = swapped;
      items[other] = held;
    }
    return items;
  }
}
