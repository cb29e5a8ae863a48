/**
 * Which client writes of late were begun, as far as this node knows: as the coordinator, or as a replica that has the result. Whoever hands a write
 * to a second coordinator, because the first is silent (hedged requests: Dean and Barroso, "The Tail at Scale", 2013), has it ask here first, so
 * that the write is finished and not made a second time.
 *
 * What is forgotten, by a restart or because much was written since, costs no write: it is then made again, by the second coordinator alone, since
 * the first begins none that comes late.
 *
 * Invariants: an attempt is known until WAYS others came to its set, of which there are SETS; memory is constant. Nodes count their ids from a random
 * one of 2^52: that two of them give the same within what is remembered is less likely than a wrong checksum.
 */

import { invariant } from '../../base/errors.ts';

const WAYS = 4;
export const SETS = 16_384;
const TWO_32 = 2 ** 32;

export class Attempts {
  #nextId: number;
  /** Set by set; negative where the key existed before the write, 0 where nothing is remembered. */
  readonly #ids = new Float64Array(SETS * WAYS);
  /** In each set, the place of the oldest. */
  readonly #oldest = new Uint8Array(SETS);

  /** @param high 20 random bits at least, @param low 32: where this node's ids begin */
  constructor(high: number, low: number) {
    this.#nextId = 1 + (high % 2 ** 20) * TWO_32 + low;
  }

  /** Names a write: 1 to 2^53-1, never given before. */
  name(): number {
    const id = this.#nextId;
    this.#nextId += 1;
    return id;
  }

  /** The write of that id was begun, and a copy here holds it. */
  note(id: number, existed: boolean): void {
    invariant(Number.isSafeInteger(id) && id > 0, 'an attempt has an id');
    const set = id % SETS;
    const place = this.#oldest[set] ?? 0;
    this.#ids[set * WAYS + place] = existed ? -id : id;
    this.#oldest[set] = (place + 1) % WAYS;
  }

  /** Whether the key existed before the write of that id; undefined where that is not known to have begun. */
  find(id: number): boolean | undefined {
    const from = (id % SETS) * WAYS;
    for (let at = from; at < from + WAYS; at += 1) {
      const known = this.#ids[at];
      if (known === id) return false;
      if (known === -id && id !== 0) return true;
    }
    return undefined;
  }
}
