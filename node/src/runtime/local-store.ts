/**
 * This store's copies: encoded objects under disk keys, in the engine.
 *
 * Invariants: what is stored only grows in the order of versions (a write is a merge); `done` runs once, and without an error only when the copy
 * holds at least the object handed in, durably, whether or not it was written anew; an object that claims a time too far ahead never gets in;
 * the hash trees change in the turn in which the copy does.
 */

import type { ByteString } from '../base/bytes.ts';
import { asCoterieError, CoterieError } from '../base/errors.ts';
import type { Engine } from '../storage/engine.ts';
import { Pending } from '../storage/engine.ts';
import type { Entry } from '../storage/entry.ts';
import { type ObjectHeader, readHeader } from '../cluster/versioning/codec.ts';
import type { HashTrees } from '../cluster/repair/hash-trees.ts';
import type { Leases } from './leases.ts';
import type { Policies } from './policies.ts';
import { UndurableKeys } from './undurable.ts';

export type Done = (error: CoterieError | undefined) => void;

type Times = Pick<Leases, 'observe' | 'touch'>;
type Changes = Pick<HashTrees, 'replace'>;
/** Who brought an object. */
type Source = 'peer' | 'repair';

export class LocalStore {
  readonly engine: Engine;
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
  constructor(engine: Engine, leases: Times, policies: Policies, trees: Changes | undefined) {
    this.engine = engine;
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
    return this.engine.tryGet(key);
  }

  /** Reads what `tryGet` found missing from memory. Rejects with a CoterieError. */
  load(pending: Pending): Promise<void> {
    return this.engine.load(pending);
  }

  /** Runs `use` with the bytes of the copy, in this turn if it can. `use` borrows them until it returns, and may throw DATA_DAMAGED. */
  read(key: ByteString, use: (bytes: Uint8Array | undefined) => void, fail: (error: CoterieError) => void): void {
    let entry: Entry | undefined | Pending;
    try {
      entry = this.engine.tryGet(key);
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
  put(key: ByteString, before: Uint8Array | undefined, bytes: Uint8Array, header: ObjectHeader, whenDurable: Done): void {
    const done = header.register ? this.#undurableKeys.begin(key, whenDurable) : whenDurable;
    const { engine } = this;
    const { sequence } = engine;
    // First, because the engine may seal its memtable within the call.
    this.#trees?.replace(key, before, bytes);
    this.#undurable += 1;
    try {
      engine.put(key, bytes, { tombstone: header.siblings === 0, expireAtMs: header.expireAtMs }, (error) => {
        this.#undurable -= 1;
        if (error !== undefined) this.#failed = true;
        done(error);
      });
    } finally {
      // Refused without effect.
      if (engine.sequence === sequence) this.#trees?.replace(key, bytes, before);
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
        this.put(key, bytes, bytes, readHeader(bytes), done);
    }
  }

  /**
   * Merges an object of another store into the copy. `bytes` is borrowed until the call returns.
   * Failures with outcome `none`: CLOCK_SKEW, DATA_DAMAGED, DISK_FULL, BUSY.
   */
  merge(key: ByteString, bytes: Uint8Array, done: Done, source: Source = 'peer'): void {
    let entry: Entry | undefined | Pending;
    try {
      entry = this.engine.tryGet(key);
      if (entry instanceof Pending) {
        const own = new Uint8Array(bytes);
        this.engine.load(entry).then(
          () => {
            this.merge(key, own, done, source);
          },
          (error: unknown) => {
            done(asCoterieError(error));
          },
        );
        return;
      }
      this.#mergeInto(key, entry?.value, bytes, done, source);
    } catch (error) {
      const coded = asCoterieError(error);
      if (coded.code === 'INTERNAL') throw error;
      done(coded);
    }
  }

  /** The same for an object that came by repair. */
  mergeRepaired(key: ByteString, bytes: Uint8Array, done: Done): void {
    this.merge(key, bytes, done, 'repair');
  }

  /**
   * Merges what enough other replicas hold of a key that this store may have lost: what cannot be known here is made up for by `bytes`. For refills
   * alone (cluster/repair/refill.ts). `bytes` is borrowed until the call returns.
   */
  refill(key: ByteString, bytes: Uint8Array, done: Done): void {
    let lost = false;
    try {
      this.engine.tryGet(key);
    } catch (error) {
      const coded = asCoterieError(error);
      if (coded.code !== 'DATA_DAMAGED') {
        done(coded);
        return;
      }
      lost = true;
    }
    if (!lost) {
      const own = new Uint8Array(bytes);
      // Whether the copy is lost may turn out only when it is read.
      this.merge(key, own, (error) => {
        if (error?.code === 'DATA_DAMAGED' && this.#isLost(key)) this.refill(key, own, done);
        else done(error);
      });
      return;
    }
    try {
      this.#mergeInto(key, undefined, bytes, done, 'repair');
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

  #mergeInto(key: ByteString, local: Uint8Array | undefined, bytes: Uint8Array, done: Done, source: Source): void {
    const incoming = readHeader(bytes);
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
    const result = source === 'repair' ? policies.reconcileRepaired(local, bytes) : policies.reconcile(local, bytes);
    if (result.kind === 'store') this.put(key, local, result.bytes, result.header, done);
    else if (local === undefined || (this.#undurable === 0 && !this.#failed)) done(undefined);
    // The copy at hand may still be on its way to the disk: written again, it is durable when the engine says so.
    else this.put(key, local, local, readHeader(local), done);
  }
}
