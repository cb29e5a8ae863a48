/**
 * A KvNode over one Map, for driving the protocols without a cluster: values, siblings, contexts, operation ids and expiry are real but
 * simple. A context is the list of the version numbers it covers. Every fault a test wants is given by `fail`.
 */

import { CoterieError } from '../../src/base/errors.ts';
import type { Sink } from '../../src/runtime/answer.ts';
import type {
  Bucket,
  ClusterView,
  ExpireResult,
  KvLimits,
  KvNode,
  LocalCopy,
  Maybe,
  NodeStats,
  PutExpiry,
  Readiness,
  ReadOptions,
  ReadResult,
  RingView,
  ScanResult,
  Version,
  WriteOptions,
  WriteResult,
} from '../../src/runtime/kv.ts';
import { into } from './into.ts';

interface Stored extends Version {
  readonly number: number;
}

interface Entry {
  versions: Stored[];
  covered: number;
  operations: Map<string, string>;
}

export interface MapNodeOptions {
  /** Answers come by promises, after this many turns of the microtask queue for the n-th operation; 0 answers at once. */
  readonly delay?: (operation: number) => number;
  readonly limits?: KvLimits;
}

export class MapNode implements KvNode {
  readonly limits: KvLimits;
  /** The wall clock; tests move it. */
  now = 1_700_000_000_000;
  /** What the next operations fail with, by kind. */
  fail: ((operation: 'read' | 'write') => CoterieError | undefined) | undefined;
  operations = 0;
  /** What operations are refused with before they are looked at. */
  overload: CoterieError | undefined;
  delay: ((operation: number) => number) | undefined;
  readiness: Readiness = { ready: true, reasons: [] };
  readonly #entries = new Map<string, Entry>();
  #next = 1;

  constructor(options: MapNodeOptions = {}) {
    this.limits = options.limits ?? { keyBytes: 1024, pairBytes: 10_240 };
    this.delay = options.delay;
  }

  /** Forgets every key. */
  clear(): void {
    this.#entries.clear();
  }

  bucket(name: string): Bucket | undefined {
    return this.cluster().buckets.find((bucket) => bucket.name === name);
  }

  get(bucket: string, key: string, options: ReadOptions): Maybe<ReadResult> {
    return this.#answer('read', bucket, options.r, options, () => {
      const entry = this.#entries.get(`${bucket}/${key}`);
      if (entry === undefined) return { versions: [], context: undefined };
      return { versions: this.#live(entry), context: contextOf(entry) };
    });
  }

  put(bucket: string, key: string, value: Uint8Array, expiry: PutExpiry, options: WriteOptions): Maybe<WriteResult> {
    const kept = Buffer.from(value);
    return this.#answer('write', bucket, options.w, options, () => {
      const entry = this.#entry(bucket, key);
      const existed = this.#live(entry).length > 0;
      if (this.#repeats(entry, options, kept.toString('latin1'))) return this.#written(entry, existed);
      const expireAtMs = expiry.keepTtl === true ? (this.#live(entry)[0]?.expireAtMs ?? 0) : (expiry.expireAtMs ?? 0);
      this.#remove(entry, options);
      const number = this.#next;
      this.#next += 1;
      entry.versions.unshift({ number, value: kept, expireAtMs, time: { ms: this.now, logical: number } });
      entry.covered = number;
      return this.#written(entry, existed);
    });
  }

  getInto(sink: Sink<ReadResult>, bucket: string, key: string, options: ReadOptions): void {
    into(sink, this.get(bucket, key, options));
  }

  putInto(sink: Sink<WriteResult>, bucket: string, key: string, value: Uint8Array, expiry: PutExpiry, options: WriteOptions): void {
    into(sink, this.put(bucket, key, value, expiry, options));
  }

  delete(bucket: string, key: string, options: WriteOptions): Maybe<WriteResult> {
    return this.#answer('write', bucket, options.w, options, () => {
      const entry = this.#entry(bucket, key);
      const existed = this.#live(entry).length > 0;
      if (this.#repeats(entry, options, 'delete')) return this.#written(entry, existed);
      this.#remove(entry, options);
      return this.#written(entry, existed);
    });
  }

  expire(bucket: string, key: string, atMs: number, options: WriteOptions): Maybe<ExpireResult> {
    return this.#answer('write', bucket, options.w, options, () => {
      const entry = this.#entries.get(`${bucket}/${key}`);
      if (entry === undefined || this.#live(entry).length === 0) return { changed: false };
      entry.versions = entry.versions.map((version) => ({ ...version, expireAtMs: atMs }));
      return { changed: true };
    });
  }

  async scan(bucket: string, cursor: string, count: number): Promise<ScanResult> {
    for (let turn = this.delay?.(this.operations) ?? 0; turn > 0; turn -= 1) await Promise.resolve();
    const keys = [...this.#entries]
      .filter(([name, entry]) => name.startsWith(`${bucket}/`) && this.#live(entry).length > 0)
      .map(([name]) => name.slice(bucket.length + 1));
    const from = Number(cursor);
    const to = from + count;
    return { cursor: to < keys.length ? String(to) : '0', keys: keys.slice(from, to) };
  }

  async count(bucket: string): Promise<number> {
    return (await this.scan(bucket, '0', Number.MAX_SAFE_INTEGER)).keys.length;
  }

  refusal(): CoterieError | undefined {
    return this.overload;
  }

  async local(bucket: string, key: string): Promise<LocalCopy> {
    const entry = this.#entries.get(`${bucket}/${key}`);
    if (entry === undefined) return Promise.resolve({ versions: [], digest: undefined, bytes: undefined });
    return Promise.resolve({ versions: this.#live(entry), digest: '00000000000000ff', bytes: contextOf(entry) });
  }

  cluster(): ClusterView {
    return {
      clusterId: '0123456789abcdef0123456789abcdef',
      epoch: 1,
      n: 1,
      q: 16,
      self: 'node-1',
      buckets: [
        { id: 0, name: 'default', consistency: 'eventual', r: 1, w: 1, blindWrites: 'newest' },
        { id: 1, name: 'other', consistency: 'eventual', r: 1, w: 1, blindWrites: 'newest' },
      ],
      members: [
        {
          id: 'ffffffffffffffffffffffffffffffff',
          name: 'node-1',
          host: '127.0.0.1',
          peerPort: 7401,
          respPort: 6401,
          httpPort: 8401,
          zone: 'zone-1',
          rack: 'rack-1',
          weight: 1,
          state: 'self',
          reachable: true,
          partitions: 16,
          incarnation: 65_536,
          heartbeatAgeMs: 0,
          load: 0,
          newestEpoch: 1,
          observers: [],
          accusers: [],
          waiting: [],
        },
      ],
      collection: { partitions: 16, leastGeneration: 1, mostGeneration: 1, youngDead: 0, blocked: [] },
    };
  }

  ring(): RingView {
    return {
      epoch: 1,
      n: 1,
      q: 16,
      tokenHash: 'halfsiphash-2-4',
      tokenSeed: '0123456789abcdef',
      members: ['node-1'],
      partitions: Array.from({ length: 16 }, () => [0]),
    };
  }

  repair(): void {
    throw new CoterieError('REQUEST_INVALID', 'every key has one replica: there is nothing to compare it with', { outcome: 'none' });
  }

  repairs(): undefined {
    return undefined;
  }

  ready(): Readiness {
    return this.readiness;
  }

  stats(): NodeStats {
    return {
      storeId: 'ffffffffffffffffffffffffffffffff',
      boot: 1,
      actorEpoch: 1,
      uptimeMs: 12_345,
      operationsInFlight: 0,
      operationsWaiting: 0,
      operationsLimit: 1,
      doubt: 0,
      counters: { reads: this.operations },
      synchronisation: { synchronised: true, partitionsTotal: 16, partitionsDone: 16, waitingFor: undefined },
      hints: { hints: 0, bytes: 0, limitBytes: 1, debt: 0, full: false },
      engine: {},
    };
  }

  nowMs(): number {
    return this.now;
  }

  async start(): Promise<void> {
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    return Promise.resolve();
  }

  #answer<T>(
    kind: 'read' | 'write',
    bucket: string,
    quorum: number | undefined,
    options: ReadOptions | WriteOptions,
    act: () => T,
  ): Maybe<T> {
    this.operations += 1;
    if (this.bucket(bucket) === undefined) throw new CoterieError('BUCKET_UNKNOWN', `there is no bucket ${bucket}`);
    if (quorum !== undefined && quorum !== 1) throw new CoterieError('QUORUM_INVALID', 'R and W are 1 to 1 here');
    if (options.quorum === 'sloppy') throw new CoterieError('UNSUPPORTED', 'sloppy quorums are not offered yet');
    const { timeoutMs } = options;
    if (timeoutMs !== undefined && (timeoutMs < 1 || timeoutMs > 60_000)) {
      throw new CoterieError('TIMEOUT_INVALID', 'a timeout is 1 to 60000 ms');
    }
    const turns = this.delay?.(this.operations) ?? 0;
    if (turns === 0) {
      const failure = this.fail?.(kind);
      if (failure !== undefined) throw failure;
      return act();
    }
    return this.#later(turns, kind, act);
  }

  async #later<T>(turns: number, kind: 'read' | 'write', act: () => T): Promise<T> {
    for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
    const failure = this.fail?.(kind);
    if (failure !== undefined) throw failure;
    return act();
  }

  #entry(bucket: string, key: string): Entry {
    const name = `${bucket}/${key}`;
    let entry = this.#entries.get(name);
    if (entry === undefined) {
      entry = { versions: [], covered: 0, operations: new Map() };
      this.#entries.set(name, entry);
    }
    return entry;
  }

  #live(entry: Entry): Stored[] {
    return entry.versions.filter((version) => version.expireAtMs === 0 || version.expireAtMs > this.now);
  }

  #repeats(entry: Entry, options: WriteOptions, body: string): boolean {
    if (options.operationId === undefined) return false;
    const id = Buffer.from(options.operationId).toString('hex');
    const known = entry.operations.get(id);
    if (known !== undefined && known !== body) {
      throw new CoterieError('OPERATION_ID_REUSED', 'this operation id was used for another write');
    }
    entry.operations.set(id, body);
    return known !== undefined;
  }

  /** What the write replaces: all without a context, else what the context covers. */
  #remove(entry: Entry, options: WriteOptions): void {
    if (options.context === undefined) {
      entry.versions = [];
      return;
    }
    const text = Buffer.from(options.context).toString('latin1');
    if (!/^ctx [0-9,]*$/.test(text)) throw new CoterieError('CONTEXT_BROKEN', 'the context is broken');
    const covered = new Set(text.slice(4).split(',').map(Number));
    entry.versions = entry.versions.filter((version) => !covered.has(version.number));
  }

  #written(entry: Entry, existed: boolean): WriteResult {
    return { context: contextOf(entry), existed, siblings: this.#live(entry).length };
  }
}

function contextOf(entry: Entry): Uint8Array {
  return Buffer.from(`ctx ${entry.versions.map((version) => version.number).join(',')}`, 'latin1');
}
