/** A number of bytes that many owners share. */
export class ByteBudget {
  readonly #most: number;
  #taken = 0;

  constructor(most: number) {
    this.#most = most;
  }

  get taken(): number {
    return this.#taken;
  }

  /** False, and nothing is taken, where there is not enough left. */
  take(bytes: number): boolean {
    if (this.#taken + bytes > this.#most) return false;
    this.#taken += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#taken -= bytes;
  }
}

/** What one owner has taken of a budget, given back at once. */
export class ByteClaim {
  readonly #budget: ByteBudget;
  #taken = 0;

  constructor(budget: ByteBudget) {
    this.#budget = budget;
  }

  get taken(): number {
    return this.#taken;
  }

  /** As the budget's. */
  take(bytes: number): boolean {
    if (!this.#budget.take(bytes)) return false;
    this.#taken += bytes;
    return true;
  }

  /** Idempotent. */
  release(): void {
    this.#budget.give(this.#taken);
    this.#taken = 0;
  }
}
