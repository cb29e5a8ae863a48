/**
 * Compaction yields to the foreground: while one runs, the executor is told again and again which share of the time it may take.
 *
 * Invariant: the closer level 0 comes to where writes are slowed down, the less it yields, and half-way there not at all: a stall would cost the
 * foreground more than compaction does.
 */

import type { Timer } from '../../env/clock.ts';
import type { Settings } from '../options.ts';

const ASK_MS = 250;

export class CompactionPace {
  readonly #settings: Settings;
  /** Tables in level 0 now. */
  readonly #level0: () => number;
  #timer: Timer | undefined;
  #share = 1;

  constructor(settings: Settings, level0: () => number) {
    this.#settings = settings;
    this.#level0 = level0;
  }

  /** A compaction runs from now on. */
  begin(): void {
    this.#set(shareOf(this.#settings.backgroundShare(), this.#level0(), this.#settings));
    this.#timer = this.#settings.clock.after(ASK_MS, () => {
      this.begin();
    });
  }

  /** None runs. */
  end(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#set(1);
  }

  #set(share: number): void {
    if (share === this.#share) return;
    this.#share = share;
    this.#settings.executor.pace(share);
  }
}

/** The share that the foreground leaves, or what level 0 calls for if that is more. */
export function shareOf(
  left: number,
  level0: number,
  { level0Compact, level0Slow }: Pick<Settings, 'level0Compact' | 'level0Slow'>,
): number {
  const half = Math.max(1, (level0Slow - level0Compact) / 2);
  return Math.min(1, Math.max(left, (level0 - level0Compact) / half));
}
