/**
 * How much the loop may read synchronously: a number of reads and a time for each turn, and none from a file that was slow within the last
 * second. So a cold disk costs the loop a fraction of a millisecond a turn, and a warm one is read without a thread hop.
 */

import type { Clock } from '../../env/clock.ts';
import type { TableFile } from '../sstable/table-file.ts';

const SLOW_FOR_MS = 1000;
/** A read that takes this many times a turn's whole allowance was slow. */
const SLOW_FACTOR = 2.5;
/** So many slow reads in a row make their file slow: one alone is more often a processor taken away than a disk that is busy. */
const SLOW_READS = 2;

export class ReadBudget {
  readonly #clock: Clock;
  readonly #reads: number;
  readonly #ms: number;
  #usedReads = 0;
  #usedMs = 0;
  #resets = false;
  readonly #onTurn: () => void;
  slowReads = 0;

  /** @param onTurn runs at the start of the turn after one that read */
  constructor(clock: Clock, reads: number, ms: number, onTurn: () => void) {
    this.#clock = clock;
    this.#reads = reads;
    this.#ms = ms;
    this.#onTurn = onTurn;
  }

  /** Whether the file may be read synchronously, now or in a later turn. */
  isFast(table: TableFile): boolean {
    return this.#reads > 0 && this.#ms > 0 && (table.slowUntilMs === 0 || this.#clock.monotonicMs() >= table.slowUntilMs);
  }

  /** Whether this turn has any left. */
  get hasTurn(): boolean {
    return this.#usedReads < this.#reads && this.#usedMs < this.#ms;
  }

  /** Runs `read`, which is one synchronous read of the table, and charges it. */
  charge<T>(table: TableFile, read: () => T): T {
    this.nextTurn();
    const before = this.#clock.monotonicMs();
    try {
      return read();
    } finally {
      const after = this.#clock.monotonicMs();
      const took = after - before;
      this.#usedReads += 1;
      this.#usedMs += took;
      if (took > this.#ms * SLOW_FACTOR) {
        table.slowReads += 1;
        this.slowReads += 1;
        if (table.slowReads >= SLOW_READS) table.slowUntilMs = after + SLOW_FOR_MS;
      } else {
        table.slowReads = 0;
      }
    }
  }

  /** Makes sure that a new turn, with a new budget, is announced. */
  nextTurn(): void {
    if (this.#resets) return;
    this.#resets = true;
    this.#clock.soon(() => {
      this.#resets = false;
      this.#usedReads = 0;
      this.#usedMs = 0;
      this.#onTurn();
    });
  }
}
