/**
 * How late the frames of a connection arrive: not after how long a way, but how much later than its fastest ones. A request may wait where no
 * deadline runs: in a stopped process, behind a lost packet, in a router. When it is heard at last its sender has long given up, and perhaps
 * written something newer elsewhere; carried out then, it would undo that.
 *
 * The sender marks the stream with its clock before what it sends, again whenever MARK_EVERY_MS have passed since the last mark. Only differences
 * count, so that the two clocks need not agree; they may drift apart by DRIFT_MOST of the time that passes.
 *
 * Invariant: `lateMs` is never more than the frame was late, but for drift beyond the bound; it falls short by at most MARK_EVERY_MS and what the
 * bound allows since the fastest mark.
 */

/** The longest that a sender goes on behind one mark. */
export const MARK_EVERY_MS = 10;
/** Quartz clocks stay below a tenth of it. */
export const DRIFT_MOST = 0.005;

export class Lateness {
  /** The latest mark. */
  #sentMs = 0;
  /** The difference of the clocks as the fastest mark showed it, and when that was sent. */
  #fastest = Infinity;
  #fastestSentMs = 0;

  /**
   * @param sentMs the sender's monotonic clock
   * @param readMs this node's, at the mark's arrival
   * @param waited it had arrived earlier, and waited to be read: it is one of the fast ones only where it is the fastest all the same
   */
  mark(sentMs: number, readMs: number, waited: boolean): void {
    this.#sentMs = sentMs;
    const apart = readMs - sentMs;
    if (waited ? apart >= this.#fastest || !this.known : apart > this.#allowed()) return;
    this.#fastest = apart;
    this.#fastestSentMs = sentMs;
  }

  /** Whether a mark has shown how far the clocks are apart: before that nothing is found late. */
  get known(): boolean {
    return this.#fastest !== Infinity;
  }

  /** How late a frame is that arrives behind the latest mark; 0 before the first. */
  lateMs(arrivedMs: number): number {
    if (this.#fastest === Infinity) return 0;
    return Math.max(0, arrivedMs - this.#sentMs - this.#allowed() - MARK_EVERY_MS);
  }

  /** What the difference may have become by drift alone. */
  #allowed(): number {
    return this.#fastest + DRIFT_MOST * Math.abs(this.#sentMs - this.#fastestSentMs);
  }
}
