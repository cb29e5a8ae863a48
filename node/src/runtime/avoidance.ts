/**
 * Which members this node avoids: those that have left a ping or a prompt request unanswered for a probe's time, until they answer again.
 *
 * It is this node's own routing decision, made from what it sees itself. An avoided member is still sent what is its own.
 */

import type { Timer } from '../env/clock.ts';
import type { Transport } from '../transport/transport.ts';
import type { NodeCore } from './core.ts';

/** How long an answer may be waited for before the member is avoided, in ms. */
export const PROBE_MS = 500;
const LOOK_EVERY_MS = PROBE_MS / 2;

export interface AvoidanceParts extends Pick<NodeCore, 'clock' | 'members'> {
  readonly transport: Pick<Transport, 'waitedMs'>;
}

export class Avoidance {
  readonly #parts: AvoidanceParts;
  #timer: Timer | undefined;
  #lookedMs = 0;

  constructor(parts: AvoidanceParts) {
    this.#parts = parts;
  }

  begin(): void {
    if (this.#parts.members.names.length > 1) this.#later();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #later(): void {
    const { clock } = this.#parts;
    this.#lookedMs = clock.monotonicMs();
    this.#timer = clock.after(LOOK_EVERY_MS, () => {
      this.#look();
      this.#later();
    });
  }

  #look(): void {
    const { clock, members, transport } = this.#parts;
    // Who looks late was held up itself, and has not read what has come meanwhile.
    const late = clock.monotonicMs() - this.#lookedMs > 2 * LOOK_EVERY_MS;
    for (const [index, name] of members.names.entries()) {
      const waited = transport.waitedMs(name) >= PROBE_MS;
      if (!waited || !late) members.setAvoided(index, waited);
    }
  }
}
