/**
 * Hybrid logical time (Kulkarni et al., "Logical Physical Clocks", 2014): wall-clock milliseconds that never run backward, with a counter
 * for events within one millisecond. It orders blind writes; causality is the business of dots, never of time.
 *
 * Invariants: `now` answers strictly increasing times, also across restarts when the caller follows the rule of `ceilingMs`; a remote time
 * too far ahead is refused, so that one wrong clock cannot drag the others along; `logical` stays within 16 bits (it overflows into `ms`).
 */

import { CoterieError } from '../../base/errors.ts';

/** A hybrid time: `ms` since 1970, 0 to 2^48-1; `logical` 0 to 65,535. `{ms: 0, logical: 0}` means none. */
export interface HybridTime {
  readonly ms: number;
  readonly logical: number;
}

/** No time: smaller than every time that a clock gives. */
export const NO_TIME: HybridTime = { ms: 0, logical: 0 };

/** The highest `logical`; the next time is the next millisecond. */
export const MAX_LOGICAL = 0xffff;

/** How far ahead of this node's wall clock a remote time may be, in milliseconds. */
export const MAX_AHEAD_MS = 500;

/** The highest millisecond that fits the 48 bits it has on disk and wire. */
export const MAX_MS = 0xffff_ffff_ffff;

/** Negative when `a` is earlier than `b`, 0 when they are equal, positive when it is later. */
export function compareTime(a: HybridTime, b: HybridTime): number {
  return a.ms - b.ms || a.logical - b.logical;
}

/** The smallest time after `time`. */
export function nextTime(time: HybridTime): HybridTime {
  return time.logical < MAX_LOGICAL ? { ms: time.ms, logical: time.logical + 1 } : { ms: time.ms + 1, logical: 0 };
}

/** Whether `remote` was taken in; `ahead` when it is refused for being more than MAX_AHEAD_MS ahead of the wall clock. */
export type Observed = 'ok' | 'ahead';

export class Hlc {
  #ms: number;
  #logical = 0;

  /**
   * The millisecond that the caller has made durable as an upper bound of all times given or taken in. A time above it must not leave
   * the node before a higher ceiling is durable; after a restart the clock starts above it.
   */
  #ceilingMs: number;

  /** @param durableCeilingMs the ceiling made durable before the restart; 0 for a new store */
  constructor(durableCeilingMs = 0) {
    this.#ms = durableCeilingMs;
    this.#logical = durableCeilingMs === 0 ? 0 : MAX_LOGICAL;
    this.#ceilingMs = durableCeilingMs;
  }

  /** The highest time given or taken in. */
  get latest(): HybridTime {
    return { ms: this.#ms, logical: this.#logical };
  }

  /** The durable upper bound, in milliseconds; see `renewCeiling`. */
  get ceilingMs(): number {
    return this.#ceilingMs;
  }

  /** A time later than every one given or taken in before. Throws CLOCK_SKEW when the clock has left its 48 bits. */
  now(wallMs: number): HybridTime {
    if (wallMs > this.#ms) {
      this.#ms = wallMs;
      this.#logical = 0;
    } else if (this.#logical < MAX_LOGICAL) {
      this.#logical += 1;
    } else {
      this.#ms += 1;
      this.#logical = 0;
    }
    if (!(this.#ms <= MAX_MS)) {
      throw new CoterieError('CLOCK_SKEW', 'the wall clock is outside the range of hybrid time', { outcome: 'none' });
    }
    return { ms: this.#ms, logical: this.#logical };
  }

  /**
   * Takes in a time seen in a message or an object, so that every later `now` is after it. A time that this clock has passed already
   * drags nothing, and is `ok` however far behind the wall clock has jumped.
   */
  observe(remote: HybridTime, wallMs: number, mostAheadMs: number = MAX_AHEAD_MS): Observed {
    if (remote.ms > this.#ms) {
      if (remote.ms > wallMs + mostAheadMs) return 'ahead';
      this.#ms = remote.ms;
      this.#logical = remote.logical;
    } else if (remote.ms === this.#ms && remote.logical > this.#logical) {
      this.#logical = remote.logical;
    }
    return 'ok';
  }

  /**
   * The ceiling to make durable next, or `undefined` while the present one leaves at least `marginMs`. Hand the answer to
   * `confirmCeiling` once it is durable. A window below MAX_AHEAD_MS keeps a node that restarts at once acceptable to its peers.
   */
  renewCeiling(wallMs: number, windowMs: number, marginMs: number): number | undefined {
    const latest = Math.max(wallMs, this.#ms);
    return latest + marginMs < this.#ceilingMs ? undefined : latest + windowMs;
  }

  /** Records that `ceilingMs` is durable. */
  confirmCeiling(ceilingMs: number): void {
    if (ceilingMs > this.#ceilingMs) this.#ceilingMs = ceilingMs;
  }
}
