/**
 * Many short-lived timers on one clock timer: deadlines and hedges of operations, nearly all of which are cancelled.
 *
 * Invariants: a timer runs at the first tick at or after its time, never early, unless it was cancelled; timers of one tick run in the order in
 * which they were set; with no timer set, no clock timer is pending.
 */

import type { Clock, Timer } from '../env/clock.ts';

class WheelTimer implements Timer {
  readonly run: () => void;
  readonly slot: Set<WheelTimer>;

  constructor(slot: Set<WheelTimer>, run: () => void) {
    this.slot = slot;
    this.run = run;
  }

  cancel(): void {
    this.slot.delete(this);
  }
}

export class TimerWheel {
  readonly #clock: Clock;
  readonly #tickMs: number;
  readonly #slots = new Map<number, Set<WheelTimer>>();
  #armed: Timer | undefined;
  #armedTick = Infinity;

  /** @param tickMs how late a timer may be, in ms */
  constructor(clock: Clock, tickMs: number) {
    this.#clock = clock;
    this.#tickMs = tickMs;
  }

  after(delayMs: number, run: () => void): Timer {
    const tick = Math.ceil((this.#clock.monotonicMs() + delayMs) / this.#tickMs);
    let slot = this.#slots.get(tick);
    if (slot === undefined) {
      slot = new Set();
      this.#slots.set(tick, slot);
    }
    const timer = new WheelTimer(slot, run);
    slot.add(timer);
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
      for (const timer of slot ?? []) timer.run();
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
      if (slot.size === 0) this.#slots.delete(tick);
      else if (tick < next) next = tick;
    }
    if (next < this.#armedTick) this.#arm(next);
  }
}
