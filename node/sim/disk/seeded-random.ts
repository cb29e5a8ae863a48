/**
 * Randomness from a seed: sfc32 (Doty-Humphrey, PractRand), 128 bits of state, integer operations only, so a seed means the same
 * sequence on every machine. Not for secrets.
 */

import type { Random } from '../../src/env/random.ts';

export class SeededRandom implements Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** @param seed two numbers are one seed: `(seed, stream)`; each is taken modulo 2^32 */
  constructor(seed: number, stream = 0) {
    this.#a = seed | 0;
    this.#b = stream | 0;
    this.#c = Math.floor(seed / 0x1_0000_0000) | 0;
    for (let i = 0; i < 15; i += 1) this.u32();
  }

  u32(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    this.#c |= 0;
    return sum >>> 0;
  }

  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; at += 4) {
      const word = this.u32();
      for (let i = 0; i < 4 && at + i < length; i += 1) bytes[at + i] = word >>> (8 * i);
    }
    return bytes;
  }

  /** A whole number from 0 to `bound - 1`; 0 where `bound` is 0 or 1. The bias (< bound / 2^32) does not matter here. */
  below(bound: number): number {
    return bound <= 1 ? 0 : this.u32() % bound;
  }

  /** True once in `outOf` times. */
  oneIn(outOf: number): boolean {
    return this.below(outOf) === 0;
  }

  /** One of `choices`, which must not be empty. */
  pick<T>(choices: readonly T[]): T {
    const choice = choices[this.below(choices.length)];
    if (choice === undefined) throw new Error('nothing to pick from');
    return choice;
  }

  /** An independent sequence, so that one more draw here does not shift every later one there. */
  fork(): SeededRandom {
    return new SeededRandom(this.u32(), this.u32());
  }
}
