/**
 * The world: virtual time and the loop that turns it.
 *
 * One event a turn: the event runs, everything that it made ready (microtasks, ticks) drains before the next `setImmediate`, then time
 * advances to the next event. Microtasks are never counted. Time is whole microseconds since the run began.
 */

import { Dice } from './dice.ts';
import { EventQueue, type QueuedEvent } from './event-queue.ts';
import { type Process, isFenced } from './process.ts';
import { Trace } from './trace.ts';

export type WorldEvent = QueuedEvent<Process | undefined>;

/** Why a run failed: `checker` names what noticed. */
export interface Failure {
  readonly checker: string;
  readonly message: string;
  readonly atUs: number;
}

/** A run that goes on after a failure stops at this many. */
const MOST_FAILURES = 100;

/** Taken once, before the guard forbids it to everybody else. */
const immediate = setImmediate;

/** The wall clock's value at virtual time 0: 2030-01-01. */
const EPOCH_US = 1_893_456_000_000_000;

export class World {
  readonly dice: Dice;
  readonly trace: Trace;
  readonly epochUs: number = EPOCH_US;
  readonly failures: Failure[] = [];
  readonly #queue = new EventQueue<Process | undefined>();
  #nowUs = 0;
  #turns = 0;
  #running: Process | undefined;

  readonly #until: string | undefined;

  /** @param until the checker whose failure ends a run; any by default */
  constructor(seed: number, readable: boolean, until?: string) {
    this.#until = until;
    this.dice = new Dice(seed);
    this.trace = new Trace(() => this.#nowUs, readable);
  }

  get nowUs(): number {
    return this.#nowUs;
  }

  /** Turns of the loop so far. */
  get turns(): number {
    return this.#turns;
  }

  /** Whether a failure has ended the run. */
  get ended(): boolean {
    const { failures } = this;
    if (this.#until === undefined || failures.length >= MOST_FAILURES) return failures.length > 0;
    return failures.some((failure) => failure.checker === this.#until);
  }

  /** Records a failure; the run ends after this turn, unless it looks for another one. */
  fail(checker: string, message: string): void {
    this.trace.note('FAILED', checker, message);
    this.failures.push({ checker, message, atUs: this.#nowUs });
  }

  /** Runs `run` once, `delayUs` from now, as a turn of its own; never after its owner has died. */
  schedule(delayUs: number, owner: Process | undefined, run: () => void): WorldEvent {
    if (owner !== undefined) owner.pending += 1;
    return this.#queue.push(this.#nowUs + Math.max(0, Math.floor(delayUs)), owner, run);
  }

  cancel(event: WorldEvent): void {
    if (event.cancelled) return;
    event.cancelled = true;
    if (event.owner !== undefined) event.owner.pending -= 1;
  }

  /** Puts an event that a pause held back into the queue, to run now. */
  requeue(event: WorldEvent): void {
    event.atUs = this.#nowUs;
    this.#queue.insert(event);
  }

  /** Settles after that much virtual time. For the scenario only, never for a node. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.schedule(ms * 1000, undefined, resolve);
    });
  }

  /**
   * Turns the loop until `scenario` settles, a failure is recorded, or a limit is passed (which is a failure).
   * An exception of a live process, or an unhandled rejection, is a failure.
   */
  run(scenario: () => Promise<void>, limits: { readonly turns: number; readonly virtualMs: number }): Promise<void> {
    return new Promise((resolve) => {
      let over = false;
      const onRejection = (reason: unknown): void => {
        if (isFenced(reason) || this.#running?.alive === false) return;
        this.fail('crash-free', `unhandled rejection in ${this.#running?.name ?? 'the scenario'}: ${describe(reason)}`);
      };
      const finish = (): void => {
        process.removeListener('unhandledRejection', onRejection);
        resolve();
      };
      process.on('unhandledRejection', onRejection);
      const turn = (): void => {
        if (over || this.ended) {
          finish();
          return;
        }
        over = this.#step(limits) || over;
        immediate(turn);
      };
      this.schedule(0, undefined, () => {
        scenario().then(
          () => {
            over = true;
          },
          (error: unknown) => {
            this.fail('scenario', describe(error));
            over = true;
          },
        );
      });
      immediate(turn);
    });
  }

  /** Runs the next event; true when there is none, or a limit is passed. */
  #step(limits: { readonly turns: number; readonly virtualMs: number }): boolean {
    const event = this.#queue.pop();
    if (event === undefined) {
      this.fail('liveness', 'nothing is left to happen, and the scenario waits');
      return true;
    }
    this.#turns += 1;
    if (this.#turns > limits.turns || event.atUs > limits.virtualMs * 1000) {
      this.fail('liveness', `not done after ${String(this.#turns)} turns and ${String(Math.floor(this.#nowUs / 1000))} ms of virtual time`);
      return true;
    }
    this.#nowUs = event.atUs;
    this.#perform(event);
    return false;
  }

  #perform(event: WorldEvent): void {
    const { owner } = event;
    if (owner !== undefined) {
      if (!owner.alive) return;
      if (owner.paused) {
        owner.hold(event);
        return;
      }
      if (owner.busyUntilUs > event.atUs) {
        event.atUs = owner.busyUntilUs;
        this.#queue.insert(event);
        return;
      }
      owner.pending -= 1;
    }
    this.#running = owner;
    try {
      event.run();
    } catch (error) {
      if (owner?.alive === false || isFenced(error)) return;
      this.fail('crash-free', `${owner?.name ?? 'the scenario'} threw: ${describe(error)}`);
    }
  }
}

export function describe(error: unknown): string {
  if (!Error.isError(error)) return String(error);
  const code = 'code' in error ? ` [${String(error.code)}]` : '';
  const cause = error.cause === undefined ? '' : `; caused by ${describe(error.cause)}`;
  return `${error.stack ?? error.message}${code}${cause}`;
}
