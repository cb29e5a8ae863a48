/**
 * This store's copies: encoded objects under disk keys, in the engine.
 *
 * Invariants: what is stored only grows in the order of versions (a write is a merge); `done` runs once, and without an error only when the copy
 * holds at least the object handed in, durably, whether or not it was written anew; an object that claims a time too far ahead, or was made under
 * an older generation of its partition than is admitted, never gets in; what is collected is answered as never written, and is not in the hash
 * trees, which change in the turn in which the copy does.
 */

import type { ByteString } from '../base/bytes.ts';
import { asCoterieError, CoterieError } from '../base/errors.ts';
import type { Engine } from '../storage/engine.ts';
import { Pending } from '../storage/engine.ts';
import type { Entry } from '../storage/entry.ts';
import type { PutMeta } from '../storage/write-batch.ts';
import { NEVER_COLLECTED, type Tagged } from '../cluster/collection/generation-table.ts';
import { partitionOfDiskKey } from '../cluster/ring/token.ts';
import type { Topology } from '../cluster/ring/topology.ts';
import { type ObjectHeader, readHeader } from '../cluster/versioning/codec.ts';
import type { HashTrees } from '../cluster/repair/hash-trees.ts';
import { rememberedUntilMs } from '../cluster/versioning/operation-window.ts';
import type { Generations } from './collection/generations.ts';
import type { Leases } from './leases.ts';
import type { Policies } from './policies.ts';
import { UndurableKeys } from './undurable.ts';

export type Done = (error: CoterieError | undefined) => void;

type Times = Pick<Leases, 'observe' | 'touch'>;
type Changes = Pick<HashTrees, 'replace'>;

/** What no round collects: values that do not expire, and the tombstones of registers, whose tags are a floor for the tags to come. */
const LASTING: PutMeta = { tombstone: false, expireAtMs: 0, gcTag: NEVER_COLLECTED };
const FLOOR_OF_TAGS: PutMeta = { tombstone: true, expireAtMs: 0, gcTag: NEVER_COLLECTED };

/** Who brought an object. */
type Source = 'peer' | 'repair';

export class LocalStore {
  readonly engine: Engine;
  readonly generations: Generations;
  readonly #topology: Topology;
  readonly #leases: Times;
  readonly #policies: Policies;
  readonly #trees: Changes | undefined;
  /** Of strong buckets only: the others tell what is in memory. */
  readonly #undurableKeys = new UndurableKeys();
  /** Writes that the engine has not called durable yet. */
  #undurable = 0;
  /** A write failed: what is in memory may never become durable. */
  #failed = false;

  /** @param trees where keys have other replicas to be compared with */
  constructor(engine: Engine, generations: Generations, topology: Topology, leases: Times, policies: Policies, trees: Changes | undefined) {
    this.engine = engine;
    this.generations = generations;
    this.#topology = topology;
    this.#leases = leases;
    this.#policies = policies;
    this.#trees = trees;
  }

  /**
   * The copy of a key. The bytes are borrowed until the turn ends.
   *
   * @throws CoterieError DATA_DAMAGED where the copy cannot be known
   */
  tryGet(key: ByteString): Entry | undefined | Pending {
    let entry: Entry | undefined | Pending;
    try {
      entry = this.engine.tryGet(key);
    } catch (error) {
      entry = this.#policies.unreadable(error);
    }
    return entry === undefined || entry instanceof Pending || !this.isCollected(key, entry) ? entry : undefined;
  }

  /** The same, with what is collected and still there: for writes, which must not be made on less than the store has. */
  tryGetHeld(key: ByteString): Entry | undefined | Pending {
    return this.engine.tryGet(key);
  }

  /** Whether the entry is gone, though it still lies on the disk. */
  isCollected(key: ByteString, entry: Tagged): boolean {
    if (entry.kind === 'value' && entry.expireAtMs === 0) return false;
    return this.generations.isCollected(partitionOfDiskKey(this.#topology, key), entry);
  }

  /** Reads what `tryGet` found missing from memory. Rejects with a CoterieError. */
  load(pending: Pending): Promise<void> {
    return this.engine.load(pending);
  }

  /** Runs `use` with the bytes of the copy, in this turn if it can. `use` borrows them until it returns, and may throw DATA_DAMAGED. */
  read(key: ByteString, use: (bytes: Uint8Array | undefined) => void, fail: (error: CoterieError) => void): void {
    let entry: Entry | undefined | Pending;
    try {
      entry = this.tryGet(key);
    } catch (error) {
      fail(asCoterieError(error));
      return;
    }
    if (entry instanceof Pending) {
      this.engine.load(entry).then(
        () => {
          this.read(key, use, fail);
        },
        (error: unknown) => {
          fail(asCoterieError(error));
        },
      );
      return;
    }
    try {
      use(entry?.value);
    } catch (error) {
      const coded = asCoterieError(error);
      if (coded.code === 'INTERNAL') throw error;
      fail(coded);
    }
  }

  /**
   * Stores an object that holds the present copy, `before` (undefined where there is none), which was read in this turn. `before` and `bytes` are
   * borrowed until the call returns.
   */
  put(key: ByteString, before: Entry | undefined, bytes: Uint8Array, header: ObjectHeader, done: Done): void {
    this.#put(key, before === undefined || this.isCollected(key, before) ? undefined : before.value, bytes, header, done);
  }

  /** @param hashed what of the key is in the hash trees */
  #put(key: ByteString, hashed: Uint8Array | undefined, bytes: Uint8Array, header: ObjectHeader, whenDurable: Done): void {
    const done = header.register ? this.#undurableKeys.begin(key, whenDurable) : whenDurable;
    const meta = this.#metaOf(key, bytes, header);
    const { engine } = this;
    const { sequence } = engine;
    // First, because the engine may seal its memtable within the call.
    this.#trees?.replace(key, hashed, bytes);
    try {
      this.#write(key, bytes, meta, done);
    } finally {
      // Refused without effect.
      if (engine.sequence === sequence) this.#trees?.replace(key, bytes, hashed);
    }
  }

  /** Tombstones, and values that expire, are tagged with the generation under which the store takes them. Registers are never collected. */
  #metaOf(key: ByteString, bytes: Uint8Array, { siblings, expireAtMs, register }: ObjectHeader): PutMeta {
    const tombstone = siblings === 0;
    if (register) return tombstone ? FLOOR_OF_TAGS : LASTING;
    if (!tombstone && expireAtMs === 0) return LASTING;
    const { generations } = this;
    const partition = partitionOfDiskKey(this.#topology, key);
    generations.pending.took(partition);
    // A retry must find its operation, so that it does not write the value once more.
    return { tombstone, expireAtMs: Math.max(expireAtMs, rememberedUntilMs(bytes)), gcTag: generations.of(partition) };
  }

  #write(key: ByteString, bytes: Uint8Array, meta: PutMeta, done: Done): void {
    this.#undurable += 1;
    this.engine.put(key, bytes, meta, (error) => {
      this.#undurable -= 1;
      if (error !== undefined) this.#failed = true;
      done(error);
    });
  }

  /** Takes the present copy anew where it is `wanted`, so that it is tagged with the present generation. Failures as of `merge`. */
  async retake(key: ByteString, wanted: (entry: Entry) => boolean): Promise<void> {
    for (;;) {
      const entry = this.tryGetHeld(key);
      if (entry instanceof Pending) {
        await this.engine.load(entry);
        continue;
      }
      if (entry === undefined || !wanted(entry)) return;
      await new Promise<void>((resolve, reject) => {
        this.put(key, entry, entry.value, readHeader(entry.value), (error) => {
          if (error === undefined) resolve();
          else reject(error);
        });
      });
      return;
    }
  }

  /**
   * Runs `done` once the copy of a strong bucket's key is durable, at once where it is. `bytes` is the present copy, borrowed until the call
   * returns; a copy whose write failed is written again.
   */
  whenDurable(key: ByteString, bytes: Uint8Array, done: Done): void {
    switch (this.#undurableKeys.of(key)) {
      case 'durable':
        done(undefined);
        return;
      case 'open':
        this.#undurableKeys.wait(key, done);
        return;
      case 'failed':
        this.#put(key, bytes, bytes, readHeader(bytes), done);
    }
  }

  /**
   * Merges an object of another store into the copy. `bytes` is borrowed until the call returns.
   * Failures with outcome `none`: GENERATION_STALE, CLOCK_SKEW, DATA_DAMAGED, DISK_FULL, BUSY.
   *
   * @param generation the oldest of the partition that anything in the object was read under
   */
  merge(key: ByteString, bytes: Uint8Array, generation: number, done: Done, source: Source = 'peer'): void {
    let entry: Entry | undefined | Pending;
    try {
      entry = this.engine.tryGet(key);
      if (entry instanceof Pending) {
        const own = new Uint8Array(bytes);
        this.engine.load(entry).then(
          () => {
            this.merge(key, own, generation, done, source);
          },
          (error: unknown) => {
            done(asCoterieError(error));
          },
        );
        return;
      }
      this.#mergeInto(key, entry, bytes, generation, done, source);
    } catch (error) {
      const coded = asCoterieError(error);
      if (coded.code === 'INTERNAL') throw error;
      done(coded);
    }
  }

  /** The same for an object that came by repair. */
  mergeRepaired(key: ByteString, bytes: Uint8Array, generation: number, done: Done): void {
    this.merge(key, bytes, generation, done, 'repair');
  }

  /**
   * Merges what enough other replicas hold of a key that this store may have lost: what cannot be known here is made up for by `bytes`. Afterwards
   * the newest tables know the key: healing hides whatever lies below the damage, also what could still be read there, because the filter of the
   * damaged table tells that it never held the key. For refills alone (cluster/repair/refill.ts). `bytes` is borrowed until the call returns.
   */
  refill(key: ByteString, bytes: Uint8Array, generation: number, done: Done): void {
    if (!this.#isLost(key)) {
      const own = new Uint8Array(bytes);
      // Whether the copy is lost may turn out only when it is read.
      const again = (error: CoterieError): void => {
        if (error.code === 'DATA_DAMAGED' && this.#isLost(key)) this.refill(key, own, generation, done);
        else done(error);
      };
      this.merge(key, own, generation, (error) => {
        if (error !== undefined) {
          again(error);
          return;
        }
        this.retake(key, () => true).then(
          () => {
            done(undefined);
          },
          (failure: unknown) => {
            again(asCoterieError(failure));
          },
        );
      });
      return;
    }
    try {
      this.#mergeInto(key, undefined, bytes, generation, done, 'repair');
    } catch (error) {
      const coded = asCoterieError(error);
      if (coded.code === 'INTERNAL') throw error;
      done(coded);
    }
  }

  #isLost(key: ByteString): boolean {
    try {
      this.engine.tryGet(key);
      return false;
    } catch (error) {
      return asCoterieError(error).code === 'DATA_DAMAGED';
    }
  }

  #mergeInto(key: ByteString, entry: Entry | undefined, bytes: Uint8Array, generation: number, done: Done, source: Source): void {
    const local = entry?.value;
    const incoming = readHeader(bytes);
    // Looked at in the turn that stores it: a message that was in time may have waited for the disk meanwhile. Of registers nothing is ever collected.
    if (!incoming.register && !this.generations.admits(partitionOfDiskKey(this.#topology, key), generation)) {
      done(staleGeneration());
      return;
    }
    if (!this.#leases.observe(incoming.newest)) {
      done(
        new CoterieError('CLOCK_SKEW', `an object is ${String(incoming.newest.ms)} ms in time, too far ahead of this node's clock`, {
          outcome: 'none',
        }),
      );
      return;
    }
    this.#leases.touch();
    const policies = this.#policies;
    let result = source === 'repair' ? policies.reconcileRepaired(local, bytes) : policies.reconcile(local, bytes);
    // To what is new, what is collected here adds nothing: elsewhere its space may have been given back, and all are to have the same.
    if (result.kind === 'store' && entry !== undefined && this.isCollected(key, entry)) result = policies.reconcile(undefined, bytes);
    if (result.kind === 'store') this.put(key, entry, result.bytes, result.header, done);
    else if (entry !== undefined && this.#reappears(key, entry, generation)) {
      this.put(key, entry, entry.value, readHeader(entry.value), done);
    } else if (entry === undefined || (this.#undurable === 0 && !this.#failed)) done(undefined);
    // The copy at hand may still be on its way to the disk: written again, it is durable when the engine says so.
    else if (incoming.register) this.put(key, entry, entry.value, readHeader(entry.value), done);
    else this.#write(key, entry.value, { tombstone: entry.kind === 'tombstone', expireAtMs: entry.expireAtMs, gcTag: entry.gcTag }, done);
  }

  /** Somebody still has, after the round that collected it here, what lies collected on this disk: both are to have it, and to collect it again. */
  #reappears(key: ByteString, entry: Entry, generation: number): boolean {
    return this.isCollected(key, entry) && generation > this.generations.floorOf(partitionOfDiskKey(this.#topology, key)).generation;
  }
}

/** An object was made under an older generation of its partition: it may hold what everybody else has collected. */
export function staleGeneration(): CoterieError {
  return new CoterieError('GENERATION_STALE', 'the object was made under an older generation of its partition', { outcome: 'none' });
}
