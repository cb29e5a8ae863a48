/**
 * A load generator in a process of its own: `generator.ts JSON`, where the JSON is a `LoadPlan`; the last line it prints is a `LoadResult`.
 *
 * Closed loop: each client sends its next request when the reply to the last one has come. Open loop (`ratePerSecond`): requests are due at
 * fixed instants whatever the replies do, and latency counts from the instant a request was due, so that a stall is not hidden.
 */

import { connect, type Socket } from 'node:net';

import { type Protocol, PROTOCOLS } from './protocols.ts';

export interface LoadPlan {
  readonly protocol: keyof typeof PROTOCOLS;
  readonly ports: readonly number[];
  readonly clients: number;
  /** Requests in flight a client; closed loop only. */
  readonly depth: number;
  readonly seconds: number;
  /** Stops earlier after so many; used to fill. */
  readonly operations?: number;
  readonly keys: number;
  /** Keys in order instead of at random. */
  readonly sequential?: boolean;
  readonly valueBytes: number;
  /** Share of reads, 0 to 1. */
  readonly reads: number;
  readonly ratePerSecond?: number;
}

export interface LoadResult {
  readonly operations: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
}

const plan = JSON.parse(process.argv[2] ?? '{}') as LoadPlan;
const protocol: Protocol = PROTOCOLS[plan.protocol];

let state = 0x2545f491;
function random(): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return state >>> 0;
}

const values = Array.from({ length: 64 }, () => {
  const value = Buffer.alloc(plan.valueBytes, 'the quick brown fox jumps over the lazy dog; ');
  for (let i = 0; i < plan.valueBytes / 2; i += 1) value[i] = random() & 255;
  return value;
});

let issued = 0;
function nextRequest(): Buffer {
  const index = plan.sequential === true ? issued : random() % plan.keys;
  issued += 1;
  const key = `key-${String(index).padStart(12, '0')}`;
  const read = random() / 2 ** 32 < plan.reads;
  return read ? protocol.get(key) : protocol.set(key, values[issued % values.length] ?? Buffer.alloc(0));
}

const latencies: number[] = [];
const start = performance.now();
const end = start + plan.seconds * 1000;
const most = plan.operations ?? Infinity;
const over = (): boolean => performance.now() >= end || issued >= most;

class Client {
  readonly #socket: Socket;
  /** When each request in flight was sent, or was due. */
  readonly #since: number[] = [];
  #rest: Buffer = Buffer.alloc(0);
  /** The reply to the protocol's greeting is yet to come. */
  #greeting = protocol.greeting !== undefined;
  readonly done: Promise<void>;
  #finish: () => void = () => {};

  constructor(port: number) {
    this.done = new Promise((resolve) => {
      this.#finish = resolve;
    });
    this.#socket = connect({ host: '127.0.0.1', port, noDelay: true });
    this.#socket.on('data', (chunk: Buffer) => this.#received(chunk));
    this.#socket.on('error', (error) => {
      throw error;
    });
    this.#socket.on('end', () => {
      throw new Error(`the server at port ${port} closed the connection`);
    });
    if (protocol.greeting !== undefined) this.#socket.write(protocol.greeting);
    if (plan.ratePerSecond === undefined) {
      this.#socket.once('connect', () => {
        for (let i = 0; i < plan.depth; i += 1) this.send(performance.now());
      });
    }
  }

  send(since: number): void {
    this.#since.push(since);
    this.#socket.write(nextRequest());
  }

  get idle(): boolean {
    return this.#since.length === 0;
  }

  close(): void {
    this.#socket.destroy();
  }

  #received(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    let answered = 0;
    for (;;) {
      const length = at < bytes.length ? protocol.replyLength(bytes, at) : 0;
      if (length === 0) break;
      at += length;
      if (this.#greeting) {
        this.#greeting = false;
        continue;
      }
      answered += 1;
      latencies.push(performance.now() - (this.#since.shift() ?? 0));
    }
    this.#rest = bytes.subarray(at);
    if (plan.ratePerSecond !== undefined) return;
    if (over()) {
      if (this.idle) this.#finish();
      return;
    }
    this.#socket.cork();
    for (let i = 0; i < answered; i += 1) this.send(performance.now());
    this.#socket.uncork();
  }
}

async function openLoop(clients: readonly Client[], perSecond: number): Promise<void> {
  for (let sent = 0; !over();) {
    const due = Math.floor(((performance.now() - start) * perSecond) / 1000);
    for (; sent < due; sent += 1) clients[sent % clients.length]?.send(start + (sent * 1000) / perSecond);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  while (!clients.every((client) => client.idle)) await new Promise((resolve) => setTimeout(resolve, 1));
}

const clients = Array.from({ length: plan.clients }, (_, index) => new Client(plan.ports[index % plan.ports.length] ?? 0));
if (plan.ratePerSecond === undefined) await Promise.all(clients.map((client) => client.done));
else await openLoop(clients, plan.ratePerSecond);
const seconds = (performance.now() - start) / 1000;
for (const client of clients) client.close();
const sorted = Float64Array.from(latencies).sort();
const quantile = (q: number): number => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
const result: LoadResult = {
  operations: sorted.length,
  perSecond: sorted.length / seconds,
  p50Ms: quantile(0.5),
  p99Ms: quantile(0.99),
  p999Ms: quantile(0.999),
};
process.stdout.write(`${JSON.stringify(result)}\n`);
