/** Every choice of a simulated run, drawn from its seed. Streams are forked, so that one part's draws do not shift another's. */

import { SeededRandom } from '../disk/seeded-random.ts';

const TWO_32 = 0x1_0000_0000;

export class Dice extends SeededRandom {
  /** A fraction, 0 <= x < 1. */
  fraction(): number {
    return this.u32() / TWO_32;
  }

  /** A whole number from `from` to `to`, both included. */
  between(from: number, to: number): number {
    return from + Math.floor(this.fraction() * (to - from + 1));
  }

  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  /** The items in a random order, as a new array. */
  shuffled<T>(items: readonly T[]): T[] {
    const left = [...items];
    const out: T[] = [];
    while (left.length > 0) out.push(...left.splice(this.below(left.length), 1));
    return out;
  }

  /** One of `choices`, each as likely as its weight says. */
  weighted<T>(choices: readonly (readonly [T, number])[]): T {
    let left = this.fraction() * choices.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [choice, weight] of choices) {
      left -= weight;
      if (left < 0) return choice;
    }
    return this.pick(choices)[0];
  }

  override fork(): Dice {
    return new Dice(this.u32(), this.u32());
  }
}
