/**
 * Jobs on one worker thread. A job is found there by its module's URL and its name, so nothing but plain data crosses.
 *
 * A worker that dies (out of memory, a crash in native code) fails the jobs it held with INTERNAL; the next job gets a new worker. The
 * worker keeps the process alive only while it has jobs.
 */

import { Worker } from 'node:worker_threads';

import { CoterieError } from '../base/errors.ts';
import type { Executor, Job, JobPriority } from '../env/executor.ts';
import { fromFailure, type JobReply, type JobRequest, type PaceOrder } from './executor-messages.ts';

/** Sources run as `.ts`, images run `.js`; the worker has the extension of this module. */
const WORKER_URL = new URL(`./executor-worker${import.meta.url.slice(import.meta.url.lastIndexOf('.'))}`, import.meta.url);

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
  #crew: Crew | undefined;
  #nextId = 1;
  #closing: Promise<void> | undefined;
  #idle: (() => void) | undefined;
  #share = 1;

  run<Message, Result>(job: Job<Message, Result>, message: Message, priority: JobPriority): Promise<Result> {
    if (this.#closing !== undefined) return Promise.reject(new CoterieError('CLOSED', 'the executor is closed'));
    const crew = (this.#crew ??= this.#hire());
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
    this.#crew?.worker.postMessage(order);
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    const crew = this.#crew;
    if (crew === undefined) return;
    if (crew.jobs.size > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
    await crew.worker.terminate();
  }

  #hire(): Crew {
    const worker = new Worker(WORKER_URL);
    worker.unref();
    const order: PaceOrder = { share: this.#share };
    worker.postMessage(order);
    const crew: Crew = { worker, jobs: new Map() };
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
      this.#idle?.();
    }
    if (reply.kind === 'done') waiting?.resolve(reply.result);
    else waiting?.reject(fromFailure(reply.failure));
  }

  #dismiss(crew: Crew, cause: unknown): void {
    if (this.#crew === crew) this.#crew = undefined;
    const jobs = [...crew.jobs.values()];
    crew.jobs.clear();
    for (const waiting of jobs) waiting.reject(new CoterieError('INTERNAL', 'the worker thread died', { cause }));
    this.#idle?.();
  }
}
