/**
 * Many short-lived timers on one clock timer: deadlines and hedges of operations, nearly all of which are cancelled.
 *
 * Invariants: a timer runs at the first tick at or after its time, never early, unless it was cancelled; timers of one tick run in the order in
 * which they were set; with no timer set, no clock timer is pending.
 */

import type { Clock, Timer } from '../env/clock.ts';

/** A timer in its slot's ring; the slot itself is what the ring begins and ends with, so that one is put in and taken out without a search. */
class WheelTimer implements Timer {
  readonly run: () => void;
  before: WheelTimer = this;
  behind: WheelTimer = this;

  constructor(run: () => void) {
    this.run = run;
  }

  cancel(): void {
    this.before.behind = this.behind;
    this.behind.before = this.before;
    this.before = this;
    this.behind = this;
  }
}

const nothing = (): void => undefined;

export class TimerWheel {
  readonly #clock: Clock;
  readonly #tickMs: number;
  readonly #slots = new Map<number, WheelTimer>();
  #armed: Timer | undefined;
  #armedTick = Infinity;

  /** @param tickMs how late a timer may be, in ms */
  constructor(clock: Clock, tickMs: number) {
    this.#clock = clock;
    this.#tickMs = tickMs;
  }

  after(delayMs: number, run: () => void): Timer {
    return this.at(this.#clock.monotonicMs() + delayMs, run);
  }

  /** @param timeMs monotonic; one that is past is as soon as can be */
  at(timeMs: number, run: () => void): Timer {
    const tick = Math.ceil(timeMs / this.#tickMs);
    let slot = this.#slots.get(tick);
    if (slot === undefined) {
      slot = new WheelTimer(nothing);
      this.#slots.set(tick, slot);
    }
    const timer = new WheelTimer(run);
    timer.before = slot.before;
    timer.behind = slot;
    slot.before.behind = timer;
    slot.before = timer;
    if (tick < this.#armedTick) this.#arm(tick);
    return timer;
  }

  /** Runs every timer now, in order of time: whatever waits for one is over. */
  close(): void {
    this.#armed?.cancel();
    this.#armed = undefined;
    this.#armedTick = Infinity;
    this.#run([...this.#slots.keys()]);
  }

  #run(ticks: number[]): void {
    for (const tick of ticks.sort((a, b) => a - b)) {
      const slot = this.#slots.get(tick);
      this.#slots.delete(tick);
      if (slot === undefined) continue;
      for (let timer = slot.behind; timer !== slot; timer = slot.behind) {
        timer.cancel();
        timer.run();
      }
    }
  }

  #arm(tick: number): void {
    this.#armed?.cancel();
    this.#armedTick = tick;
    const delayMs = Math.max(0, tick * this.#tickMs - this.#clock.monotonicMs());
    this.#armed = this.#clock.after(delayMs, () => {
      this.#turn();
    });
  }

  #turn(): void {
    this.#armed = undefined;
    this.#armedTick = Infinity;
    const now = this.#clock.monotonicMs() / this.#tickMs;
    this.#run([...this.#slots.keys()].filter((tick) => tick <= now));
    let next = Infinity;
    for (const [tick, slot] of this.#slots) {
      if (slot.behind === slot) this.#slots.delete(tick);
      else if (tick < next) next = tick;
    }
    if (next < this.#armedTick) this.#arm(next);
  }
}
