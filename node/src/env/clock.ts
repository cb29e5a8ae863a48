/** Time, injected. Nothing outside `env-node` reads a clock or sets a timer by itself. */

export interface Timer {
  /** Idempotent; after it the callback does not run. */
  cancel(): void;
}

export interface Clock {
  /** Wall-clock milliseconds since 1970, whole. It may jump either way. */
  wallMs(): number;
  /** Milliseconds since some instant, possibly fractional. Never goes back. */
  monotonicMs(): number;
  /** Runs `fn` once, `delayMs` (>= 0) from now. A pending timer does not keep the process alive. */
  after(delayMs: number, fn: () => void): Timer;
  /** Runs `fn` once, after the events that are ready now: what gathers the writes of one turn of the loop. */
  soon(fn: () => void): void;
}
