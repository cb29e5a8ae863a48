/**
 * The memtable's memory: slabs of shared memory, so that a sealed memtable goes to the flush worker without a copy. Slabs are reused:
 * fresh memory of this size costs page faults for every flush.
 */

import { Buffer } from 'node:buffer';

/** The largest slab but for frames that need more; a power of two, on which references into a memtable count. */
export const SLAB_BYTES: number = 1024 * 1024;

export interface Slab {
  readonly memory: SharedArrayBuffer;
  readonly bytes: Buffer;
  readonly words: Uint32Array;
  readonly floats: Float64Array;
  /** Bytes in use, a multiple of 8. */
  used: number;
}

function slabOver(memory: SharedArrayBuffer): Slab {
  return { memory, bytes: Buffer.from(memory), words: new Uint32Array(memory), floats: new Float64Array(memory), used: 0 };
}

export class SlabPool {
  readonly #free: Slab[] = [];
  readonly #keep: number;
  readonly #slabBytes: number;
  readonly #poison: boolean;
  /** Bytes of slabs handed out, and of those kept for reuse. */
  lentBytes = 0;

  /**
   * @param keep slabs to keep for reuse at most
   * @param slabBytes a power of two up to SLAB_BYTES
   * @param poison overwrite what is given back, so that whoever still reads it is found out
   */
  constructor(keep: number, slabBytes: number = SLAB_BYTES, poison = false) {
    this.#keep = keep;
    this.#slabBytes = slabBytes;
    this.#poison = poison;
  }

  /** A power of two: what a memtable of such slabs takes to tell which keys it does not have. */
  get presenceBytes(): number {
    return Math.max(256, this.#slabBytes / 8);
  }

  get idleBytes(): number {
    return this.#free.length * this.#slabBytes;
  }

  /** A slab of the usual size, or of more where a single frame needs more. */
  take(least: number): Slab {
    const usual = this.#slabBytes;
    const size = Math.max(usual, Math.ceil(least / usual) * usual);
    this.lentBytes += size;
    const slab = size === usual ? this.#free.pop() : undefined;
    if (slab === undefined) return slabOver(new SharedArrayBuffer(size));
    slab.used = 0;
    return slab;
  }

  giveBack(slabs: readonly Slab[]): void {
    for (const slab of slabs) {
      this.lentBytes -= slab.bytes.length;
      if (this.#poison) slab.bytes.fill(0xa5);
      if (slab.bytes.length === this.#slabBytes && this.#free.length < this.#keep) this.#free.push(slab);
    }
  }
}
