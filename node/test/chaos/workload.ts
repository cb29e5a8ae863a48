/**
 * Open-loop clients: operations are due at fixed instants whatever the answers do, half of them writes, a part by HTTP and the rest through
 * ioredis. A key has one writer, and one write at a time, so that what must be there in the end is known: the last write that was acknowledged, or
 * one whose outcome the client does not know. Such a write may take effect at any time: its request may wait in a stopped process.
 */

import { Redis } from 'ioredis';

import type { ChaosNode } from './cluster.ts';

export interface Operation {
  readonly dueMs: number;
  readonly tookMs: number;
  readonly kind: 'read' | 'write';
  readonly protocol: 'resp' | 'http';
  readonly node: string;
  /** Absent when it was answered as it should be. */
  readonly failure: string | undefined;
}

const HTTP_SHARE = 0.3;
const VALUE_BYTES = 512;
/** Longer than a node's own time-out: an operation that it does not even refuse. */
const GIVE_UP_MS = 7000;

interface KeyState {
  readonly key: string;
  /** The number of the last write begun, and of the last one acknowledged. */
  begun: number;
  acknowledged: number;
  /** Writes of which it is not known whether they happened, or will. */
  readonly doubtful: Set<number>;
  busy: boolean;
}

function valueOf(key: string, number: number): string {
  return `${key}#${number}#`.padEnd(VALUE_BYTES, '.');
}

/** The number of the write that made the value; -1 where no write of the key did. */
export function numberOf(key: string, value: string): number {
  const number = Number(value.split('#')[1]);
  return Number.isSafeInteger(number) && value === valueOf(key, number) ? number : -1;
}

export class Workload {
  readonly operations: Operation[] = [];
  /** Answers that no client should have seen. */
  readonly wrong: string[] = [];
  /** Where clients go now. */
  targets: readonly ChaosNode[];
  readonly #keys: readonly KeyState[];
  readonly #clients = new Map<ChaosNode, Redis>();
  readonly #underWay = new Set<Promise<void>>();
  readonly #intervalMs: number;
  #timer: NodeJS.Timeout | undefined;
  #issued = 0;
  #startMs = 0;
  #random = 0x2545f491;

  constructor(nodes: readonly ChaosNode[], keys: number, perSecond: number) {
    this.targets = nodes;
    this.#intervalMs = 1000 / perSecond;
    this.#keys = Array.from({ length: keys }, (_, index) => ({
      key: `key-${index}`,
      begun: 0,
      acknowledged: 0,
      doubtful: new Set<number>(),
      busy: false,
    }));
    for (const node of nodes) this.#clients.set(node, clientOf(node));
  }

  get keys(): readonly Omit<Readonly<KeyState>, 'busy'>[] {
    return this.#keys;
  }

  begin(): void {
    this.#startMs = performance.now();
    this.#issue();
  }

  /** No more operations; settles when everything under way has ended. */
  async end(): Promise<void> {
    clearTimeout(this.#timer);
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }

  close(): void {
    clearTimeout(this.#timer);
    for (const client of this.#clients.values()) client.disconnect();
  }

  /** Reads a key at a node; the number of the write whose value it has, 0 where there is none. @throws Error on a failure */
  async numberAt(node: ChaosNode, key: string): Promise<number> {
    const value = await this.#clientAt(node).get(key);
    return value === null ? 0 : numberOf(key, value);
  }

  #issue(): void {
    const now = performance.now();
    for (;;) {
      const dueMs = this.#startMs + this.#issued * this.#intervalMs;
      if (dueMs > now) {
        this.#timer = setTimeout(() => this.#issue(), dueMs - now);
        return;
      }
      this.#issued += 1;
      const state = this.#freeKey();
      const node = this.targets[this.#below(this.targets.length)];
      if (node === undefined) continue;
      const protocol = this.#below(100) < 100 * HTTP_SHARE ? 'http' : 'resp';
      const done =
        state === undefined || this.#below(2) === 0 ? this.#read(node, protocol, dueMs) : this.#write(state, node, protocol, dueMs);
      this.#underWay.add(done);
      void done.finally(() => this.#underWay.delete(done));
    }
  }

  async #write(state: KeyState, node: ChaosNode, protocol: 'resp' | 'http', dueMs: number): Promise<void> {
    state.busy = true;
    state.begun += 1;
    const number = state.begun;
    const failure = await outcomeOf(protocol === 'resp' ? this.#set(node, state.key, number) : put(node, state.key, number));
    state.busy = false;
    if (failure === undefined) state.acknowledged = number;
    else state.doubtful.add(number);
    this.#note(dueMs, 'write', protocol, node, failure);
  }

  async #read(node: ChaosNode, protocol: 'resp' | 'http', dueMs: number): Promise<void> {
    const state = this.#keys[this.#below(this.#keys.length)];
    if (state === undefined) return;
    const { key } = state;
    const read = async (): Promise<void> => {
      const value = protocol === 'resp' ? await this.#clientAt(node).get(key) : await get(node, key);
      if (value === null) return;
      const number = numberOf(key, value);
      if (number < 0 || number > state.begun) this.wrong.push(`${key} at ${node.name}: ${value.slice(0, 40)}`);
    };
    this.#note(dueMs, 'read', protocol, node, await outcomeOf(read()));
  }

  #set(node: ChaosNode, key: string, number: number): Promise<unknown> {
    return this.#clientAt(node).set(key, valueOf(key, number));
  }

  #note(dueMs: number, kind: Operation['kind'], protocol: Operation['protocol'], node: ChaosNode, failure: string | undefined): void {
    this.operations.push({ dueMs, tookMs: performance.now() - dueMs, kind, protocol, node: node.name, failure });
  }

  #clientAt(node: ChaosNode): Redis {
    const client = this.#clients.get(node);
    if (client === undefined) throw new Error(`broken invariant: no client for ${node.name}`);
    return client;
  }

  /** A key that is not being written; undefined where chance finds none. */
  #freeKey(): KeyState | undefined {
    for (let tries = 0; tries < 8; tries += 1) {
      const state = this.#keys[this.#below(this.#keys.length)];
      if (state?.busy === false) return state;
    }
    return undefined;
  }

  #below(bound: number): number {
    this.#random ^= this.#random << 13;
    this.#random ^= this.#random >>> 17;
    this.#random ^= this.#random << 5;
    return (this.#random >>> 0) % bound;
  }
}

function clientOf(node: ChaosNode): Redis {
  const client = new Redis({
    host: '127.0.0.1',
    port: node.ports.respPort,
    maxRetriesPerRequest: 0,
    commandTimeout: GIVE_UP_MS,
    retryStrategy: () => 200,
  });
  // Every failure is noted with the operation that met it.
  client.on('error', () => undefined);
  return client;
}

async function outcomeOf(work: Promise<unknown>): Promise<string | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    return Error.isError(error) ? error.message.slice(0, 120) : String(error);
  }
}

function urlOf(node: ChaosNode, key: string): string {
  return `http://127.0.0.1:${node.ports.httpPort}/v1/kv/default/${key}`;
}

async function answered(response: Response): Promise<string | null> {
  const text = await response.text();
  if (response.status === 404) return null;
  if (response.ok) return text;
  throw new Error(`${response.status} ${text}`);
}

async function get(node: ChaosNode, key: string): Promise<string | null> {
  return answered(await fetch(urlOf(node, key), { signal: AbortSignal.timeout(GIVE_UP_MS) }));
}

async function put(node: ChaosNode, key: string, number: number): Promise<void> {
  const signal = AbortSignal.timeout(GIVE_UP_MS);
  await answered(await fetch(urlOf(node, key), { method: 'PUT', body: valueOf(key, number), signal }));
}
