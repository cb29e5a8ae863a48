/**
 * The memory of cached blocks, reused from block to block. Fresh memory for every block would be garbage that V8 sees late: it counts external
 * memory coarsely, and lets it grow by tens of MiB.
 *
 * Invariant: a buffer is given back only when nobody reads it any more. The cache gives back between turns of the loop (see block-cache.ts).
 */

import { Buffer } from 'node:buffer';

const CLASS_BYTES = 512;
/** Larger ones are left to the garbage collector. */
const CLASSES = 128;

export class BlockMemory {
  readonly #free: Buffer[][] = [];
  readonly #keepBytes: number;
  readonly #poison: boolean;
  #idleBytes = 0;

  /** @param poison overwrite what is given back, so that whoever still reads it is found out */
  constructor(keepBytes: number, poison: boolean) {
    this.#keepBytes = keepBytes;
    this.#poison = poison;
  }

  /** Bytes kept for reuse. */
  get idleBytes(): number {
    return this.#idleBytes;
  }

  /** At least `length` bytes, of any content. */
  take(length: number): Buffer {
    const size = Math.ceil(length / CLASS_BYTES);
    const buffer = this.#free[size]?.pop();
    if (buffer === undefined) return Buffer.allocUnsafeSlow(size * CLASS_BYTES);
    this.#idleBytes -= buffer.length;
    return buffer;
  }

  /** Takes back what `take` gave, whole. */
  give(buffer: Buffer): void {
    if (this.#poison) buffer.fill(0xa5);
    const size = buffer.length / CLASS_BYTES;
    if (size > CLASSES || this.#idleBytes + buffer.length > this.#keepBytes) return;
    (this.#free[size] ??= []).push(buffer);
    this.#idleBytes += buffer.length;
  }
}
