/** Work off the event loop, injected: worker threads in `env-node`, seeded slices in `sim`. */

import type { SyncVfs } from './vfs.ts';

/**
 * A job: a generator over a synchronous disk. Every `yield` ends a slice; slices should take at most a few milliseconds, because other jobs
 * share the worker, and in simulation a crash may fall between any two. Message and result are plain data (they are cloned both ways;
 * `SharedArrayBuffer`s are shared, not copied).
 */
export interface Job<Message, Result> {
  /** Names the export of `module` that holds this job. */
  readonly name: string;
  /** The `import.meta.url` of the module that exports it: how a worker finds it. */
  readonly module: string;
  run(message: Message, disk: SyncVfs): Generator<undefined, Result, undefined>;
}

/** `urgent` jobs get every second slice while there are any: a flush must not wait for a long compaction. */
export type JobPriority = 'urgent' | 'background';

export interface Executor {
  /** Runs the job to its end. Rejects with the job's error; VfsError and CoterieError keep their `name` and `code`. */
  run<Message, Result>(job: Job<Message, Result>, message: Message, priority: JobPriority): Promise<Result>;
  /** From now on background jobs take at most this share of each worker's time, above 0 to 1 (1 at first); urgent ones are not held up. */
  pace(share: number): void;
  /** Ends after the jobs now running; later `run`s are refused. */
  close(): Promise<void>;
}
