/**
 * The latencies of a stretch of time, as counts in buckets a quarter of a doubling apart: quantiles to within a fifth, in constant memory, without
 * an allocation, and without a logarithm (those differ between machines).
 */

/** Buckets begin at 1/64 ms. */
const UNITS_PER_MS = 64;
const MOST_UNITS = 0x3fff_ffff;
const BUCKETS = 120;

export class LatencyWindow {
  readonly #counts = new Uint32Array(BUCKETS);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  observe(ms: number): void {
    const units = Math.min(MOST_UNITS, Math.max(0, ms * UNITS_PER_MS)) | 0;
    const exponent = 31 - Math.clz32(units | 1);
    const bucket = exponent < 2 ? units : (exponent << 2) | ((units >>> (exponent - 2)) & 3);
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#count += 1;
  }

  /** An upper bound of the quantile `q` (0 to 1), in ms; 0 where nothing was observed. */
  quantile(q: number): number {
    const rank = Math.max(1, Math.ceil(q * this.#count));
    let seen = 0;
    for (let bucket = 0; bucket < BUCKETS && this.#count > 0; bucket += 1) {
      seen += this.#counts[bucket] ?? 0;
      if (seen >= rank) return upperUnits(bucket) / UNITS_PER_MS;
    }
    return 0;
  }

  /** Makes all that was observed count half. */
  halve(): void {
    this.#count = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket += 1) {
      const half = (this.#counts[bucket] ?? 0) >>> 1;
      this.#counts[bucket] = half;
      this.#count += half;
    }
  }

  clear(): void {
    this.#counts.fill(0);
    this.#count = 0;
  }
}

/** Where the bucket ends, in units. */
function upperUnits(bucket: number): number {
  if (bucket < 8) return bucket + 1;
  const exponent = bucket >> 2;
  return (4 + (bucket & 3) + 1) * 2 ** (exponent - 2);
}
