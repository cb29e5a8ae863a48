/**
 * The simulated executor: a job runs on the mount's `sync` disk in slices, each an event of its own after a seeded delay, so that slices of
 * several jobs and the loop's own events interleave in any order and a crash may fall between any two. Message and result are cloned as a
 * worker would get them (`SharedArrayBuffer`s stay shared), and so are errors, which keep `name` and `code`. In a crashed process a job
 * never goes on and its promise never settles.
 */

import { CoterieError, isCoterieError } from '../../src/base/errors.ts';
import { VfsError, isVfsError } from '../../src/env/vfs.ts';
import type { Executor, Job, JobPriority } from '../../src/env/executor.ts';
import type { SimMount } from './mount.ts';
import type { SeededRandom } from './seeded-random.ts';
import { Fenced } from './operation.ts';

export interface SimExecutorOptions {
  readonly random: SeededRandom;
  /** The longest simulated delay before a slice, in whole milliseconds; 0 by default. */
  readonly sliceDelayMs?: number;
}

/** The error as it arrives from a worker. */
function clonedError(error: unknown): Error {
  if (isVfsError(error)) return new VfsError(error.code, error.path, 'job');
  if (isCoterieError(error)) {
    return new CoterieError(error.code, error.message, error.outcome === undefined ? {} : { outcome: error.outcome });
  }
  if (!Error.isError(error)) return new Error(String(error));
  const copy = new Error(error.message);
  copy.name = error.name;
  if (error.stack !== undefined) copy.stack = error.stack;
  return copy;
}

export class SimExecutor implements Executor {
  readonly #mount: SimMount;
  readonly #random: SeededRandom;
  readonly #sliceDelayMs: number;
  #running = 0;
  #closed = false;
  #share = 1;
  #onIdle: (() => void)[] = [];
  /** Slices run so far. */
  slices = 0;

  constructor(mount: SimMount, options: SimExecutorOptions) {
    this.#mount = mount;
    this.#random = options.random;
    this.#sliceDelayMs = options.sliceDelayMs ?? 0;
  }

  run<Message, Result>(job: Job<Message, Result>, message: Message, priority: JobPriority): Promise<Result> {
    if (this.#closed) return Promise.reject(new CoterieError('CLOSED', 'the executor is closed'));
    const copy = structuredClone(message);
    const steps = job.run(copy, this.#mount.sync);
    this.#running += 1;
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void): void => {
        this.#running -= 1;
        settle();
        if (this.#running === 0) for (const idle of this.#onIdle.splice(0)) idle();
      };
      const next = (afterMs: number): void => {
        // Urgent jobs wait less on average, and may still be overtaken.
        const most = priority === 'urgent' ? this.#sliceDelayMs / 2 : this.#sliceDelayMs;
        this.#mount.options.schedule(afterMs + (most === 0 ? 0 : this.#random.below(most + 1)), slice);
      };
      const slice = (): void => {
        if (!this.#isAlive()) return;
        this.slices += 1;
        let step: IteratorResult<undefined, Result>;
        let spentMs: number;
        try {
          [step, spentMs] = this.#mount.slice(() => steps.next());
        } catch (error) {
          if (error instanceof Fenced || !this.#isAlive()) return;
          finish(() => {
            reject(clonedError(error));
          });
          return;
        }
        // A job that swallowed the crash still goes no further.
        if (!this.#isAlive()) return;
        if (step.done !== true) {
          next(priority === 'urgent' ? spentMs : spentMs / this.#share);
          return;
        }
        const result = structuredClone(step.value);
        finish(() => {
          resolve(result);
        });
      };
      next(0);
    });
  }

  pace(share: number): void {
    this.#share = share;
  }

  /** A call, because a slice may change it, which narrowing would not see. */
  #isAlive(): boolean {
    return this.#mount.alive;
  }

  close(): Promise<void> {
    this.#closed = true;
    if (this.#running === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onIdle.push(resolve);
    });
  }
}
