/** Which writes may have a second coordinator (hedged-write.ts), and after what time it is asked. */

import { Hedging } from './hedging.ts';
import type { WriteCommand } from './write-command.ts';

/** Time in ms that the first coordinator has at least to begin a write, from its sending on: it has nothing to wait for but its disk and its turn. */
export const FIRST_WITHIN_MS = 25;
/** The second one asks others before. */
export const SECOND_WITHIN_MS = 200;
/** For clocks that do not run alike, in ms, beside what the transport allows for. */
export const MARGIN_MS = 2;
/** A coordinator that is only slow is given so many times the 95th percentile, so that what may be spent on slow ones is there for the slowest. */
const SLOW = 2;
/** But no more than this, and where requests may be late unseen by more than this there is no second: the write's records are kept for so long only. */
const MOST_PATIENCE_MS = 500;
const MOST_UNSEEN_MS = 200;
/** A coordinator that refused for its clock's sake is not hedged for so long. */
const UNFIT_MS = 10_000;

/** Whether it does not show if the write was made twice. */
function mayBeMadeTwice({ kind, context, keepTtl, operationId }: WriteCommand): boolean {
  return kind !== 'expire' && context === undefined && !keepTtl && operationId === undefined;
}

export class WriteHedging extends Hedging {
  /** Members whose clocks are ahead, and until when, on the monotonic clock, that is taken to be so. */
  readonly #unfit = new Map<string, number>();

  /** Its clock is ahead of this node's: what it makes of a write could not be told from what a second one does. */
  setUnfit(member: string, nowMs: number): void {
    this.#unfit.set(member, nowMs + UNFIT_MS);
  }

  /** Whether the write may be hedged where `member` coordinates it. */
  admits(command: WriteCommand, member: string, nowMs: number): boolean {
    return mayBeMadeTwice(command) && (this.#unfit.size === 0 || nowMs >= (this.#unfit.get(member) ?? 0));
  }

  /** After what time a second coordinator is asked, in ms; undefined where none is. @param unseenMs Transport.unseenMs of the first */
  afterMs(unseenMs: number): number | undefined {
    if (!this.isSoonSeen(unseenMs)) return undefined;
    return Math.max(Math.min(SLOW * this.delayMs, MOST_PATIENCE_MS), FIRST_WITHIN_MS + unseenMs + MARGIN_MS);
  }

  /**
   * Within what time of its sending the first coordinator begins a write or never, in ms: all of the time for which the second waits anyway. What comes
   * too late has cost two nodes their work and is made by another; where turns are long that would be much of the load.
   *
   * @param afterMs `afterMs(unseenMs)`
   */
  firstWithinMs(afterMs: number, unseenMs: number): number {
    return Math.max(FIRST_WITHIN_MS, Math.floor(afterMs - unseenMs - MARGIN_MS));
  }

  /** Whether a coordinator finds out in time that a request is late. */
  isSoonSeen(unseenMs: number): boolean {
    return unseenMs <= MOST_UNSEEN_MS;
  }
}
