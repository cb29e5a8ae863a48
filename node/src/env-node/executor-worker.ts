/**
 * The worker thread of NodeExecutor: runs jobs slice by slice over the synchronous disk.
 *
 * Between two slices it goes through the event loop once, so that new jobs are heard and the buffers of native codecs are freed (they are
 * not while a loop never yields). Every second slice goes to the urgent jobs while there are any; within a priority, jobs take turns.
 */

import { parentPort } from 'node:worker_threads';

import { invariant } from '../base/errors.ts';
import type { Job } from '../env/executor.ts';
import { toFailure, type JobReply, type JobRequest } from './executor-messages.ts';
import { NodeSyncVfs } from './sync-vfs.ts';

interface Running {
  readonly id: number;
  readonly slices: Generator<undefined, unknown, undefined>;
}

invariant(parentPort !== null, 'the executor runs on a worker thread');
const port = parentPort;
const disk = new NodeSyncVfs();
const urgent: Running[] = [];
const background: Running[] = [];
let scheduled = false;
let urgentLast = false;

port.on('message', (request: JobRequest) => {
  void start(request);
});

async function start(request: JobRequest): Promise<void> {
  try {
    const job = await findJob(request);
    const queue = request.priority === 'urgent' ? urgent : background;
    queue.push({ id: request.id, slices: job.run(request.message, disk) });
    schedule();
  } catch (error) {
    answer({ id: request.id, kind: 'failed', failure: toFailure(error) });
  }
}

async function findJob(request: JobRequest): Promise<Job<unknown, unknown>> {
  const module = (await import(request.module)) as Readonly<Record<string, unknown>>;
  const job = module[request.name];
  if (!isJob(job)) throw new Error(`${request.module} exports no job ${request.name}`);
  return job;
}

function isJob(value: unknown): value is Job<unknown, unknown> {
  return typeof value === 'object' && value !== null && 'run' in value && typeof value.run === 'function';
}

function schedule(): void {
  if (scheduled || urgent.length + background.length === 0) return;
  scheduled = true;
  setImmediate(runSlice);
}

function runSlice(): void {
  scheduled = false;
  const takeUrgent = urgent.length > 0 && (background.length === 0 || !urgentLast);
  urgentLast = takeUrgent;
  const queue = takeUrgent ? urgent : background;
  const running = queue.shift();
  if (running !== undefined) {
    try {
      const step = running.slices.next();
      if (step.done === true) answer({ id: running.id, kind: 'done', result: step.value });
      else queue.push(running);
    } catch (error) {
      answer({ id: running.id, kind: 'failed', failure: toFailure(error) });
    }
  }
  schedule();
}

/** Posts the reply; a result that cannot be cloned throws here and is answered as the job's failure. */
function answer(reply: JobReply): void {
  port.postMessage(reply);
}
