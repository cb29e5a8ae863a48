/**
 * Jobs on a few worker threads. A job is found there by its module's URL and its name, so nothing but plain data crosses. It goes to the
 * worker that has the fewest; a worker starts when all others are busy, so that a process with little to do has one.
 *
 * A worker that dies (out of memory, a crash in native code) fails the jobs it held with INTERNAL; later jobs get a new worker. Workers
 * keep the process alive only while they have jobs.
 */

import { Worker } from 'node:worker_threads';

import { CoterieError } from '../base/errors.ts';
import type { Executor, Job, JobPriority } from '../env/executor.ts';
import { fromFailure, type JobReply, type JobRequest, type PaceOrder } from './executor-messages.ts';

/** Sources run as `.ts`, images run `.js`; the worker has the extension of this module. */
const WORKER_URL = new URL(`./executor-worker${import.meta.url.slice(import.meta.url.lastIndexOf('.'))}`, import.meta.url);

/** A flush and a compaction at the same time, or two halves of a compaction. */
const THREADS = 2;

interface Waiting {
  resolve(result: unknown): void;
  reject(error: Error): void;
}

/** One worker thread and the jobs it holds. */
interface Crew {
  readonly worker: Worker;
  readonly jobs: Map<number, Waiting>;
}

export class NodeExecutor implements Executor {
  readonly #threads: number;
  #crews: Crew[] = [];
  #nextId = 1;
  #closing: Promise<void> | undefined;
  #idle: (() => void) | undefined;
  #share = 1;

  /** @param threads workers at most */
  constructor(threads: number = THREADS) {
    this.#threads = threads;
  }

  run<Message, Result>(job: Job<Message, Result>, message: Message, priority: JobPriority): Promise<Result> {
    if (this.#closing !== undefined) return Promise.reject(new CoterieError('CLOSED', 'the executor is closed'));
    const crew = this.#leastBusy();
    const id = this.#nextId;
    this.#nextId += 1;
    return new Promise<Result>((resolve, reject) => {
      const request: JobRequest = { id, module: job.module, name: job.name, message, priority };
      crew.worker.postMessage(request);
      if (crew.jobs.size === 0) crew.worker.ref();
      crew.jobs.set(id, {
        resolve: (result) => {
          resolve(result as Result);
        },
        reject,
      });
    });
  }

  pace(share: number): void {
    if (share === this.#share) return;
    this.#share = share;
    const order: PaceOrder = { share };
    for (const { worker } of this.#crews) worker.postMessage(order);
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    if (this.#isBusy()) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
    await Promise.all(this.#crews.map((crew) => crew.worker.terminate()));
  }

  #isBusy(): boolean {
    return this.#crews.some((crew) => crew.jobs.size > 0);
  }

  #leastBusy(): Crew {
    let best: Crew | undefined;
    for (const crew of this.#crews) if (best === undefined || crew.jobs.size < best.jobs.size) best = crew;
    return best !== undefined && (best.jobs.size === 0 || this.#crews.length >= this.#threads) ? best : this.#hire();
  }

  #hire(): Crew {
    const worker = new Worker(WORKER_URL);
    worker.unref();
    const order: PaceOrder = { share: this.#share };
    worker.postMessage(order);
    const crew: Crew = { worker, jobs: new Map() };
    this.#crews.push(crew);
    worker.on('message', (reply: JobReply) => {
      this.#settle(crew, reply);
    });
    worker.on('error', (error) => {
      this.#dismiss(crew, error);
    });
    worker.on('exit', () => {
      this.#dismiss(crew, undefined);
    });
    return crew;
  }

  #settle(crew: Crew, reply: JobReply): void {
    const waiting = crew.jobs.get(reply.id);
    crew.jobs.delete(reply.id);
    if (crew.jobs.size === 0) {
      crew.worker.unref();
      this.#told();
    }
    if (reply.kind === 'done') waiting?.resolve(reply.result);
    else waiting?.reject(fromFailure(reply.failure));
  }

  #dismiss(crew: Crew, cause: unknown): void {
    this.#crews = this.#crews.filter((other) => other !== crew);
    const jobs = [...crew.jobs.values()];
    crew.jobs.clear();
    for (const waiting of jobs) waiting.reject(new CoterieError('INTERNAL', 'the worker thread died', { cause }));
    this.#told();
  }

  /** Tells whoever closes when no job is left. */
  #told(): void {
    if (!this.#isBusy()) this.#idle?.();
  }
}
