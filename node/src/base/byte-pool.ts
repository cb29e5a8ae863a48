/**
 * Small byte arrays cut from larger ones: to make and free one with memory of its own costs more than most of what is written into it.
 *
 * Invariants: no byte is given out twice, and what is given out holds zeros. A piece keeps all of the array that it was cut from, so pools are for
 * what is soon forgotten.
 */

const POOL_BYTES = 16 * 1024;
/** Larger ones get memory of their own. */
const MOST_BYTES = 1024;

export class BytePool {
  #pool = new Uint8Array(0);
  #used = 0;

  take(size: number): Uint8Array {
    if (size > MOST_BYTES) return new Uint8Array(size);
    if (this.#used + size > this.#pool.length) {
      this.#pool = new Uint8Array(POOL_BYTES);
      this.#used = 0;
    }
    const from = this.#used;
    this.#used += size;
    return this.#pool.subarray(from, from + size);
  }
}
