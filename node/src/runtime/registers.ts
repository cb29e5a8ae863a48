/**
 * This store's copies of strong keys, as their coordinators use them: reading a tag or a value, and the acceptor's part in agreeing on the tag of
 * an operation (cluster/quorum/strong-write.ts). Values are stored by `LocalStore.merge`, as everywhere.
 *
 * Invariants:
 * - a copy is told of as held only when it is durable;
 * - a store that does not count (blank, wiped, rewound, removed) says so in every answer, and neither promises nor accepts;
 * - promises live in memory only, a bounded number of them: one that is forgotten is one under which nothing is accepted any more;
 * - checking a promise, reading the copy and handing the new one to the engine happen in one turn.
 */

import type { ByteString } from '../base/bytes.ts';
import { asCoterieError, CoterieError } from '../base/errors.ts';
import { Pending } from '../storage/engine.ts';
import type { Entry } from '../storage/entry.ts';
import { readHeader } from '../cluster/versioning/codec.ts';
import { compareRecords, latestRecord, mergeRegisters, type RegisterRecord } from '../cluster/versioning/register.ts';
import { encodeRegister, isLive, readTag, registerIn } from '../cluster/versioning/register-codec.ts';
import { counterOf, NO_TAG, type Tag } from '../cluster/versioning/tag.ts';
import { CHECKSUM } from './core.ts';
import type { LocalStore } from './local-store.ts';
import type { Standing } from './standing.ts';

/** Operations whose promises are remembered at once. */
const MOST_PROMISES = 4096;

export interface HeldTag {
  readonly tag: Tag;
  readonly live: boolean;
  readonly counts: boolean;
}

export interface Promised extends HeldTag {
  /** 0: promised. Else the attempt that has a higher ballot. */
  readonly outvotedBy: number;
  readonly record: RegisterRecord | undefined;
}

export interface Accepted {
  readonly counts: boolean;
  /** 0: accepted. */
  readonly outvotedBy: number;
}

export type Fail = (error: CoterieError) => void;

export class Registers {
  readonly #store: LocalStore;
  readonly #standing: Standing;
  /** The highest ballot promised, by disk key and operation id; the oldest promise first. */
  readonly #promises = new Map<ByteString, Tag>();

  constructor(store: LocalStore, standing: Standing) {
    this.#store = store;
    this.#standing = standing;
  }

  /**
   * Reads the copy of a key. `use` borrows the bytes until it returns.
   *
   * @param durable not before what is told is durable
   */
  read(key: ByteString, durable: boolean, use: (held: HeldTag, bytes: Uint8Array | undefined) => void, fail: Fail): void {
    this.#store.read(
      key,
      (bytes) => {
        if (bytes === undefined || !durable) {
          use(this.#held(bytes), bytes);
          return;
        }
        this.#whenDurable(key, bytes, use, fail);
      },
      fail,
    );
  }

  #whenDurable(key: ByteString, bytes: Uint8Array, use: (held: HeldTag, bytes: Uint8Array | undefined) => void, fail: Fail): void {
    const call = { open: true, bytes };
    this.#store.whenDurable(key, bytes, (error) => {
      call.open = false;
      if (error !== undefined) fail(error);
      else use(this.#held(call.bytes), call.bytes);
    });
    // What is lent is gone after this turn.
    if (call.open) call.bytes = new Uint8Array(bytes);
  }

  #held(bytes: Uint8Array | undefined): HeldTag {
    const counts = this.#standing.countsInReads();
    return bytes === undefined ? { tag: NO_TAG, live: false, counts } : { tag: readTag(bytes), live: isLive(bytes), counts };
  }

  /** Promises to accept nothing under a lower ballot for the operation, unless a higher one was promised or accepted. */
  prepare(key: ByteString, id: ByteString, ballot: Tag, done: (promised: Promised) => void, fail: Fail): void {
    this.#store.read(
      key,
      (bytes) => {
        const held = this.#held(bytes);
        const record = bytes === undefined ? undefined : latestRecord(registerIn(bytes, CHECKSUM), id);
        const before = this.#promises.get(key + id) ?? NO_TAG;
        const higher = record !== undefined && record.ballot > before ? record.ballot : before;
        if (!held.counts || higher >= ballot) {
          done({ ...held, outvotedBy: Math.max(1, counterOf(higher)), record });
          return;
        }
        this.#promise(key + id, ballot);
        done({ ...held, outvotedBy: 0, record });
      },
      fail,
    );
  }

  #promise(operation: ByteString, ballot: Tag): void {
    this.#promises.delete(operation);
    this.#promises.set(operation, ballot);
    if (this.#promises.size <= MOST_PROMISES) return;
    for (const oldest of this.#promises.keys()) {
      this.#promises.delete(oldest);
      return;
    }
  }

  /** Accepts the tag for the operation, durably, if the record's ballot is the one that was promised. */
  accept(key: ByteString, record: RegisterRecord, done: (accepted: Accepted) => void, fail: Fail): void {
    try {
      const entry = this.#store.tryGet(key);
      if (entry instanceof Pending) {
        this.#store.load(entry).then(
          () => {
            this.accept(key, record, done, fail);
          },
          (error: unknown) => {
            fail(asCoterieError(error));
          },
        );
        return;
      }
      this.#acceptInto(key, entry, record, done, fail);
    } catch (error) {
      const coded = asCoterieError(error);
      if (coded.code === 'INTERNAL') throw error;
      fail(coded);
    }
  }

  #acceptInto(key: ByteString, local: Entry | undefined, record: RegisterRecord, done: (accepted: Accepted) => void, fail: Fail): void {
    const counts = this.#standing.countsInReads();
    const promised = this.#promises.get(key + record.id);
    if (!counts || promised !== record.ballot) {
      done({ counts, outvotedBy: Math.max(1, counterOf(promised ?? record.ballot)) });
      return;
    }
    const merged = mergeRegisters(registerIn(local?.value, CHECKSUM), { tag: NO_TAG, value: undefined, records: [record] });
    if (!merged.records.some((kept) => compareRecords(kept, record) === 0)) {
      const message = 'more operations are under way on the key than its replicas remember';
      fail(new CoterieError('BUSY', message, { outcome: 'none' }));
      return;
    }
    const bytes = encodeRegister(merged, CHECKSUM);
    this.#store.put(key, local, bytes, readHeader(bytes), (error) => {
      if (error === undefined) done({ counts, outvotedBy: 0 });
      else fail(error);
    });
  }
}
