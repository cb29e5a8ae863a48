/**
 * Concurrent clients of a strong bucket on real processes, through every node, one of which is killed on the way and comes back: what they were told
 * is judged by the simulator's linearizability checker.
 */

import { randomUUID } from 'node:crypto';

import { expect, test } from '@jest/globals';

import { RegisterHistory, type RegisterRecorded } from '../../sim/clients/register-history.ts';
import { DevCluster } from './dev-cluster.ts';

const CLIENTS = 8;
const KEYS = ['a', 'b', 'c'];
const OPERATIONS = 900;
/** Nodes count from 1 in commands. */
const KILLED = 2;

/** How an attempt at a write ended. */
type Outcome = 'done' | 'none' | 'unknown';

class Clients {
  readonly history = new RegisterHistory();
  readonly counts = { reads: 0, writes: 0, retried: 0, failed: 0 };
  readonly #cluster: DevCluster;
  #begun = 0;
  #seed = 0x2545f491;

  constructor(cluster: DevCluster) {
    this.#cluster = cluster;
  }

  /** Clients work until so many operations have begun in all. */
  async work(until: number): Promise<void> {
    await Promise.all(Array.from({ length: CLIENTS }, () => this.#client(until)));
  }

  async #client(until: number): Promise<void> {
    while (this.#begun < until) {
      this.#begun += 1;
      const key = KEYS[this.#below(KEYS.length)] ?? '';
      if (this.#below(2) === 0) await this.read(key, this.#below(5));
      else await this.#write(key);
    }
  }

  async read(key: string, at: number): Promise<void> {
    const read = this.history.read(key, `node-${at + 1}`, now());
    try {
      const response = await fetch(this.#url(key, at));
      const text = await response.text();
      if (response.status !== 200 && response.status !== 404) throw new Error(text);
      read.value = response.status === 200 ? Number(text) : 0;
      read.endUs = now();
      this.counts.reads += 1;
    } catch {
      this.counts.failed += 1;
    }
  }

  /** A write under an operation id, which makes all its attempts one write, through whichever nodes. */
  async #write(key: string): Promise<void> {
    const write = this.history.write(key, this.#below(6) === 0 ? 'delete' : 'put', now());
    const id = randomUUID();
    let uncertain = false;
    for (let attempt = 0; attempt < 5; attempt += 1) {
      const outcome = await this.#attempt(key, write, id);
      if (outcome === 'done') {
        write.endUs = now();
        this.counts.writes += 1;
        return;
      }
      if (outcome === 'unknown') uncertain = true;
      this.counts.retried += 1;
    }
    write.void = !uncertain;
    this.counts.failed += 1;
  }

  async #attempt(key: string, { value }: RegisterRecorded, id: string): Promise<Outcome> {
    const headers = { 'Coterie-Operation-Id': id };
    const request = value === 0 ? { method: 'DELETE', headers } : { method: 'PUT', headers, body: String(value) };
    const answer = await fetch(this.#url(key, this.#below(5)), request)
      .then(async (response) => ({ status: response.status, text: await response.text() }))
      .catch(() => undefined);
    if (answer === undefined) return 'unknown';
    const { status, text } = answer;
    if (status === 204 || (value === 0 && status === 404)) return 'done';
    if (status !== 503) throw new Error(`a write is answered with ${status}: ${text}`);
    return (JSON.parse(text) as { readonly outcome: string }).outcome === 'none' ? 'none' : 'unknown';
  }

  #url(key: string, at: number): string {
    return `${this.#cluster.http(at)}/v1/kv/strong/${key}?timeoutMs=1000`;
  }

  #below(bound: number): number {
    this.#seed ^= this.#seed << 13;
    this.#seed ^= this.#seed >>> 17;
    this.#seed ^= this.#seed << 5;
    return (this.#seed >>> 0) % bound;
  }
}

function now(): number {
  return Math.round(performance.now() * 1000);
}

test('what clients of a strong bucket are told is linearizable, while a node dies and comes back', async () => {
  const cluster = await DevCluster.start({ nodes: 5, zones: 3 });
  try {
    const clients = new Clients(cluster);
    await clients.work(OPERATIONS / 3);
    // Killed, and started again, in the middle of the work.
    await Promise.all([clients.work((2 * OPERATIONS) / 3), cluster.kill(KILLED)]);
    const before = clients.counts.writes;
    await Promise.all([clients.work(OPERATIONS), cluster.start(KILLED)]);
    for (const key of KEYS) for (const at of [0, 1, 2, 3, 4]) await clients.read(key, at);
    const { history, counts } = clients;
    expect(history.check()).toEqual([]);
    expect(before).toBeGreaterThan(100);
    expect(counts.writes - before).toBeGreaterThan(50);
    expect(counts.reads).toBeGreaterThan(300);
    expect(counts.retried).toBeGreaterThan(0);
    // It would have noticed: one read more that shows what nobody can read any more.
    const [key = ''] = KEYS;
    const stale = history.read(key, 'nowhere', now());
    stale.value = -1;
    stale.endUs = now();
    expect(history.check()).toHaveLength(1);
  } finally {
    await cluster.stop();
  }
}, 300_000);
