/**
 * The accusations that a node knows of: who found whom silent, in which life of both.
 *
 * Invariants: all accusations of a member are of one life of it, the highest that anybody accused; an observer stands there once, with its highest
 * life; of one zone at most two observers are kept and of one member at most four, which is all that a verdict can need.
 */

import type { Accusation } from './gossip.ts';

const MOST_OBSERVERS = 4;
const MOST_OF_A_ZONE = 2;

interface Witness {
  observer: number;
  incarnation: number;
  /** Times that it is still to be passed on as news. */
  left: number;
}

interface Case {
  incarnation: number;
  readonly witnesses: Witness[];
}

export class Accusations {
  readonly #zones: readonly number[];
  readonly #cases = new Map<number, Case>();
  /** Times that something is still to be passed on. */
  #left = 0;

  /** @param zones the members' zones, numbered */
  constructor(zones: readonly number[]) {
    this.#zones = zones;
  }

  /** The members that are accused. */
  members(): IterableIterator<number> {
    return this.#cases.keys();
  }

  get empty(): boolean {
    return this.#cases.size === 0;
  }

  /** There is news to pass on. */
  get news(): boolean {
    return this.#left > 0;
  }

  accused(member: number): boolean {
    return this.#cases.has(member);
  }

  /** The life of the member that is accused; 0 where none is. */
  incarnationOf(member: number): number {
    return this.#cases.get(member)?.incarnation ?? 0;
  }

  accuses(observer: number, member: number): boolean {
    return this.#cases.get(member)?.witnesses.some((witness) => witness.observer === observer) === true;
  }

  /** The observers of a member's case and their lives, in the order in which they became known. */
  witnesses(member: number): readonly Readonly<Pick<Witness, 'observer' | 'incarnation'>>[] {
    return this.#cases.get(member)?.witnesses ?? [];
  }

  /** Takes in an accusation; false where it was known, is of a life gone by, or is not needed. */
  add({ member, incarnation, observer, observerIncarnation }: Accusation, retellings: number): boolean {
    let known = this.#cases.get(member);
    if (known !== undefined && incarnation < known.incarnation) return false;
    if (known === undefined || incarnation > known.incarnation) {
      this.drop(member);
      known = { incarnation, witnesses: [] };
      this.#cases.set(member, known);
    }
    const same = known.witnesses.find((witness) => witness.observer === observer);
    if (same !== undefined) {
      if (observerIncarnation <= same.incarnation) return false;
      same.incarnation = observerIncarnation;
      this.#left += retellings - same.left;
      same.left = retellings;
      return true;
    }
    const zone = this.#zones[observer];
    const ofZone = known.witnesses.reduce((count, witness) => count + (this.#zones[witness.observer] === zone ? 1 : 0), 0);
    if (known.witnesses.length >= MOST_OBSERVERS || ofZone >= MOST_OF_A_ZONE) return false;
    known.witnesses.push({ observer, incarnation: observerIncarnation, left: retellings });
    this.#left += retellings;
    return true;
  }

  /** The member is cleared. */
  drop(member: number): void {
    for (const witness of this.#cases.get(member)?.witnesses ?? []) this.#left -= witness.left;
    this.#cases.delete(member);
  }

  /** Takes back what an observer said of one member. */
  withdraw(observer: number, member: number): void {
    const known = this.#cases.get(member);
    if (known !== undefined) this.#remove(member, known, (witness) => witness.observer === observer);
  }

  /** Takes back all that an observer said in its lives before `incarnation`. */
  lapse(observer: number, incarnation: number): void {
    for (const [member, known] of this.#cases) {
      this.#remove(member, known, (witness) => witness.observer === observer && witness.incarnation < incarnation);
    }
  }

  /**
   * Adds accusations to a message: first those of its receiver, who must hear of them, then news, then, in an exchange, others in no order that
   * matters; up to `most` in all.
   */
  tell(into: Accusation[], receiver: number, exchange: boolean, most: number): void {
    this.#tellOf(receiver, into, most, true);
    if (this.#left > 0) for (const member of this.#cases.keys()) if (member !== receiver) this.#tellOf(member, into, most, false);
    if (!exchange) return;
    // The map's order changes only when cases come and go: the oldest one goes to the end, so that all get their turn.
    for (let turns = this.#cases.size; turns > 0 && into.length < most; turns -= 1) {
      const [oldest] = this.#cases;
      if (oldest === undefined) return;
      this.#cases.delete(oldest[0]);
      this.#cases.set(...oldest);
      if (oldest[0] !== receiver) this.#tellOf(oldest[0], into, most, true);
    }
  }

  #remove(member: number, { witnesses }: Case, which: (witness: Witness) => boolean): void {
    const at = witnesses.findIndex(which);
    if (at < 0) return;
    this.#left -= witnesses[at]?.left ?? 0;
    witnesses.splice(at, 1);
    if (witnesses.length === 0) this.#cases.delete(member);
  }

  #tellOf(member: number, into: Accusation[], most: number, old: boolean): void {
    const known = this.#cases.get(member);
    if (known === undefined) return;
    for (const witness of known.witnesses) {
      if (into.length >= most) return;
      if (witness.left === 0 && !old) continue;
      const { observer, incarnation: observerIncarnation } = witness;
      if (old && into.some((told) => told.member === member && told.observer === observer)) continue;
      if (witness.left > 0) {
        witness.left -= 1;
        this.#left -= 1;
      }
      into.push({ member, incarnation: known.incarnation, observer, observerIncarnation });
    }
  }
}
