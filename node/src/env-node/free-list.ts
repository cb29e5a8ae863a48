/** Buffers for reuse, in classes of powers of two. What is kept is bounded in bytes; a buffer above the largest class is never kept. */

const SMALLEST_BITS = 14;
const LARGEST_BITS = 20;
const KEPT_BYTES = 8 * 1024 * 1024;

export class FreeList {
  readonly #classes: Buffer[][] = Array.from({ length: LARGEST_BITS - SMALLEST_BITS + 1 }, () => []);
  #kept = 0;

  /** Bytes kept for reuse now. */
  get keptBytes(): number {
    return this.#kept;
  }

  /** A buffer of at least `length` bytes with unspecified contents. */
  take(length: number): Buffer {
    const bits = Math.max(SMALLEST_BITS, 32 - Math.clz32(length - 1));
    const buffer = this.#classes[bits - SMALLEST_BITS]?.pop();
    if (buffer !== undefined) {
      this.#kept -= buffer.length;
      return buffer;
    }
    return Buffer.allocUnsafeSlow(bits > LARGEST_BITS ? length : 2 ** bits);
  }

  /** Takes back what `take` answered. Nobody may use it any more. */
  give(buffer: Buffer): void {
    const kept = this.#classes[31 - Math.clz32(buffer.length) - SMALLEST_BITS];
    if (kept === undefined || this.#kept + buffer.length > KEPT_BYTES) return;
    this.#kept += buffer.length;
    kept.push(buffer);
  }
}
