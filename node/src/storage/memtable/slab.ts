/**
 * The memtable's memory: slabs of shared memory, so that a sealed memtable goes to the flush worker without a copy. Slabs are reused:
 * fresh memory of this size costs page faults for every flush.
 */

import { Buffer } from 'node:buffer';

/** A power of two; a reference into a memtable counts on it. */
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
  /** Bytes of slabs handed out, and of those kept for reuse. */
  lentBytes = 0;

  /** @param keep slabs to keep for reuse at most */
  constructor(keep: number) {
    this.#keep = keep;
  }

  get idleBytes(): number {
    return this.#free.length * SLAB_BYTES;
  }

  /** A slab of SLAB_BYTES, or of more where a single frame needs more. */
  take(least: number): Slab {
    const size = Math.max(SLAB_BYTES, Math.ceil(least / SLAB_BYTES) * SLAB_BYTES);
    this.lentBytes += size;
    const slab = size === SLAB_BYTES ? this.#free.pop() : undefined;
    if (slab === undefined) return slabOver(new SharedArrayBuffer(size));
    slab.used = 0;
    return slab;
  }

  giveBack(slabs: readonly Slab[]): void {
    for (const slab of slabs) {
      this.lentBytes -= slab.bytes.length;
      if (slab.bytes.length === SLAB_BYTES && this.#free.length < this.#keep) this.#free.push(slab);
    }
  }
}
