/**
 * A bloom filter (Bloom, "Space/time trade-offs in hash coding with allowable errors", 1970) with double hashing (Kirsch and Mitzenmacher,
 * 2006): probe i is bit `(h1 + i * h2) mod bits`. Grammar: `filter = bit array{bytes} probes{u8}`.
 *
 * Invariant: every key of the table passes. The hash is part of the format.
 */

import { Buffer } from 'node:buffer';
import type { ByteString } from '../../base/bytes.ts';
import { murmurHash3, murmurMix } from '../../base/hash.ts';

const SEED = 0x5bd1e995;

/** Two 32-bit hashes of one key; reused by callers, so that a read allocates nothing. */
export interface KeyHash {
  h1: number;
  h2: number;
}

/** MurmurHash3 of the key for `h1`; `h2` is its finaliser applied once more, made odd. */
export function hashKey(key: ByteString, into: KeyHash): KeyHash {
  into.h1 = murmurHash3(key, SEED);
  into.h2 = (murmurMix(into.h1 ^ 0x9e3779b9) | 1) >>> 0;
  return into;
}

/** Gathers the keys of one table. */
export class FilterBuilder {
  readonly #bitsPerKey: number;
  readonly #scratch: KeyHash = { h1: 0, h2: 0 };
  #hashes: Uint32Array = new Uint32Array(1024);
  #count = 0;

  constructor(bitsPerKey: number) {
    this.#bitsPerKey = bitsPerKey;
  }

  add(key: ByteString): void {
    if (this.#bitsPerKey === 0) return;
    if (this.#count === this.#hashes.length) {
      const larger = new Uint32Array(this.#hashes.length * 2);
      larger.set(this.#hashes);
      this.#hashes = larger;
    }
    this.#hashes[this.#count] = hashKey(key, this.#scratch).h1;
    this.#count += 1;
  }

  /** The filter's bytes; `undefined` where there is to be none. */
  finish(): Buffer | undefined {
    if (this.#bitsPerKey === 0 || this.#count === 0) return undefined;
    const probes = Math.max(1, Math.min(20, Math.round(this.#bitsPerKey * Math.LN2)));
    const bits = Math.max(64, Math.min(2 ** 32 - 8, this.#count * this.#bitsPerKey));
    const bytes = Buffer.alloc(Math.ceil(bits / 8) + 1);
    const size = (bytes.length - 1) * 8;
    for (let i = 0; i < this.#count; i += 1) {
      const h1 = this.#hashes[i] as number;
      const h2 = (murmurMix(h1 ^ 0x9e3779b9) | 1) >>> 0;
      for (let probe = 0, h = h1; probe < probes; probe += 1, h = (h + h2) >>> 0) {
        const bit = h % size;
        bytes[bit >>> 3] = (bytes[bit >>> 3] as number) | (1 << (bit & 7));
      }
    }
    bytes[bytes.length - 1] = probes;
    return bytes;
  }
}

/** Whether the key with this hash may be in the table; false means it is not. */
export function mayContain(filter: Buffer, hash: KeyHash): boolean {
  // Said to be unsigned 32-bit at each step, the remainder is one instruction instead of one of floats.
  const size = ((filter.length - 1) * 8) >>> 0;
  const probes = filter[filter.length - 1] as number;
  let h = hash.h1 >>> 0;
  for (let probe = 0; probe < probes; probe += 1) {
    const bit = ((h >>> 0) % size) >>> 0;
    if (((filter[bit >>> 3] as number) & (1 << (bit & 7))) === 0) return false;
    h = (h + hash.h2) >>> 0;
  }
  return true;
}
