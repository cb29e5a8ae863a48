/**
 * Numbers for keys, for whoever holds something of each: an open hash table with linear probing over a hash that the caller gives. A Map of
 * strings costs several times as much where every key comes as a string of its own, which a Map first looks up in the table of all strings of
 * the process.
 *
 * Invariants: a key has one number, which stays its own until it is removed; numbers are dense but for those given back, which are used again.
 */

import type { ByteString } from './bytes.ts';

const LEAST_SLOTS = 64;

export class KeyTable {
  readonly #keys: ByteString[] = [];
  /** Of each slot the key's hash and, behind it, its number + 1; 0 is none. At least half of the slots are free. */
  #slots: Int32Array = new Int32Array(2 * LEAST_SLOTS);
  #mask = LEAST_SLOTS - 1;
  readonly #free: number[] = [];
  size = 0;

  /** The keys by their numbers; a number given back has what it had. Only read them. */
  get keys(): readonly ByteString[] {
    return this.#keys;
  }

  /** The key's number, or -1. @param hash of the key, always the same function's; 32 bits */
  find(key: ByteString, hash: number): number {
    const slots = this.#slots;
    const mask = this.#mask;
    const wanted = hash | 0;
    for (let at = hash & mask; ; at = (at + 1) & mask) {
      const number = (slots[2 * at + 1] as number) - 1;
      if (number < 0) return -1;
      if (slots[2 * at] === wanted && this.#keys[number] === key) return number;
    }
  }

  /** Gives a number to a key that has none. */
  add(key: ByteString, hash: number): number {
    if (2 * (this.size + 1) > this.#mask) this.#grow();
    const number = this.#free.pop() ?? this.#keys.length;
    this.#keys[number] = key;
    this.#place(hash, number + 1);
    this.size += 1;
    return number;
  }

  /** Takes the number back and answers it, or -1 where the key has none. */
  remove(key: ByteString, hash: number): number {
    const slots = this.#slots;
    const mask = this.#mask;
    const number = this.find(key, hash);
    if (number < 0) return -1;
    let hole = hash & mask;
    while (slots[2 * hole + 1] !== number + 1) hole = (hole + 1) & mask;
    // Whatever was put further for want of this slot moves up, so that no search ends too early.
    for (let next = (hole + 1) & mask; slots[2 * next + 1] !== 0; next = (next + 1) & mask) {
      const home = (slots[2 * next] as number) & mask;
      if (((next - home) & mask) < ((next - hole) & mask)) continue;
      slots[2 * hole] = slots[2 * next] as number;
      slots[2 * hole + 1] = slots[2 * next + 1] as number;
      hole = next;
    }
    slots[2 * hole + 1] = 0;
    this.#free.push(number);
    this.size -= 1;
    return number;
  }

  clear(): void {
    this.#keys.length = 0;
    this.#free.length = 0;
    this.#slots = new Int32Array(2 * LEAST_SLOTS);
    this.#mask = LEAST_SLOTS - 1;
    this.size = 0;
  }

  #place(hash: number, number: number): void {
    const slots = this.#slots;
    const mask = this.#mask;
    let at = hash & mask;
    while (slots[2 * at + 1] !== 0) at = (at + 1) & mask;
    slots[2 * at] = hash;
    slots[2 * at + 1] = number;
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Int32Array(2 * old.length);
    this.#mask = this.#slots.length / 2 - 1;
    for (let at = 0; at < old.length; at += 2) {
      const number = old[at + 1] as number;
      if (number !== 0) this.#place(old[at] as number, number);
    }
  }
}
