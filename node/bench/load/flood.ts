/**
 * An open-loop load generator in phases, in a process of its own: `flood.ts JSON`, where the JSON is a `FloodPlan`; the last line it prints is a
 * `FloodResult`.
 *
 * Requests are due at fixed instants whatever the replies do; latency counts from the instant a request was due; one that is not answered within
 * the timeout has failed, whatever comes later. A request that no connection has room for when it is due has failed too, and is counted apart.
 */

import { connect, type Socket } from 'node:net';

import { ANSWERS, type AnswerReader } from './answers.ts';
import { type Protocol, PROTOCOLS } from './protocols.ts';

export interface FloodPhase {
  readonly name: string;
  readonly seconds: number;
  readonly perSecond: number;
}

export interface FloodPlan {
  readonly protocol: 'resp' | 'http';
  readonly ports: readonly number[];
  readonly connections: number;
  /** Requests unanswered on one connection, at most. */
  readonly depth: number;
  readonly timeoutMs: number;
  readonly keys: number;
  readonly valueBytes: number;
  /** Share of reads, 0 to 1. */
  readonly reads: number;
  readonly phases: readonly FloodPhase[];
}

/** What became of the requests that were due in one stretch of time. */
export interface FloodStretch {
  readonly due: number;
  /** Answered well within the timeout. */
  readonly good: number;
  /** Refused with BUSY (or 503), and how long that took. */
  readonly refused: number;
  readonly refusedP99Ms: number;
  /** Other errors, by their first word. */
  readonly failed: Readonly<Record<string, number>>;
  readonly timedOut: number;
  /** No connection had room for it. */
  readonly unsent: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface FloodResult {
  readonly phases: readonly (FloodStretch & { readonly name: string; readonly seconds: number; readonly perSecond: number })[];
  /** Second by second, over all phases. */
  readonly seconds: readonly FloodStretch[];
  /** Processor time that this generator used in each phase, as a share of one processor. */
  readonly cpu: readonly number[];
}

const plan = JSON.parse(process.argv[2] ?? '{}') as FloodPlan;
const protocol: Protocol = PROTOCOLS[plan.protocol];
const readAnswer: AnswerReader = ANSWERS[plan.protocol];

let state = 0x2545f491;
function random(): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return state >>> 0;
}

const REQUESTS = 4096;
/** Made beforehand and used again and again, so that the generator's own work stays small. */
const requests = Array.from({ length: REQUESTS }, () => {
  const key = `key-${String(random() % plan.keys).padStart(12, '0')}`;
  if (random() / 2 ** 32 < plan.reads) return protocol.get(key);
  const value = Buffer.alloc(plan.valueBytes, 'the quick brown fox jumps over the lazy dog; ');
  for (let i = 0; i < plan.valueBytes / 2; i += 1) value[i] = random() & 255;
  return protocol.set(key, value);
});

class Tally {
  due = 0;
  timedOut = 0;
  unsent = 0;
  readonly good: number[] = [];
  readonly refused: number[] = [];
  readonly failed = new Map<string, number>();

  stretch(): FloodStretch {
    const good = Float64Array.from(this.good).sort();
    const refused = Float64Array.from(this.refused).sort();
    const at = (sorted: Float64Array, q: number): number => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0;
    return {
      due: this.due,
      good: good.length,
      refused: refused.length,
      refusedP99Ms: at(refused, 0.99),
      failed: Object.fromEntries(this.failed),
      timedOut: this.timedOut,
      unsent: this.unsent,
      p50Ms: at(good, 0.5),
      p99Ms: at(good, 0.99),
    };
  }
}

const phaseTallies = plan.phases.map(() => new Tally());
const secondTallies = Array.from({ length: Math.ceil(plan.phases.reduce((sum, phase) => sum + phase.seconds, 0)) }, () => new Tally());
const startMs = performance.now() + 200;

/** A request that was sent; those of one connection are answered in order. */
interface Sent {
  readonly dueMs: number;
  readonly phase: Tally;
  readonly second: Tally;
}

class Connection {
  readonly #socket: Socket;
  readonly #sent: Sent[] = [];
  #first = 0;
  #rest: Buffer = Buffer.alloc(0);
  #out: Buffer[] = [];

  constructor(port: number) {
    this.#socket = connect({ host: '127.0.0.1', port, noDelay: true });
    this.#socket.on('data', (chunk: Buffer) => this.#received(chunk));
    this.#socket.on('error', (error) => {
      throw error;
    });
  }

  get waiting(): number {
    return this.#sent.length - this.#first;
  }

  send(sent: Sent, request: Buffer): void {
    this.#sent.push(sent);
    this.#out.push(request);
  }

  flush(): void {
    if (this.#out.length === 0) return;
    this.#socket.write(this.#out.length === 1 ? (this.#out[0] ?? Buffer.alloc(0)) : Buffer.concat(this.#out));
    this.#out = [];
  }

  close(): void {
    this.#socket.destroy();
    for (let i = this.#first; i < this.#sent.length; i += 1) {
      const sent = this.#sent[i];
      if (sent !== undefined) {
        sent.phase.timedOut += 1;
        sent.second.timedOut += 1;
      }
    }
  }

  #received(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const nowMs = performance.now();
    let at = 0;
    while (at < bytes.length) {
      const answer = readAnswer(bytes, at);
      if (answer === undefined) break;
      at += answer.length;
      const sent = this.#sent[this.#first];
      this.#first += 1;
      if (sent !== undefined) count(sent, nowMs - sent.dueMs, answer.kind);
    }
    this.#rest = at === bytes.length ? Buffer.alloc(0) : Buffer.from(bytes.subarray(at));
    if (this.#first > 4096) {
      this.#sent.splice(0, this.#first);
      this.#first = 0;
    }
  }
}

function count({ phase, second }: Sent, tookMs: number, kind: string): void {
  for (const tally of [phase, second]) {
    if (tookMs > plan.timeoutMs) tally.timedOut += 1;
    else if (kind === 'good') tally.good.push(tookMs);
    else if (kind === 'refused') tally.refused.push(tookMs);
    else tally.failed.set(kind, (tally.failed.get(kind) ?? 0) + 1);
  }
}

const connections = Array.from({ length: plan.connections }, (_, index) => new Connection(plan.ports[index % plan.ports.length] ?? 0));
let turn = 0;

function issue(dueMs: number, phase: Tally): void {
  const second = secondTallies[Math.min(secondTallies.length - 1, Math.floor((dueMs - startMs) / 1000))] ?? phase;
  phase.due += 1;
  second.due += 1;
  for (let tries = 0; tries < connections.length; tries += 1) {
    turn = (turn + 1) % connections.length;
    const connection = connections[turn];
    if (connection !== undefined && connection.waiting < plan.depth) {
      connection.send({ dueMs, phase, second }, requests[random() % REQUESTS] ?? Buffer.alloc(0));
      return;
    }
  }
  phase.unsent += 1;
  second.unsent += 1;
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const cpu: number[] = [];
await pause(Math.max(0, startMs - performance.now()));
let fromMs = startMs;
for (const [index, phase] of plan.phases.entries()) {
  const tally = phaseTallies[index] ?? new Tally();
  const usedBefore = process.cpuUsage();
  const total = Math.floor(phase.seconds * phase.perSecond);
  for (let sent = 0; sent < total;) {
    const due = Math.min(total, Math.floor(((performance.now() - fromMs) * phase.perSecond) / 1000));
    for (; sent < due; sent += 1) issue(fromMs + (sent * 1000) / phase.perSecond, tally);
    for (const connection of connections) connection.flush();
    await pause(1);
  }
  const { user, system } = process.cpuUsage(usedBefore);
  fromMs += phase.seconds * 1000;
  cpu.push((user + system) / 1000 / Math.max(1, phase.seconds * 1000));
}
await pause(plan.timeoutMs);
for (const connection of connections) connection.close();
const result: FloodResult = {
  phases: plan.phases.map((phase, index) => ({ ...phase, ...(phaseTallies[index] ?? new Tally()).stretch() })),
  seconds: secondTallies.map((tally) => tally.stretch()),
  cpu,
};
process.stdout.write(`${JSON.stringify(result)}\n`);
