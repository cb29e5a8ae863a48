/**
 * Many deadlines on one timer: a timing wheel (Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", scheme 6). Adding and removing
 * cost a few pointers; a deadline fires in the first tick after it, never early. The timer is set only while there are deadlines, for the
 * earliest tick that holds any.
 */

import type { Clock, Timer } from '../env/clock.ts';

const TICK_MS = 8;
const SLOTS = 512;
/** In place of the tick that the timer is set for: none will be any more. */
const CLOSED = -1;
/** In place of a tick: out of the wheel, about to run. */
const EXPIRING = -1;

/** Something that may run out of time. In at most one wheel, at most once. */
export abstract class Deadline {
  /** Neighbours in the slot; the wheel's alone. */
  before: Deadline | undefined;
  after: Deadline | undefined;
  tick = 0;

  /** Time is up; it is no more in the wheel. */
  abstract expire(): void;
}

/** The ring's fixed point in each slot. */
class Anchor extends Deadline {
  constructor() {
    super();
    this.before = this;
    this.after = this;
  }

  override expire(): void {
    // An anchor is never due.
  }
}

export class Deadlines {
  readonly #clock: Clock;
  readonly #slots: Anchor[] = Array.from({ length: SLOTS }, () => new Anchor());
  #count = 0;
  /** The tick the timer is set for; Infinity without one. */
  #armed = Infinity;
  #timer: Timer | undefined;
  /** Every tick up to it has been served. */
  #served: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#served = Math.floor(clock.monotonicMs() / TICK_MS);
  }

  /** Deadlines pending. */
  get size(): number {
    return this.#count;
  }

  /** @param atMs monotonic */
  add(deadline: Deadline, atMs: number): void {
    const tick = Math.max(Math.ceil(atMs / TICK_MS), this.#served + 1);
    const anchor = this.#slots[tick % SLOTS];
    const last = anchor?.before;
    if (anchor === undefined || last === undefined) return;
    deadline.tick = tick;
    deadline.before = last;
    deadline.after = anchor;
    last.after = deadline;
    anchor.before = deadline;
    this.#count += 1;
    if (tick < this.#armed) this.#arm(tick);
  }

  /** No effect on a deadline that has expired or was removed. */
  remove(deadline: Deadline): void {
    const { before, after } = deadline;
    deadline.tick = 0;
    if (before === undefined || after === undefined) return;
    before.after = after;
    after.before = before;
    deadline.before = undefined;
    deadline.after = undefined;
    this.#count -= 1;
  }

  /** Forgets the timer; pending deadlines never expire. */
  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#armed = CLOSED;
  }

  #arm(tick: number): void {
    this.#timer?.cancel();
    this.#armed = tick;
    this.#timer = this.#clock.after(Math.max(0, tick * TICK_MS - this.#clock.monotonicMs()), () => {
      this.#serve();
    });
  }

  #serve(): void {
    const now = Math.floor(this.#clock.monotonicMs() / TICK_MS);
    this.#timer = undefined;
    this.#armed = Infinity;
    const from = Math.max(this.#served + 1, now - SLOTS + 1);
    this.#served = now;
    for (let tick = from; tick <= now; tick += 1) this.#expireSlot(tick % SLOTS, now);
    // What expired may have added others, later ones than those that were there before, and may have closed the wheel.
    if (this.#count > 0 && this.#armed !== CLOSED) {
      const next = this.#nextTick();
      if (next < this.#armed) this.#arm(next);
    }
  }

  /** Takes out all that is due before any of it runs, because what runs may add and remove. */
  #expireSlot(slot: number, now: number): void {
    const anchor = this.#slots[slot];
    const due: Deadline[] = [];
    for (let deadline = anchor?.after; deadline !== undefined && deadline !== anchor;) {
      const next: Deadline | undefined = deadline.after;
      if (deadline.tick <= now) {
        this.remove(deadline);
        deadline.tick = EXPIRING;
        due.push(deadline);
      }
      deadline = next;
    }
    for (const deadline of due) if (deadline.tick === EXPIRING) deadline.expire();
  }

  /** The first tick after those served whose slot holds anything: nothing in it needs to be due yet. */
  #nextTick(): number {
    for (let ahead = 1; ahead < SLOTS; ahead += 1) {
      const anchor = this.#slots[(this.#served + ahead) % SLOTS];
      if (anchor?.after !== anchor) return this.#served + ahead;
    }
    return this.#served + SLOTS;
  }
}
