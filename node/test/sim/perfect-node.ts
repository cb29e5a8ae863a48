/**
 * A store that cannot fail, behind the interface of a node: every machine answers from one shared map, with dots that a global counter
 * mints. It shows that clients, faults and checkers raise no false alarm, and what they make of bugs that are put in here.
 */

import type { KvNode, PutExpiry, ReadResult, Version, WriteOptions, WriteResult } from '../../src/runtime/kv.ts';
import { STRONG_BUCKET } from '../../sim/clients/strong-client.ts';
import type { NodeOptions } from '../../src/runtime/options.ts';

const NO_COLLECTION = { partitions: 0, leastGeneration: 0, mostGeneration: 0, youngDead: 0, blocked: [] };

interface Live {
  readonly dot: number;
  readonly blind: boolean;
  readonly value: Uint8Array;
  expireAtMs: number;
}

interface Stored {
  live: Live[];
  /** Every dot of the key so far is covered by a context made now. */
  readonly operations: Map<string, WriteResult>;
}

/** Bugs that can be put in. */
export interface Bugs {
  /** Forgets every so-manyth write that it acknowledges. */
  readonly forgets?: number;
  /** Ignores operation ids. */
  readonly deaf?: boolean;
  /** Never deletes. */
  readonly hoards?: boolean;
  /** Turns a bit of every so-manyth value that it reads. */
  readonly rots?: number;
  /** Two calls in this many are never answered. */
  readonly silent?: number;
}

export class PerfectStore {
  readonly #keys = new Map<string, Stored>();
  readonly #bugs: Bugs;
  #dots = 0;
  #calls = 0;

  constructor(bugs: Bugs = {}) {
    this.#bugs = bugs;
  }

  open(options: NodeOptions): Promise<KvNode> {
    const { clock } = options.env;
    const live = (key: string): Live[] =>
      this.#stored(key).live.filter(({ expireAtMs }) => expireAtMs === 0 || expireAtMs > clock.wallMs());
    const versions = (key: string): Version[] => {
      this.#calls += 1;
      return live(key).map(({ value, expireAtMs, dot }) => ({
        value:
          this.#bugs.rots !== undefined && this.#calls % this.#bugs.rots === 0
            ? value.map((byte, at) => (at === 5 ? byte ^ 1 : byte))
            : value,
        expireAtMs,
        time: { ms: dot, logical: 0 },
      }));
    };
    const later = <T>(answer: () => T): Promise<T> =>
      new Promise((resolve) => {
        this.#calls += 1;
        if (this.#bugs.silent !== undefined && this.#calls % this.#bugs.silent < 2) return;
        clock.after(1, () => {
          resolve(answer());
        });
      });
    const write = (key: string, value: Uint8Array | undefined, expiry: PutExpiry, asked: WriteOptions): Promise<WriteResult> => {
      const copy = value === undefined ? undefined : Uint8Array.from(value);
      const seen = asked.context === undefined ? undefined : dotsOf(asked.context);
      const id = asked.operationId === undefined || this.#bugs.deaf === true ? undefined : String(asked.operationId);
      return later(() => {
        const stored = this.#stored(key);
        const known = id === undefined ? undefined : stored.operations.get(id);
        if (known !== undefined) return known;
        const before = live(key);
        this.#dots += 1;
        const dot = this.#dots;
        const kept = expiry.keepTtl === true ? (before[0]?.expireAtMs ?? 0) : (expiry.expireAtMs ?? 0);
        if (this.#bugs.forgets === undefined || dot % this.#bugs.forgets !== 0) {
          if (copy !== undefined || this.#bugs.hoards !== true) {
            stored.live = seen === undefined ? [] : stored.live.filter((one) => !seen.has(one.dot));
          }
          if (copy !== undefined) stored.live.unshift({ dot, blind: seen === undefined, value: copy, expireAtMs: kept });
        }
        const result = {
          context: contextOf(seen === undefined ? [dot] : [dot, ...seen]),
          existed: before.length > 0,
          siblings: stored.live.length,
        };
        if (id !== undefined) stored.operations.set(id, result);
        return result;
      });
    };
    const counters = {};
    return Promise.resolve({
      limits: { keyBytes: 1024, pairBytes: 10_240 },
      bucket: () => undefined,
      get: (_bucket, key): Promise<ReadResult> =>
        later(() => ({
          versions: versions(key),
          context: this.#keys.has(key) ? contextOf(this.#stored(key).live.map(({ dot }) => dot)) : undefined,
        })),
      put: (_bucket, key, value, expiry, asked) => write(key, value, expiry, asked),
      // Its clients take promises.
      getInto: () => undefined,
      putInto: () => undefined,
      delete: (_bucket, key, asked) => write(key, undefined, {}, asked),
      expire: (_bucket, key, atMs) =>
        later(() => {
          const [newest] = live(key);
          if (newest !== undefined) newest.expireAtMs = atMs;
          return { changed: newest !== undefined };
        }),
      // The keys of the two buckets have different names.
      scan: (bucket) => {
        const listed = (key: string): boolean => key.startsWith('strong') === (bucket === STRONG_BUCKET) && live(key).length > 0;
        return Promise.resolve({ cursor: '0', keys: [...this.#keys.keys()].filter(listed) });
      },
      count: () => Promise.resolve(this.#keys.size),
      refusal: () => undefined,
      local: () => Promise.resolve({ versions: [], digest: undefined, bytes: undefined }),
      cluster: () => ({ clusterId: '', epoch: 1, n: 1, q: 1, self: '', buckets: [], members: [], collection: NO_COLLECTION }),
      ring: () => ({ epoch: 1, n: 1, q: 1, tokenHash: '', tokenSeed: '', members: [], partitions: [] }),
      repair: () => undefined,
      repairs: () => undefined,
      ready: () => ({ ready: true, reasons: [] }),
      stats: () => ({
        storeId: '',
        boot: 1,
        actorEpoch: 1,
        uptimeMs: 0,
        operationsInFlight: 0,
        operationsWaiting: 0,
        operationsLimit: 1,
        doubt: 0,
        counters,
        hints: { hints: 0, bytes: 0, limitBytes: 1, debt: 0, full: false },
        synchronisation: { synchronised: true, partitionsTotal: 0, partitionsDone: 0, waitingFor: undefined },
        engine: {},
      }),
      nowMs: () => clock.wallMs(),
      start: () => Promise.resolve(),
      stop: () => Promise.resolve(),
    });
  }

  #stored(key: string): Stored {
    const stored = this.#keys.get(key) ?? { live: [], operations: new Map() };
    this.#keys.set(key, stored);
    return stored;
  }
}

function contextOf(dots: readonly number[]): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(dots));
}

function dotsOf(context: Uint8Array): ReadonlySet<number> {
  return new Set(JSON.parse(new TextDecoder().decode(context)) as number[]);
}
