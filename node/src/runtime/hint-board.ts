/**
 * Who keeps hints for whom, as the cluster tells: what this store keeps, and what its peers said they keep.
 *
 * Invariants: what changed here is told within one interval, which grows with the cluster, and nothing is told while nothing changes; a peer that cannot
 * be reached is shown with what it said last, because it still has it.
 */

import type { Clock, Timer } from '../env/clock.ts';
import type { HintBacklog } from '../transport/messages/notice.ts';
import type { WaitingHints } from './kv.ts';

/** Between two tellings: at least this, and so much for each member. */
const LEAST_MS = 250;
const MS_PER_MEMBER = 20;

export interface HintBoardParts {
  readonly self: string;
  readonly members: number;
  readonly clock: Clock;
  readonly own: () => HintBacklog[];
  /** Tells every peer what is kept here. */
  readonly tell: () => void;
}

export class HintBoard {
  readonly #parts: HintBoardParts;
  readonly #heard = new Map<string, readonly HintBacklog[]>();
  #told = '[]';
  #timer: Timer | undefined;
  #stopped = false;

  constructor(parts: HintBoardParts) {
    this.#parts = parts;
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  /** What is kept here has changed. */
  touched(): void {
    if (this.#timer !== undefined || this.#stopped) return;
    const { clock, members } = this.#parts;
    this.#timer = clock.after(Math.max(LEAST_MS, members * MS_PER_MEMBER), () => {
      this.#timer = undefined;
      const now = JSON.stringify(this.#parts.own());
      if (now === this.#told) return;
      this.#told = now;
      this.#parts.tell();
    });
  }

  /** A peer has said what it keeps. */
  heard(holder: string, backlogs: readonly HintBacklog[]): void {
    if (backlogs.length === 0) this.#heard.delete(holder);
    else this.#heard.set(holder, backlogs);
  }

  /** Everything that waits for a member, by who keeps it. */
  waitingFor(member: string): WaitingHints[] {
    const kept: WaitingHints[] = [];
    const look = (holder: string, backlogs: readonly HintBacklog[]): void => {
      for (const { member: target, hints, bytes, debt } of backlogs) if (target === member) kept.push({ holder, hints, bytes, debt });
    };
    look(this.#parts.self, this.#parts.own());
    for (const [holder, backlogs] of this.#heard) look(holder, backlogs);
    return kept.sort((a, b) => (a.holder < b.holder ? -1 : 1));
  }
}
