/**
 * One incarnation of a node: from its start to its crash or stop. Every event that the incarnation causes is owned by it.
 *
 * Invariants:
 * - After `fence()` none of its events runs, its clock throws, and (because all that could settle them are its events) its promises never
 *   settle. Nothing that it still runs reaches disk, network or trace.
 * - While paused its events wait, and run in their order when it resumes.
 */

import type { Clock, Timer } from '../../src/env/clock.ts';
import type { World, WorldEvent } from './world.ts';

/** What a dead incarnation's calls throw. Never a failure of a run. */
export class Fenced extends Error {
  override readonly name = 'Fenced';
  constructor(who: string) {
    super(`${who} is dead`);
  }
}

/** Whether `error` is, or was caused by, a call of a dead incarnation. */
export function isFenced(error: unknown): boolean {
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 8; at = at.cause, depth += 1) {
    if (at.name === 'Fenced') return true;
  }
  return false;
}

/** A machine's clocks; they outlive its processes. */
export interface HostClock {
  /** Wall clock minus virtual time, in microseconds. */
  offsetUs: number;
  /** Local microseconds per virtual microsecond: 1 is perfect. */
  rate: number;
}

export class Process implements Clock {
  readonly name: string;
  readonly world: World;
  readonly #host: HostClock;
  /** What had passed on its monotonic clock at some moment, and the rate from there on: another rate is no reason to go back. */
  #passedMs = 0;
  #passedAtUs: number;
  #rate: number;
  readonly #held: WorldEvent[] = [];
  #alive = true;
  #paused = false;
  /** How often it was paused. */
  pauses = 0;
  /** Until when a synchronous call holds its loop. */
  busyUntilUs = 0;
  /** Events of this incarnation that have not run: timers, disk and network completions. */
  pending = 0;

  constructor(world: World, name: string, host: HostClock) {
    this.world = world;
    this.name = name;
    this.#host = host;
    this.#passedAtUs = world.nowUs;
    this.#rate = host.rate;
  }

  get alive(): boolean {
    return this.#alive;
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** @throws Fenced when this incarnation is dead */
  check(): void {
    if (!this.#alive) throw new Fenced(this.name);
  }

  fence(): void {
    this.#alive = false;
    this.#held.length = 0;
  }

  pause(): void {
    this.#paused = true;
    this.pauses += 1;
  }

  resume(): void {
    this.#paused = false;
    for (const event of this.#held.splice(0)) if (!event.cancelled) this.world.requeue(event);
  }

  /** A synchronous call takes time: nothing else of this process runs meanwhile. */
  busy(us: number): void {
    this.busyUntilUs = Math.max(this.busyUntilUs, this.world.nowUs) + Math.ceil(us);
  }

  /** Keeps an event that came due during a pause. */
  hold(event: WorldEvent): void {
    this.#held.push(event);
  }

  wallMs(): number {
    this.check();
    return Math.floor((this.world.epochUs + this.#localUs() + this.#host.offsetUs) / 1000);
  }

  /** Includes what synchronous calls of this turn took, as a program sees that a call was slow. */
  monotonicMs(): number {
    this.check();
    const nowUs = Math.max(this.world.nowUs, this.busyUntilUs);
    const passedMs = this.#passedMs + (nowUs - this.#passedAtUs) * this.#rate * 0.001;
    if (this.#rate !== this.#host.rate) {
      this.#passedMs = passedMs;
      this.#passedAtUs = nowUs;
      this.#rate = this.#host.rate;
    }
    return passedMs;
  }

  after(delayMs: number, fn: () => void): Timer {
    this.check();
    if (!(delayMs >= 0)) throw new Error(`a timer of ${String(delayMs)} ms`);
    const event = this.world.schedule(Math.ceil((delayMs * 1000) / this.#host.rate), this, fn);
    return {
      cancel: (): void => {
        this.world.cancel(event);
      },
    };
  }

  soon(fn: () => void): void {
    this.check();
    this.world.schedule(0, this, fn);
  }

  #localUs(): number {
    return this.world.nowUs * this.#host.rate;
  }
}
