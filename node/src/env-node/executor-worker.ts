/**
 * The worker thread of NodeExecutor: runs jobs slice by slice over the synchronous disk.
 *
 * Between two slices it goes through the event loop once, so that new jobs are heard and the buffers of native codecs are freed (they are
 * not while a loop never yields). Every second slice goes to the urgent jobs while there are any; within a priority, jobs take turns.
 * After a background slice the next one waits so long that such slices take their share of the time, if it is less than all of it.
 */

import { getPriority, setPriority } from 'node:os';
import { performance } from 'node:perf_hooks';
import { parentPort } from 'node:worker_threads';

import { invariant } from '../base/errors.ts';
import type { Job } from '../env/executor.ts';
import { toFailure, type JobReply, type JobRequest, type PaceOrder } from './executor-messages.ts';
import { NodeSyncVfs } from './sync-vfs.ts';

interface Running {
  readonly id: number;
  readonly slices: Generator<undefined, unknown, undefined>;
}

/** Of a thread's niceness, -20 to 19: a tenth of the weight of a thread with the usual 0. */
const NICENESS = 10;

invariant(parentPort !== null, 'the executor runs on a worker thread');
yieldToLoops();
const port = parentPort;
const disk = new NodeSyncVfs();
const urgent: Running[] = [];
const background: Running[] = [];
let scheduled = false;
let urgentLast = false;
let share = 1;
/** No background slice runs before it. */
let backgroundFromMs = 0;
let waiting: NodeJS.Timeout | undefined;

/** Clients wait for event loops, on this machine's other nodes too, and jobs have time. */
function yieldToLoops(): void {
  // Elsewhere this would slow down the whole process.
  if (process.platform !== 'linux') return;
  try {
    setPriority(Math.max(getPriority(), NICENESS));
  } catch {
    // A sandbox may forbid it: then jobs weigh as much as loops.
  }
}

port.on('message', (message: JobRequest | PaceOrder) => {
  if ('share' in message) {
    ({ share } = message);
    // What was put off at the old share is due at once: the next slice is judged by the new one.
    backgroundFromMs = 0;
    schedule();
  } else {
    void start(message);
  }
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
  clearTimeout(waiting);
  const restMs = urgent.length > 0 || backgroundFromMs === 0 ? 0 : backgroundFromMs - performance.now();
  if (restMs > 0) {
    waiting = setTimeout(schedule, restMs);
    return;
  }
  scheduled = true;
  setImmediate(runSlice);
}

function runSlice(): void {
  scheduled = false;
  const startedMs = performance.now();
  const hasBackground = background.length > 0 && startedMs >= backgroundFromMs;
  const takeUrgent = urgent.length > 0 && (!hasBackground || !urgentLast);
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
  if (!takeUrgent && share < 1) {
    const nowMs = performance.now();
    backgroundFromMs = nowMs + (nowMs - startedMs) * (1 / share - 1);
  }
  schedule();
}

/** Posts the reply; a result that cannot be cloned throws here and is answered as the job's failure. */
function answer(reply: JobReply): void {
  port.postMessage(reply);
}
