/**
 * When a second replica is asked for a value, or a second coordinator for a write (Dean and Barroso, "The Tail at Scale", 2013): after the 95th
 * percentile of what the first took lately, and for at most 5% of the operations.
 */

const BUCKETS = 96;
/** Samples after which old ones count half. */
const HALF_LIFE = 1024;
const BUDGET = 0.05;
/** Hedges that may be saved up. */
const SAVED = 10;
/** Before there is anything to go by. */
const FIRST_GUESS_MS = 20;
const LEAST_SAMPLES = 32;

export class Hedging {
  /** Counts of latencies by powers of 2^(1/4), from 1/16 ms. */
  readonly #counts = new Float64Array(BUCKETS);
  #samples = 0;
  #fresh = 0;
  #budget = SAVED;
  #delayMs = FIRST_GUESS_MS;

  /** How long to wait for the first before a second one is asked, in ms. */
  get delayMs(): number {
    return this.#delayMs;
  }

  /** An operation began: it adds its share to the budget. */
  began(): void {
    this.#budget = Math.min(SAVED, this.#budget + BUDGET);
  }

  /** Takes one hedge from the budget; false when it is used up. */
  take(): boolean {
    if (this.#budget < 1) return false;
    this.#budget -= 1;
    return true;
  }

  /** An answer took so long to come. */
  observe(ms: number): void {
    // The position is found by doubling, not by a logarithm: those differ between machines.
    let bucket = 0;
    let bound = 0.0625;
    while (bound < ms && bucket < BUCKETS - 1) {
      bound *= 1.189207115002721;
      bucket += 1;
    }
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#samples += 1;
    this.#fresh += 1;
    if (this.#fresh >= HALF_LIFE || (this.#samples >= LEAST_SAMPLES && this.#fresh % 64 === 0)) this.#estimate();
  }

  #estimate(): void {
    const wanted = 0.95 * this.#samples;
    let seen = 0;
    let bound = 0.0625;
    for (let i = 0; i < BUCKETS; i += 1) {
      seen += this.#counts[i] ?? 0;
      if (seen >= wanted) break;
      bound *= 1.189207115002721;
    }
    this.#delayMs = Math.max(1, bound);
    if (this.#fresh < HALF_LIFE) return;
    this.#fresh = 0;
    this.#samples = 0;
    for (let i = 0; i < BUCKETS; i += 1) {
      this.#counts[i] = Math.floor((this.#counts[i] ?? 0) / 2);
      this.#samples += this.#counts[i] ?? 0;
    }
  }
}
