/**
 * The storage engine: an ordered map of byte strings on one directory, as a log-structured merge tree (O'Neil et al., "The log-structured
 * merge-tree", 1996). Writes go to a commit log and a memtable; memtables are flushed to tables, tables are compacted level by level.
 *
 * Invariants:
 * - A write whose callback ran without an error is there after any crash that the fsync policy covers; a batch is there whole or not at all.
 * - A read answers what was written last, or an error; never something else.
 * - Memory is bounded: memtables, cached blocks, indexes and filters, delayed writes each have a budget.
 */

import { Buffer } from 'node:buffer';
import type { ByteString } from '../base/bytes.ts';
import { asCoterieError, CoterieError } from '../base/errors.ts';
import type { VfsLock } from '../env/vfs.ts';
import { isVfsError } from '../env/vfs.ts';
import { TABLE_ITSELF, TableReads } from './cache/table-reads.ts';
import { Background } from './compaction/background.ts';
import type { CollectionPolicy } from './compaction/compact-job.ts';
import { verifyJob } from './compaction/verify-job.ts';
import type { DamagedRange } from './damage.ts';
import type { EngineStats, VerifyReport } from './engine-stats.ts';
import { quarantineOf, statsOf } from './engine-stats.ts';
import type { Entry } from './entry.ts';
import { MAX_KEY_BYTES } from './entry.ts';
import type { EngineIterator, IterateOptions } from './iterate-options.ts';
import { ViewIterator } from './iterator.ts';
import type { KeyRange } from './key-range.ts';
import { touches } from './key-range.ts';
import { Lookup, Pending } from './lookup.ts';
import { VersionSet } from './manifest/version-set.ts';
import { Memtable } from './memtable/memtable.ts';
import type { EngineOptions, Settings } from './options.ts';
import { settingsOf } from './options.ts';
import type { Recovered } from './recovery.ts';
import { recover } from './recovery.ts';
import { Replayed } from './replayed.ts';
import { Snapshot, viewOf } from './snapshot.ts';
import type { View } from './tree.ts';
import { poolFor, Tree } from './tree.ts';
import { healed } from './heal.ts';
import type { Acknowledge } from './wal/segment.ts';
import type { PutMeta, WriteBatch } from './write-batch.ts';
import { closed, diskIsFull, WritePath } from './write-path.ts';

export { Pending } from './lookup.ts';
export { Snapshot } from './snapshot.ts';
export type { EngineIterator, IterateOptions } from './iterate-options.ts';
export type { CollectionPolicy } from './compaction/compact-job.ts';
export type { CollectableRange } from './sstable/table-meta.ts';
export type { DamagedRange } from './damage.ts';
export type { EngineStats, VerifyReport } from './engine-stats.ts';
export type { Replayed } from './replayed.ts';

const BATCH_ENTRIES = 256;
const BATCH_BYTES = 256 * 1024;

export class Engine {
  readonly #settings: Settings;
  readonly #lock: VfsLock;
  readonly #tree: Tree;
  readonly #reads: TableReads;
  readonly #lookup: Lookup;
  readonly #writes: WritePath;
  readonly #background: Background;
  /** What the log gave back at the start, where there is a follower who wants to know. */
  readonly replayed: Replayed | undefined;
  #closing: Promise<boolean> | undefined;

  /** Opens the store, making it where there is none. @throws CoterieError DATA_DIR_IN_USE, DATA_DIR_NEWER, DATA_DAMAGED, DISK_FAILED */
  static async open(options: EngineOptions): Promise<Engine> {
    const settings = settingsOf(options);
    const pool = poolFor(settings.memtableBytes, settings.sealedMemtables, settings.poison);
    try {
      const recovered = await recover(settings.vfs, settings.directory, pool);
      return new Engine(options, settings, recovered, pool);
    } catch (error) {
      if (!isVfsError(error)) throw error;
      const code = error.code === 'NO_SPACE' ? 'DISK_FULL' : 'DISK_FAILED';
      throw new CoterieError(code, `the data directory cannot be opened: ${error.message}`, { cause: error });
    }
  }

  private constructor(options: EngineOptions, settings: Settings, recovered: Recovered, pool: Tree['pool']) {
    this.#settings = settings;
    this.#lock = recovered.lock;
    this.#reads = new TableReads(settings);
    const versions = new VersionSet(settings.vfs, settings.directory, recovered.state, recovered.nextNumber, (file) =>
      this.#reads.forget(file),
    );
    const active = new Memtable(pool, recovered.sequence);
    const sealed = recovered.memtables.map(({ memtable, log }) => ({ memtable, log, finished: true })).reverse();
    this.#tree = new Tree(versions, pool, active, sealed, recovered.sequence);
    this.#lookup = new Lookup(this.#tree, this.#reads);
    const reads = {
      find: (key: ByteString, view: View): ReturnType<Lookup['find']> => this.#lookup.find(key, view),
      load: (pending: Pending): Promise<void> => this.load(pending),
    };
    // Before anything is flushed: it shows what was in the tables.
    if (options.follower !== undefined) this.replayed = new Replayed(this.#tree, reads, recovered.state.flushedSequence);
    this.#writes = new WritePath(settings, this.#tree, {
      turnBegins: () => {
        this.#reads.entries.turnBegins();
      },
      flushable: () => {
        this.#background.kick();
      },
      stopped: (error) => {
        this.#background.failWaiters(error);
      },
      hasRoom: () => {
        this.#background.resume();
      },
    });
    this.#background = new Background(settings, this.#tree, {
      shapeChanged: () => {
        this.#writes.shapeChanged();
      },
      flushing: (memtable) => this.#reads.renewEntries(memtable),
      tablesMade: (numbers) => {
        this.#openTables(numbers);
      },
      entriesGone: () => {
        this.#reads.entries.clear();
      },
      diskFull: () => {
        this.#writes.space.exhausted();
      },
      diskFailed: (error) => {
        this.#writes.fail(error);
      },
      activeLog: () => this.#writes.lowestLog,
    });
    if (recovered.tornBytes > 0) {
      settings.log({ level: 'info', name: 'log-tail-cut', detail: { bytes: recovered.tornBytes } });
    }
    this.#writes.shapeChanged();
    this.#background.kick();
    void this.#writes.space.look();
  }

  /**
   * The entry, `undefined` if there is none, or `Pending` if something must be read first: `load` it and ask again.
   *
   * @throws CoterieError DATA_DAMAGED (a DamageError) where the answer was lost, DISK_FAILED, CLOSED
   */
  tryGet(key: ByteString, snapshot?: Snapshot): Entry | undefined | Pending {
    if (this.#writes.isClosed) throw closed();
    return this.#lookup.find(key, snapshot === undefined ? undefined : viewOf(snapshot));
  }

  /** Afterwards, in the same turn, `tryGet` does not ask for the same thing again; it may ask for another. */
  load(pending: Pending): Promise<void> {
    if (this.#writes.isClosed) return Promise.reject(closed());
    const { meta, table, block, blocks, tables } = pending;
    if (tables.length === 0) return this.#reads.load(meta, table, block);
    this.#reads.pin(blocks, tables);
    return this.#reads.load(meta, table, block).finally(() => {
      // In this turn the caller asks again.
      this.#settings.clock.soon(() => {
        this.#reads.unpin(blocks, tables);
      });
    });
  }

  async get(key: ByteString, snapshot?: Snapshot): Promise<Entry | undefined> {
    for (;;) {
      const found = this.tryGet(key, snapshot);
      if (!(found instanceof Pending)) return found;
      await this.load(found);
    }
  }

  /** The entries of the keys, in their order, as of one moment; they may be kept. */
  async multiGet(keys: readonly ByteString[], snapshot?: Snapshot): Promise<(Entry | undefined)[]> {
    const entries = new Array<Entry | undefined>(keys.length);
    const view = snapshot ?? this.snapshot();
    try {
      const waiting: Promise<void>[] = [];
      for (const [place, key] of keys.entries()) {
        const found = this.tryGet(key, view);
        if (!(found instanceof Pending)) entries[place] = kept(found);
        else {
          waiting.push(
            this.load(found)
              .then(() => this.get(key, view))
              .then((entry) => {
                entries[place] = kept(entry);
              }),
          );
        }
      }
      await Promise.all(waiting);
    } finally {
      if (snapshot === undefined) view.close();
    }
    return entries;
  }

  /**
   * Takes the batch: it can be read at once, and `done` runs when it is durable, or, with `interval`, when the operating system has it.
   * A refusal runs `done` before `write` returns and has no effect: DISK_FULL, BUSY (too much waits for flushes), DISK_FAILED and CLOSED with
   * outcome `none`. A failure after that has the code DISK_FAILED or CLOSED and outcome `unknown`.
   */
  write(batch: WriteBatch, done: Acknowledge): void {
    this.#writes.write(batch, done);
  }

  /** `write` of one entry. @throws CoterieError KEY_EMPTY, KEY_TOO_LONG, PAIR_TOO_LARGE, SETTING_INVALID */
  put(key: ByteString, value: Uint8Array, meta: PutMeta, done: Acknowledge): void {
    this.#writes.put(key, value, meta, done);
  }

  snapshot(): Snapshot {
    if (this.#writes.isClosed) throw closed();
    return new Snapshot(this.#tree);
  }

  iterate(options: IterateOptions = {}): EngineIterator {
    if (this.#writes.isClosed) throw closed();
    const range: KeyRange = { from: options.from ?? '', to: options.to };
    const tree = this.#tree;
    const view = options.snapshot === undefined ? tree.view() : tree.hold(viewOf(options.snapshot));
    const limits = {
      limit: options.limit ?? Number.POSITIVE_INFINITY,
      batchEntries: options.batchEntries ?? BATCH_ENTRIES,
      batchBytes: options.batchBytes ?? BATCH_BYTES,
    };
    let held = true;
    return new ViewIterator(view, range, this.#reads, this.#settings.clock, limits, () => {
      if (held) tree.release(view);
      held = false;
    });
  }

  /**
   * Removes every key in `[from, to)`. When it resolves the removal is durable, tables that lay in the range whole are gone, and those it
   * took a quarter of or more have been rewritten; the rest goes with later compactions.
   */
  async dropRange(from: ByteString, to: ByteString | undefined): Promise<void> {
    if (from.length > MAX_KEY_BYTES || (to !== undefined && to.length > MAX_KEY_BYTES)) {
      throw new CoterieError('KEY_TOO_LONG', `a key has at most ${String(MAX_KEY_BYTES)} bytes`, { outcome: 'none' });
    }
    if (to !== undefined && to <= from) return;
    await settled((done) => {
      this.#writes.drop({ from, to }, done);
      this.#reads.entries.clear();
    });
    await this.flush();
    await this.#background.rewriteDropped();
    await this.#tree.versions.removed();
  }

  /**
   * Declares that what damage took in `[from, to)` has been written again, or is given up: keys there that damage hid are absent from now on,
   * whatever older tables hold for them.
   */
  async heal(from: ByteString, to: ByteString | undefined): Promise<void> {
    this.#writes.check();
    const { versions } = this.#tree;
    try {
      await this.#settings.follower.healing();
      // A compaction under way would put back what it read before.
      await this.#background.exclusive(() =>
        versions.apply((state) => ({ ...state, levels: healed(state.levels, versions.current, { from, to }) })),
      );
      this.#settings.follower.damaged();
    } catch (error) {
      throw this.#jobError(error);
    }
  }

  /** Whether there may be tombstones, or values that expire, among the keys in `[from, to)`. Reads nothing. */
  mayHoldDead(from: ByteString, to: ByteString | undefined): boolean {
    const { active, sealed, versions } = this.#tree;
    if (active.collectable || sealed.some(({ memtable }) => memtable.collectable)) return true;
    return versions.state.levels.some((tables) =>
      tables.some((table) => table.tombstones + table.expiring > 0 && touches({ from, to }, table.min, table.max)),
    );
  }

  /** Resolves when everything written so far is on the disk, whatever the fsync policy. */
  async sync(): Promise<void> {
    if (this.#settings.fsync.kind === 'interval') return this.flush();
    this.#writes.check();
    await settled((done) => {
      this.#writes.barrier(done);
    });
  }

  /** Brings all that is in memory now into tables. */
  async flush(): Promise<void> {
    this.#writes.check();
    if (this.#writes.log.isHalted) throw diskIsFull();
    // However often it is called, no more memtables wait than writes alone would make.
    if (this.#writes.isCrowded) await this.#background.flushed();
    this.#writes.sealActive();
    await this.#background.flushed();
  }

  /**
   * Without a policy: flushes, and merges everything into the deepest level in use. With one: flushes, and rewrites the tables that hold
   * something it collects.
   */
  async compact(policy?: CollectionPolicy): Promise<void> {
    await this.flush();
    await this.#background.compact(policy);
    await this.#tree.versions.removed();
  }

  /** The tables now in use, by number, which only grows. */
  tables(): readonly { readonly number: number; readonly bytes: number }[] {
    const tables = this.#tree.versions.state.levels.flat().map(({ number, bytes }) => ({ number, bytes }));
    return tables.sort((a, b) => a.number - b.number);
  }

  /** Reads every table whole, or those named, and reports what is damaged, and quarantines it. */
  async verify(only?: ReadonlySet<number>): Promise<VerifyReport> {
    this.#writes.check();
    const view = this.#tree.view();
    const damaged: DamagedRange[] = [];
    let tables = 0;
    let blocks = 0;
    let bytes = 0;
    try {
      for (const { meta, file } of view.version.levels.flat()) {
        if (only?.has(meta.number) === false) continue;
        const result = await this.#settings.executor.run(verifyJob, { directory: this.#settings.directory, table: meta }, 'background');
        tables += 1;
        blocks += result.blocks;
        bytes += result.bytes;
        for (const range of result.damaged) await this.#reads.quarantine(meta, file, range);
        damaged.push(...result.damaged, ...meta.holes);
      }
    } catch (error) {
      throw this.#jobError(error);
    } finally {
      this.#tree.release(view);
    }
    return { tables, blocks, bytes, damaged };
  }

  stats(): EngineStats {
    const { state, log, gate, space, counters } = this.#writes;
    return statsOf(state, this.#tree, this.#reads, log, gate, {
      ...counters,
      ...this.#background.counters,
      filtered: this.#lookup.filtered,
      diskFull: space.fills,
    });
  }

  /** Until when writers were stopped (stall.ts), monotonic; -Infinity if they never were. */
  get stoppedMs(): number {
    return this.#writes.gate.stoppedMs;
  }

  /** The number of the last write taken. */
  get sequence(): number {
    return this.#tree.sequence;
  }

  /** The ranges that cannot be answered, as far as they were met. */
  quarantined(): readonly DamagedRange[] {
    return quarantineOf(this.#tree);
  }

  /**
   * Makes what was written durable, ends the background work and lets go of the directory. Idempotent. Resolves false where the disk has failed: some
   * of it may be gone.
   */
  close(): Promise<boolean> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<boolean> {
    const durable = await this.#writes.close();
    await this.#background.close();
    await this.#tree.versions.close();
    await this.#reads.close();
    await this.#lock.release();
    this.#settings.log({ level: 'info', name: 'closed', detail: { durable } });
    return durable;
  }

  /** Brings in the indexes and filters of new tables, before the first read would wait for them. */
  #openTables(numbers: ReadonlySet<number>): void {
    if (this.#writes.isClosed) return;
    for (const { meta, file } of this.#tree.versions.current.levels.flat()) {
      if (numbers.has(meta.number)) this.#reads.load(meta, file, TABLE_ITSELF).catch(() => undefined);
    }
  }

  #jobError(error: unknown): CoterieError {
    const { failure } = this.#tree.versions;
    if (failure !== undefined) {
      this.#writes.fail(failure);
      return failure;
    }
    if (isVfsError(error)) return new CoterieError('DISK_FAILED', `the disk failed: ${error.message}`, { cause: error });
    return asCoterieError(error);
  }
}

/** Until the callback that `begin` hands on has run. */
function settled(begin: (done: Acknowledge) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    begin((error) => {
      if (error === undefined) resolve();
      else reject(error);
    });
  });
}

/** With the value in memory of its own. */
function kept(entry: Entry | undefined): Entry | undefined {
  if (entry === undefined) return undefined;
  const { kind, expireAtMs, gcTag, value } = entry;
  return { kind, expireAtMs, gcTag, value: Buffer.from(value) };
}
