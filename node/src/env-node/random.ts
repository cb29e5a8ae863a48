/** Cryptographic randomness, drawn from the system in blocks: one call into the system costs as much as a thousand numbers. */

import { randomFillSync } from 'node:crypto';

import type { Random } from '../env/random.ts';

const BLOCK_BYTES = 4096;

export class NodeRandom implements Random {
  readonly #block = Buffer.alloc(BLOCK_BYTES);
  /** Bytes before it are used, and erased: what was handed out cannot be read back from the block. */
  #at = BLOCK_BYTES;

  u32(): number {
    const at = this.#take(4);
    const value = this.#block.readUInt32LE(at);
    this.#block.fill(0, at, at + 4);
    return value;
  }

  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    if (length > BLOCK_BYTES / 4) return randomFillSync(bytes);
    const at = this.#take(length);
    bytes.set(this.#block.subarray(at, at + length));
    this.#block.fill(0, at, at + length);
    return bytes;
  }

  #take(length: number): number {
    if (this.#at + length > BLOCK_BYTES) {
      randomFillSync(this.#block);
      this.#at = 0;
    }
    const at = this.#at;
    this.#at += length;
    return at;
  }
}
