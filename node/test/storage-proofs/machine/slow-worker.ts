/** A worker thread that runs jobs over the slow disk, for proof (f): one slice of each job in turn. */

import { parentPort, workerData } from 'node:worker_threads';
import { NodeSyncVfs } from '../../../src/env-node/sync-vfs.ts';
import type { Job } from '../../../src/env/executor.ts';
import { SlowSyncVfs } from './slow-disk.ts';
import { messageOf } from '../../../sim/storage/proof-program.ts';

export interface SlowRequest {
  readonly id: number;
  readonly module: string;
  readonly name: string;
  readonly message: unknown;
}

export type SlowReply = { readonly id: number } & ({ readonly result: unknown } | { readonly error: string });

function isJob(value: unknown): value is Job<unknown, unknown> {
  return typeof value === 'object' && value !== null && 'run' in value && typeof value.run === 'function';
}

const port = parentPort;
const { delayMs } = workerData as { delayMs: number };
const disk = new SlowSyncVfs(new NodeSyncVfs(), delayMs);

async function run(request: SlowRequest): Promise<void> {
  let reply: SlowReply;
  try {
    // eslint-disable-next-line no-restricted-syntax -- a job is found by its module; this runs on a real thread, not in a simulation
    const module = (await import(request.module)) as Readonly<Record<string, unknown>>;
    const job = module[request.name];
    if (!isJob(job)) throw new Error(`${request.module} exports no job ${request.name}`);
    const slices = job.run(request.message, disk);
    let step = slices.next();
    while (step.done !== true) {
      await new Promise((resolve) => setImmediate(resolve));
      step = slices.next();
    }
    reply = { id: request.id, result: step.value };
  } catch (error) {
    reply = { id: request.id, error: messageOf(error) };
  }
  port?.postMessage(reply);
}

port?.on('message', (request: SlowRequest) => {
  void run(request);
});
