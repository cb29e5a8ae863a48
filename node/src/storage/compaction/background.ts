/**
 * The engine's background work: flushes sealed memtables in order, one at a time, and keeps the levels in shape, one compaction at a time.
 * A failure is tried again later, at once when a full disk has room; meanwhile writers feel the stall.
 *
 * Invariants: memtables reach level 0 in the order they were sealed; a job's inputs stay until its result is in the manifest; what a failed
 * job left on the disk is removed.
 */

import type { ByteString } from '../../base/bytes.ts';
import { asCoterieError, CoterieError } from '../../base/errors.ts';
import type { Timer } from '../../env/clock.ts';
import { isVfsError } from '../../env/vfs.ts';
import type { KeyRange } from '../key-range.ts';
import { covers, normalise, touches } from '../key-range.ts';
import type { Settings } from '../options.ts';
import type { ManifestState } from '../manifest/codec.ts';
import { bytesOf } from '../manifest/version.ts';
import type { Memtable } from '../memtable/memtable.ts';
import type { TableMeta } from '../sstable/table-meta.ts';
import { logName, tableName } from '../sstable/table-meta.ts';
import type { TableFormat } from '../sstable/table-writer.ts';
import type { Sealed, Tree } from '../tree.ts';
import type { CollectionPolicy } from './compact-job.ts';
import { compactJob, joined } from './compact-job.ts';
import { CompactionPace } from './compaction-pace.ts';
import { flushJob } from './flush-job.ts';
import { nextCompaction } from './full-compaction.ts';
import type { Compaction } from './picker.ts';
import { LEVELS, pickCompaction } from './picker.ts';
import { splitRanges } from './split.ts';

const RETRY_FIRST_MS = 100;
const RETRY_MOST_MS = 10_000;

export interface BackgroundOwner {
  /** The number of sealed memtables or of tables changed. */
  shapeChanged(): void;
  /** The memtable is about to become a table: resolves when that may be. */
  flushing(memtable: Memtable): Promise<void>;
  /** New tables are in the current version. */
  tablesMade(numbers: ReadonlySet<number>): void;
  /** A compaction dropped entries by its policy, or found some lost: what was answered of them before is no longer so. */
  entriesGone(): void;
  /** A job found no room on the disk. */
  diskFull(): void;
  /** It is unknown which manifest the disk has: nothing may be written any more. */
  diskFailed(error: CoterieError): void;
  /** The lowest log segment that the active memtable needs. */
  activeLog(): number;
}

export interface BackgroundCounters {
  flushes: number;
  compactions: number;
  /** Jobs that compactions ran as: more than one where they were split. */
  compactionJobs: number;
  moves: number;
  flushedBytes: number;
  compactedReadBytes: number;
  compactedWrittenBytes: number;
  overwritten: number;
  removalsDropped: number;
  expiredCollected: number;
  tombstonesCollected: number;
  jobFailures: number;
}

export class Background {
  readonly counters: BackgroundCounters = {
    flushes: 0,
    compactions: 0,
    compactionJobs: 0,
    moves: 0,
    flushedBytes: 0,
    compactedReadBytes: 0,
    compactedWrittenBytes: 0,
    overwritten: 0,
    removalsDropped: 0,
    expiredCollected: 0,
    tombstonesCollected: 0,
    jobFailures: 0,
  };
  readonly #settings: Settings;
  readonly #tree: Tree;
  readonly #owner: BackgroundOwner;
  readonly #pace: CompactionPace;
  #flushing = false;
  #compacting: Promise<void> | undefined;
  /** Whole-store work in progress: the picker waits. */
  #manual = 0;
  #manualTurn: Promise<void> = Promise.resolve();
  /** Ranges dropped since the inputs of the running compaction were chosen. */
  #lateDrops: KeyRange[] = [];
  #closed = false;
  #retry: Timer | undefined;
  #retryMs = RETRY_FIRST_MS;
  #flushWaiters: { readonly memtables: Set<unknown>; readonly resolve: () => void; readonly reject: (error: CoterieError) => void }[] = [];
  #idleWaiters: (() => void)[] = [];

  constructor(settings: Settings, tree: Tree, owner: BackgroundOwner) {
    this.#settings = settings;
    this.#tree = tree;
    this.#owner = owner;
    this.#pace = new CompactionPace(settings, () => this.#levels()[0]?.length ?? 0);
  }

  get isCompacting(): boolean {
    return this.#compacting !== undefined;
  }

  /** Starts what is due. */
  kick(): void {
    if (this.#closed) return;
    this.#retry?.cancel();
    this.#retry = undefined;
    void this.#flushAll();
    this.#compactMore();
  }

  /** There is room on the disk again. */
  resume(): void {
    this.#retryMs = RETRY_FIRST_MS;
    this.kick();
  }

  /** Resolves when what is sealed now is in tables; rejects when an attempt to bring it there fails. */
  flushed(): Promise<void> {
    const memtables = new Set(this.#tree.sealed.map((sealed) => sealed.memtable));
    if (memtables.size === 0) return Promise.resolve();
    if (this.#tree.versions.failure !== undefined) return Promise.reject(this.#tree.versions.failure);
    return new Promise((resolve, reject) => {
      this.#flushWaiters.push({ memtables, resolve, reject });
      this.kick();
    });
  }

  /** Everything into the deepest level in use; with a policy, only tables that hold something to collect are rewritten. */
  compact(policy: CollectionPolicy | undefined): Promise<void> {
    return this.exclusive(async () => {
      for (let level = 0; level < LEVELS; level += 1) await this.#compactLevel(level, policy);
    });
  }

  /** Runs `work` while no compaction does. */
  async exclusive(work: () => Promise<void>): Promise<void> {
    this.#manual += 1;
    const before = this.#manualTurn;
    let finish: () => void = () => undefined;
    this.#manualTurn = new Promise((resolve) => {
      finish = resolve;
    });
    await before;
    try {
      while (this.#compacting !== undefined) await this.#compacting;
      await work();
    } catch (error) {
      throw this.#failed(error);
    } finally {
      this.#manual -= 1;
      finish();
      this.#compactMore();
    }
  }

  /** Rewrites the tables that hide much of the range. */
  async rewriteDropped(): Promise<void> {
    this.#compactMore();
    while (this.#compacting !== undefined) await this.#compacting;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#pace.end();
    this.#retry?.cancel();
    this.failWaiters(new CoterieError('CLOSED', 'the store is closed'));
    while (this.#isFlushing()) await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
    while (this.#compacting !== undefined) await this.#compacting;
  }

  failWaiters(error: CoterieError): void {
    const waiters = this.#flushWaiters;
    this.#flushWaiters = [];
    for (const waiter of waiters) waiter.reject(error);
  }

  #isFlushing(): boolean {
    return this.#flushing;
  }

  #isClosed(): boolean {
    return this.#closed || this.#tree.versions.failure !== undefined;
  }

  #levels(): ManifestState['levels'] {
    return this.#tree.versions.state.levels;
  }

  #format(level: number): TableFormat {
    const { compression, blockBytes, restartInterval, bloomBitsPerKey } = this.#settings;
    return { compression: compression[Math.min(level, compression.length - 1)] ?? 'none', blockBytes, restartInterval, bloomBitsPerKey };
  }

  async #flushAll(): Promise<void> {
    if (this.#flushing) return;
    this.#flushing = true;
    try {
      while (!this.#isClosed()) {
        const oldest = this.#tree.sealed.at(-1);
        if (oldest?.finished !== true) break;
        await this.#flush(oldest);
        this.#retryMs = RETRY_FIRST_MS;
        this.#owner.shapeChanged();
        this.#compactMore();
      }
    } catch (error) {
      const coded = this.#failed(error);
      this.failWaiters(coded);
      this.#retryLater();
    } finally {
      this.#flushing = false;
      const waiters = this.#idleWaiters;
      this.#idleWaiters = [];
      for (const resolve of waiters) resolve();
    }
  }

  async #flush(sealed: Sealed): Promise<void> {
    const { directory, executor, follower } = this.#settings;
    const { memtable } = sealed;
    const { versions } = this.#tree;
    const number = versions.nextNumber();
    let table: TableMeta | undefined;
    try {
      if (!memtable.isEmpty) {
        const slabs = memtable.slabs.map((slab) => ({ memory: slab.memory, used: slab.used }));
        const written = executor.run(flushJob, { directory, number, format: this.#format(0), slabs }, 'urgent');
        const [result] = await Promise.all([written, this.#owner.flushing(memtable)]);
        table = result.table;
      }
      await follower.flushing(memtable.lastSequence);
      await versions.apply(
        (state) => {
          const masked = memtable.drops.length === 0 ? state.levels : state.levels.map((level) => maskTables(level, memtable.drops));
          const [first = [], ...deeper] = masked;
          const levels = table === undefined ? [first, ...deeper] : [[table, ...first], ...deeper];
          return { levels, flushedSequence: Math.max(state.flushedSequence, memtable.lastSequence), logFloor: this.#floorWithout(sealed) };
        },
        () => {
          this.#tree.sealed = this.#tree.sealed.filter((other) => other !== sealed);
          this.#lateDrops.push(...memtable.drops);
          this.#owner.tablesMade(new Set([number]));
        },
      );
    } catch (error) {
      await this.#discard([number]);
      throw error;
    }
    follower.flushed(memtable.lastSequence);
    this.counters.flushes += 1;
    this.counters.flushedBytes += table?.bytes ?? 0;
    const log = typeof sealed.log === 'number' ? sealed.log : sealed.log.number;
    await this.#settings.vfs.unlink(`${directory}/${logName(log)}`).catch(() => undefined);
    memtable.release();
    for (const waiter of [...this.#flushWaiters]) {
      waiter.memtables.delete(memtable);
      if (waiter.memtables.size > 0) continue;
      this.#flushWaiters = this.#flushWaiters.filter((other) => other !== waiter);
      waiter.resolve();
    }
    this.#settings.log({
      level: 'info',
      name: 'flushed',
      detail: { table: number, bytes: table?.bytes ?? 0, entries: table?.entries ?? 0 },
    });
  }

  #floorWithout(sealed: Sealed): number {
    let floor = this.#owner.activeLog();
    for (const other of this.#tree.sealed) {
      if (other === sealed) continue;
      floor = Math.min(floor, typeof other.log === 'number' ? other.log : other.log.lowest);
    }
    return floor;
  }

  #compactMore(): void {
    if (this.#compacting !== undefined || this.#manual > 0 || this.#isClosed() || this.#retry !== undefined) return;
    const compaction = pickCompaction(this.#levels(), this.#settings);
    if (compaction === undefined) return;
    this.#compacting = this.#run(compaction, undefined).then(
      () => {
        this.#compacting = undefined;
        this.#retryMs = RETRY_FIRST_MS;
        this.#compactMore();
      },
      (error: unknown) => {
        this.#compacting = undefined;
        this.#failed(error);
        this.#retryLater();
      },
    );
  }

  async #compactLevel(level: number, policy: CollectionPolicy | undefined): Promise<void> {
    let from: ByteString | undefined = '';
    while (from !== undefined && !this.#isClosed()) {
      const levels = this.#levels();
      const next = nextCompaction(levels, level, from, policy);
      if (next === undefined) return;
      const last: ByteString = next.inputs.at(-1)?.max ?? '';
      from = level === 0 && next.move ? '' : level === 0 ? undefined : `${last}\0`;
      const running = this.#run(next, policy);
      this.#compacting = running.then(
        () => undefined,
        () => undefined,
      );
      try {
        await running;
      } finally {
        this.#compacting = undefined;
      }
    }
    if (this.#isClosed()) throw this.#tree.versions.failure ?? new CoterieError('CLOSED', 'the store is closed');
  }

  async #run(compaction: Compaction, policy: CollectionPolicy | undefined): Promise<void> {
    const { versions } = this.#tree;
    const { inputs, below, level, output } = compaction;
    this.#lateDrops = [];
    if (compaction.move && policy === undefined) {
      const numbers = new Set(inputs.map((table) => table.number));
      await versions.apply((state) => {
        // As they are now: a range of them may have been dropped meanwhile.
        const now = state.levels.flat().filter((table) => numbers.has(table.number));
        return { ...state, levels: replaced(state.levels, compaction, now) };
      });
      this.counters.moves += 1;
      this.#owner.shapeChanged();
      return;
    }
    const version = versions.current;
    versions.retain(version);
    const total = bytesOf(inputs) + bytesOf(below);
    const { directory, executor, tableBytes } = this.#settings;
    const ranges = this.#ranges(compaction);
    const each = 4 + Math.ceil((2 * total) / tableBytes / ranges.length);
    const numbers = ranges.map(() => Array.from({ length: each }, () => versions.nextNumber()));
    try {
      const sources = [...(level === 0 ? inputs.map((table) => [table]) : [inputs]), ...(below.length > 0 ? [below] : [])];
      const deeper = this.#levels()
        .slice(output + 1)
        .map((tables) => tables.map(({ min, max }) => ({ min, max })));
      const common = { directory, sources, deeper, policy, format: this.#format(output), tableBytes };
      this.#pace.begin();
      const parts = await allOrNone(
        ranges.map((range, part) => executor.run(compactJob, { ...common, range, numbers: numbers[part] ?? [] }, 'background')),
      ).finally(() => {
        this.#pace.end();
      });
      const result = joined(parts);
      await versions.apply(
        (state) => ({
          ...state,
          // What was dropped while the job ran is still in its result.
          levels: replaced(state.levels, compaction, maskTables(result.tables, this.#lateDrops)),
        }),
        () => {
          this.#owner.tablesMade(new Set(result.tables.map((table) => table.number)));
          if (result.expired + result.tombstones + result.holes.length > 0) this.#owner.entriesGone();
        },
      );
      const { counters } = this;
      counters.compactions += 1;
      counters.compactionJobs += ranges.length;
      counters.compactedReadBytes += result.bytesRead;
      counters.compactedWrittenBytes += result.bytesWritten;
      counters.overwritten += result.overwritten;
      counters.removalsDropped += result.removals;
      counters.expiredCollected += result.expired;
      counters.tombstonesCollected += result.tombstones;
      const detail = { level, output, inputs: inputs.length + below.length, outputs: result.tables.length, bytes: result.bytesWritten };
      this.#settings.log({ level: 'info', name: 'compacted', detail });
      if (result.holes.length > 0) {
        this.#settings.log({
          level: 'error',
          name: 'damage-carried',
          detail: { ranges: result.holes.length, file: result.holes[0]?.file ?? '' },
        });
        this.#settings.follower.damaged();
      }
    } catch (error) {
      await this.#discard(numbers.flat());
      throw error;
    } finally {
      versions.release(version);
    }
    this.#owner.shapeChanged();
  }

  /** The key ranges whose merges run at the same time: more than one where each has a table to write. */
  #ranges(compaction: Compaction): readonly KeyRange[] {
    const { compactionParts, tableBytes, backgroundShare } = this.#settings;
    const tables = [...compaction.inputs, ...compaction.below];
    // While memtables wait, one worker is left to their flushes; while the foreground is short of time, one is enough.
    const most = this.#tree.sealed.length > 0 || backgroundShare() < 1 ? 1 : compactionParts;
    const parts = Math.min(most, Math.floor(bytesOf(tables) / tableBytes));
    if (parts < 2) return [{ from: '', to: undefined }];
    const files = new Map(this.#tree.versions.current.levels.flatMap((level) => level.map(({ meta, file }) => [meta.number, file])));
    return splitRanges(tables, ({ number }) => files.get(number)?.index, parts);
  }

  /** Removes what a failed job may have left; with the manifest's state unknown everything stays. */
  async #discard(numbers: readonly number[]): Promise<void> {
    if (this.#tree.versions.failure !== undefined) return;
    const { vfs, directory } = this.#settings;
    const names = new Set(await vfs.list(directory).catch((): string[] => []));
    for (const number of numbers) {
      const name = tableName(number);
      if (names.has(name)) await vfs.unlink(`${directory}/${name}`).catch(() => undefined);
    }
  }

  #failed(error: unknown): CoterieError {
    this.counters.jobFailures += 1;
    const { failure } = this.#tree.versions;
    if (failure !== undefined) {
      this.#owner.diskFailed(failure);
      return failure;
    }
    if (isVfsError(error)) {
      if (error.code === 'NO_SPACE') {
        this.#owner.diskFull();
        return new CoterieError('DISK_FULL', 'the disk is full', { cause: error });
      }
      return new CoterieError('DISK_FAILED', `the disk failed: ${error.message}`, { cause: error });
    }
    const coded = asCoterieError(error);
    if (coded.code !== 'CLOSED') {
      const cause: unknown = coded.cause;
      const what = Error.isError(cause) ? (cause.stack ?? cause.message) : coded.message;
      this.#settings.log({ level: 'error', name: 'background-failed', detail: { code: coded.code, what } });
    }
    return coded;
  }

  #retryLater(): void {
    if (this.#isClosed() || this.#retry !== undefined) return;
    this.#retry = this.#settings.clock.after(this.#retryMs, () => {
      this.#retry = undefined;
      this.kick();
    });
    this.#retryMs = Math.min(RETRY_MOST_MS, this.#retryMs * 2);
  }
}

/** What all of them answer, once all have ended, so that nobody writes any more when one has failed. */
async function allOrNone<T>(running: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(running);
  return Promise.all(running);
}

/** The levels with the compaction's tables exchanged for `tables`. */
function replaced(levels: ManifestState['levels'], compaction: Compaction, tables: readonly TableMeta[]): TableMeta[][] {
  const gone = new Set([...compaction.inputs, ...compaction.below].map((table) => table.number));
  const result = levels.map((level) => level.filter((table) => !gone.has(table.number)));
  while (result.length <= compaction.output) result.push([]);
  const output = result[compaction.output];
  output?.push(...tables);
  output?.sort((a, b) => (a.min < b.min ? -1 : a.min > b.min ? 1 : a.max < b.max ? -1 : 1));
  return result;
}

/** The tables with the ranges masked; those that lie in one of them whole are gone. */
export function maskTables(tables: readonly TableMeta[], drops: readonly KeyRange[]): TableMeta[] {
  const rest: TableMeta[] = [];
  for (const table of tables) {
    const hits = drops.filter((drop) => touches(drop, table.min, table.max));
    if (hits.some((drop) => covers(drop, table.min, table.max))) continue;
    rest.push(hits.length === 0 ? table : { ...table, masks: normalise([...table.masks, ...hits]) });
  }
  return rest;
}
