/**
 * The actor that a store coordinates with as a fallback: when no primary of a key is healthy, it mints dots into its hinted copy.
 *
 * A dot claims that its holder has everything that its actor ever minted for the key (versioning/object.ts). A store that has handed a hint off
 * and dropped it has no longer what it minted there, so its actor must never mint for that key again: the new dot would declare the old one
 * dead. Two rules make that so, without a record of keys:
 *
 * 1. As a fallback a store mints with an actor of its own, apart from the one that it mints with as a primary, whose copies are never dropped.
 *    It is drawn at random at the first use of a process and never written down: a crash, a lost, restored or rewound disk ends it, so no
 *    durable lease is needed.
 * 2. The first drop of a hint that this actor minted into *spends* it: the next dot is of a new actor. A dropped hint of other actors spends
 *    nothing, and neither do hints of actors spent before.
 *
 * So an actor mints for a key only while every hint that it ever minted into is still held: the key's own copy then has all its dots. What a key's
 * clock gains is one entry for each time that a hint of it was handed off and a fallback had to coordinate it again: failures, not writes. (The
 * trap: riak_kv #679, "actor amnesia".)
 */

import type { StoreId } from '../../base/ids.ts';
import { type Actor, actorOf, type ClockEntry, counterOf, type Dot } from '../versioning/object.ts';

export class StandInActor {
  readonly #store: () => { readonly storeId: StoreId; readonly actorEpoch: number };
  readonly #draw: () => number;
  #actor: Actor = '';
  #counter = 0;

  /**
   * @param store this store, and the epoch of the actor that it mints with as a primary
   * @param draw a uniform u32
   */
  constructor(store: () => { readonly storeId: StoreId; readonly actorEpoch: number }, draw: () => number) {
    this.#store = store;
    this.#draw = draw;
  }

  /** The next dot, for a hinted copy. */
  dot(): Dot {
    if (this.#actor === '') {
      const { storeId, actorEpoch } = this.#store();
      const drawn = this.#draw();
      this.#actor = actorOf(storeId, drawn === actorEpoch ? (drawn + 1) >>> 0 : drawn);
      this.#counter = 0;
    }
    this.#counter += 1;
    return { actor: this.#actor, counter: this.#counter };
  }

  /** Whether it has minted anything that a drop could take away. */
  get active(): boolean {
    return this.#actor !== '';
  }

  /** A hint with this clock was dropped, or was lost by damage, where the clock is unknown. */
  dropped(clock: readonly ClockEntry[] | undefined): void {
    if (clock === undefined || counterOf(clock, this.#actor) > 0) this.#actor = '';
  }
}
