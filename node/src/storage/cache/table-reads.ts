/**
 * Brings tables and blocks into memory: synchronously within the budget, else asynchronously with a bounded number in flight, so that
 * fdatasync never queues behind cold reads. Keeps the cache and the open files within their budgets.
 *
 * Invariants: bytes are verified on the way in, and what does not pass is noted as damage on the table, never cached; damage does not make
 * `load` fail, the lookup that follows answers with it.
 */

import { Buffer } from 'node:buffer';
import type { ByteString } from '../../base/bytes.ts';
import { asCoterieError, CoterieError } from '../../base/errors.ts';
import { isVfsError } from '../../env/vfs.ts';
import type { Entry } from '../entry.ts';
import { isMalformed, MalformedError, Reader } from '../binary.ts';
import type { DamagedRange } from '../damage.ts';
import type { Memtable } from '../memtable/memtable.ts';
import type { Settings } from '../options.ts';
import { openBlock, openBlockInto, openedLength, TRAILER_BYTES } from '../sstable/codec.ts';
import { decodeFooter, FOOTER_BYTES } from '../sstable/footer.ts';
import { TableIndex } from '../sstable/index-block.ts';
import type { TableFile } from '../sstable/table-file.ts';
import type { TableMeta } from '../sstable/table-meta.ts';
import { readProperties, tableName } from '../sstable/table-meta.ts';
import { blockRange } from '../sstable/table-scan.ts';
import { BlockCache } from './block-cache.ts';
import { BlockMemory } from './block-memory.ts';
import type { CachedBlock } from './block-cache.ts';
import { EntryCache } from './entry-cache.ts';
import { renewEntries } from './entry-renewal.ts';
import { ReadBudget } from './read-budget.ts';

/** The number under which a table's own opening is asked for. */
export const TABLE_ITSELF = -1;

const OPEN_LEAST = 8;
const IDLE_LEAST_BYTES = 256 * 1024;
/** The share of the cache that blocks get beside entries: what was read once stays for a while with its neighbours. */
const BLOCK_SHARE = 0.25;
/** Waiting for the next turn's budget is worth it for as many turns. */
const TURNS_WAITED = 4;

interface Waiter {
  readonly meta: TableMeta;
  readonly table: TableFile;
  readonly block: number;
  readonly settle: (error?: CoterieError) => void;
}

export class TableReads {
  readonly cache: BlockCache;
  readonly entries: EntryCache;
  readonly #memory: BlockMemory;
  readonly budget: ReadBudget;
  readonly #settings: Settings;
  readonly #open: TableFile[] = [];
  #hand = 0;
  #metaBytes = 0;
  #trims = false;
  #inFlight = 0;
  #closed = false;
  #drained: () => void = () => undefined;
  readonly #closings: Set<Promise<void>> = new Set();
  /** Reads that wait for a turn's budget, and for a place among the asynchronous ones. */
  #forTurn: Waiter[] = [];
  readonly #forThread: (() => Promise<void>)[] = [];
  syncReads = 0;
  asyncReads = 0;
  damagedBlocks = 0;
  /** The scratch of synchronous reads. */
  #scratch: Buffer;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#memory = new BlockMemory(Math.max(IDLE_LEAST_BYTES, settings.cacheBytes / 16), settings.poison);
    this.cache = new BlockCache(this.#memory);
    this.entries = new EntryCache(settings.cacheBytes * (1 - BLOCK_SHARE), settings.poison);
    this.#scratch = Buffer.allocUnsafeSlow(settings.blockBytes * 2 + 64);
    this.budget = new ReadBudget(settings.clock, settings.turnReads, settings.turnReadMs, () => {
      this.#takeTurn();
    });
  }

  get bytes(): number {
    return this.cache.bytes + this.#memory.idleBytes + this.entries.bytes + this.#metaBytes;
  }

  get openFiles(): number {
    return this.#open.length;
  }

  /** The block, read now if the budget allows; `undefined` if it must be loaded, or turned out damaged (see `badBlocks`). */
  blockNow(meta: TableMeta, table: TableFile, block: number): CachedBlock | undefined {
    const cached = table.blocks.get(block);
    if (cached !== undefined) {
      cached.referenced = true;
      return cached;
    }
    if (!this.budget.hasTurn || table.badBlocks.has(block) || !this.budget.isFast(table)) return undefined;
    return this.#readNow(meta, table, block);
  }

  /** Keeps a copy of an entry, which is what the newest table that knows the key has for it. */
  keepEntry(key: ByteString, entry: Entry): void {
    this.entries.put(key, entry);
    this.#trimSoon();
  }

  /** The memtable is about to go to a table: resolves when nothing older is cached of its keys. */
  async renewEntries(memtable: Memtable): Promise<void> {
    await renewEntries(this.entries, memtable, this.#settings.clock);
    this.#trimSoon();
  }

  /** Afterwards, in the same turn, the block (or with TABLE_ITSELF the index and filter) is in memory, or known to be damaged. */
  load(meta: TableMeta, table: TableFile, block: number): Promise<void> {
    const under = table.loading.get(block);
    if (under !== undefined) return under;
    // The table went meanwhile: a new lookup will not ask for it.
    if (table.references === 0) return Promise.resolve();
    table.retain();
    const loading = new Promise<void>((resolve, reject) => {
      const settle = (error?: CoterieError): void => {
        table.loading.delete(block);
        if (error === undefined) resolve();
        else reject(error);
        table.release();
      };
      const waiter: Waiter = { meta, table, block, settle };
      if (block !== TABLE_ITSELF && this.budget.isFast(table) && this.#forTurn.length < this.#settings.turnReads * TURNS_WAITED) {
        this.#forTurn.push(waiter);
        this.budget.nextTurn();
      } else {
        this.#onThread(waiter);
      }
    });
    table.loading.set(block, loading);
    return loading;
  }

  /** Keeps what a lookup went through in memory until `unpin`. */
  pin(blocks: readonly CachedBlock[], tables: readonly TableFile[]): void {
    for (const block of blocks) block.pins += 1;
    for (const table of tables) table.busy += 1;
  }

  unpin(blocks: readonly CachedBlock[], tables: readonly TableFile[]): void {
    for (const block of blocks) block.pins -= 1;
    for (const table of tables) table.busy -= 1;
    this.#trimSoon();
  }

  /**
   * The stored bytes of `count` blocks from `first` on, trailers included, for an iterator; short where the file is. The caller holds the
   * table, and has loaded its index.
   */
  readStored(table: TableFile, index: TableIndex, first: number, count: number): Promise<Buffer> {
    const from = index.place(first).offset;
    const last = index.place(first + count - 1);
    const length = last.offset + last.length + TRAILER_BYTES - from;
    table.busy += 1;
    return new Promise((resolve, reject) => {
      this.#forThread.push(async () => {
        try {
          this.#refuseClosed();
          const { file } = table;
          if (file === undefined) throw new CoterieError('INTERNAL', 'the table is not open');
          const stored = Buffer.allocUnsafeSlow(length);
          this.asyncReads += 1;
          resolve(stored.subarray(0, await file.read(stored, from)));
        } catch (error) {
          reject(readFailed(table, error));
        } finally {
          table.busy -= 1;
        }
      });
      this.#startReads();
    });
  }

  /** A block that an iterator read by itself does not pass. */
  scanFoundDamage(meta: TableMeta, table: TableFile, block: number): void {
    if (table.index !== undefined && !table.badBlocks.has(block)) this.#noteDamage(meta, table, block, table.index);
  }

  /** Notes damage that a job found, unless it was met already. @throws CoterieError DISK_FAILED, CLOSED */
  async quarantine(meta: TableMeta, table: TableFile, range: DamagedRange): Promise<void> {
    if (table.index === undefined) await this.load(meta, table, TABLE_ITSELF);
    const { index } = table;
    if (index === undefined || table.brokenAt !== undefined) return;
    for (let block = 0; block < index.count; block += 1) {
      if (index.place(block).offset !== range.offset) continue;
      this.scanFoundDamage(meta, table, block);
      return;
    }
    this.#noteBroken(meta, table, range.offset, 'its content does not agree with itself');
  }

  /** Closes the file and forgets everything in memory. */
  async forget(table: TableFile): Promise<void> {
    // Whoever read one of its blocks in this turn may still use it.
    if (table.blocks.size > 0) await new Promise<void>((resolve) => this.#settings.clock.soon(resolve));
    this.cache.forget(table);
    const place = this.#open.indexOf(table);
    if (place >= 0) this.#dropMeta(place);
    await this.#closeFile(table);
  }

  /** Refuses what waits, lets what is under way end, and closes all files. */
  async close(): Promise<void> {
    this.#closed = true;
    const waiting = this.#forTurn;
    this.#forTurn = [];
    for (const waiter of waiting) waiter.settle(new CoterieError('CLOSED', 'the store is closed'));
    this.#startReads();
    if (this.#inFlight > 0) {
      await new Promise<void>((resolve) => {
        this.#drained = resolve;
      });
    }
    while (this.#open.length > 0) {
      const table = this.#open[0];
      if (table !== undefined) await this.forget(table);
    }
    await Promise.all(this.#closings);
  }

  #readNow(meta: TableMeta, table: TableFile, block: number): CachedBlock | undefined {
    const { index, file } = table;
    if (index === undefined || file === undefined) return undefined;
    const { offset, length } = index.place(block);
    const stored = length + TRAILER_BYTES;
    if (stored > this.#scratch.length) this.#scratch = Buffer.allocUnsafeSlow(2 * stored);
    const into = this.#scratch.subarray(0, stored);
    this.syncReads += 1;
    let read: number;
    try {
      read = this.budget.charge(table, () => file.readSync(into, offset));
    } catch (error) {
      throw readFailed(table, error);
    }
    return this.#take(meta, table, block, read === stored ? into : into.subarray(0, 0), offset);
  }

  /** Verifies and caches; notes the damage of what does not pass. */
  #take(meta: TableMeta, table: TableFile, block: number, stored: Buffer, offset: number): CachedBlock | undefined {
    const { index } = table;
    if (index === undefined) return undefined;
    try {
      const opened = openedLength(stored, table.number, offset);
      const memory = this.#memory.take(opened);
      try {
        openBlockInto(stored, memory, opened);
      } catch (error) {
        this.#memory.give(memory);
        throw error;
      }
      const cached = this.cache.insert(table, block, memory, opened);
      this.#trimSoon();
      return cached;
    } catch (error) {
      if (!isMalformed(error)) throw error;
      this.#noteDamage(meta, table, block, index);
      return undefined;
    }
  }

  #noteDamage(meta: TableMeta, table: TableFile, block: number, index: TableIndex): void {
    const range = blockRange(meta, index, block);
    table.badBlocks.set(block, range);
    this.damagedBlocks += 1;
    // Whether a key is answered must not depend on what was read before.
    this.entries.clear();
    this.#settings.log({ level: 'error', name: 'block-damaged', detail: { file: range.file, offset: range.offset } });
    this.#settings.follower.damaged();
  }

  #takeTurn(): void {
    const waiting = this.#forTurn;
    if (waiting.length === 0) return;
    this.#forTurn = [];
    for (const waiter of waiting) {
      const { meta, table, block } = waiter;
      if (table.blocks.has(block) || table.badBlocks.has(block)) waiter.settle();
      else if (table.file === undefined || !this.budget.isFast(table)) this.#onThread(waiter);
      else if (!this.budget.hasTurn) this.#forTurn.push(waiter);
      else {
        try {
          this.#readNow(meta, table, block);
          waiter.settle();
        } catch (error) {
          waiter.settle(asCoterieError(error));
        }
      }
    }
    if (this.#forTurn.length > 0) this.budget.nextTurn();
    this.#startReads();
  }

  #onThread(waiter: Waiter): void {
    const { meta, table, block, settle } = waiter;
    this.#forThread.push(async () => {
      table.busy += 1;
      try {
        this.#refuseClosed();
        await (block === TABLE_ITSELF ? this.#openTable(meta, table) : this.#readLater(waiter));
        table.busy -= 1;
        settle();
      } catch (error) {
        table.busy -= 1;
        settle(readFailed(table, error));
      }
    });
    this.#startReads();
  }

  #startReads(): void {
    // Once closed, what waits is only refused.
    while (this.#inFlight < this.#settings.coldReads || this.#closed) {
      const read = this.#forThread.shift();
      if (read === undefined) break;
      this.#inFlight += 1;
      void read().then(() => {
        this.#inFlight -= 1;
        this.#startReads();
        if (this.#closed && this.#inFlight === 0) this.#drained();
      });
    }
  }

  #refuseClosed(): void {
    if (this.#closed) throw new CoterieError('CLOSED', 'the store is closed');
  }

  async #readLater(waiter: Waiter): Promise<void> {
    const { meta, table, block } = waiter;
    if (table.file === undefined || table.index === undefined) await this.#openTable(meta, table);
    const { index, file } = table;
    if (index === undefined || file === undefined || table.blocks.has(block) || table.badBlocks.has(block)) return;
    const { offset, length } = index.place(block);
    const memory = this.#memory.take(length + TRAILER_BYTES);
    const stored = memory.subarray(0, length + TRAILER_BYTES);
    this.asyncReads += 1;
    const read = await file.read(stored, offset);
    if (!table.blocks.has(block)) this.#take(meta, table, block, read === stored.length ? stored : stored.subarray(0, 0), offset);
    this.#memory.give(memory);
  }

  async #openTable(meta: TableMeta, table: TableFile): Promise<void> {
    if (table.index !== undefined || table.brokenAt !== undefined) return;
    const path = `${this.#settings.directory}/${tableName(table.number)}`;
    let at = Math.max(0, table.bytes - FOOTER_BYTES);
    const file = table.file ?? (await this.#openFile(path));
    try {
      if (file === undefined) throw new MalformedError('the file is missing', 0);
      table.file = file;
      const read = async (offset: number, length: number): Promise<Buffer> => {
        if (offset < 0 || offset + length > table.bytes) throw new MalformedError('place out of range', 0);
        const bytes = Buffer.allocUnsafeSlow(length);
        this.asyncReads += 1;
        if ((await file.read(bytes, offset)) !== length) throw new MalformedError('file cut short', 0);
        return bytes;
      };
      const footer = decodeFooter(await read(at, FOOTER_BYTES));
      if (footer.number !== table.number) throw new MalformedError('the file is another table', 36);
      // Filter, index, properties and footer lie one behind the other: one read brings them all.
      const first = footer.filter.length > 0 ? footer.filter.offset : footer.index.offset;
      const tail = await read(first, table.bytes - first);
      const part = (place: { readonly offset: number; readonly length: number }): Buffer => {
        at = place.offset;
        const from = place.offset - first;
        if (from < 0 || from + place.length + TRAILER_BYTES > tail.length) throw new MalformedError('place out of range', 0);
        return openBlock(tail.subarray(from, from + place.length + TRAILER_BYTES), table.number, place.offset);
      };
      readProperties(new Reader(part(footer.properties)));
      const index = new TableIndex(part(footer.index));
      const filter = footer.filter.length > 0 ? part(footer.filter) : undefined;
      table.index = index;
      table.filter = filter;
      table.metaBytes = index.bytes.length + (filter?.length ?? 0);
      table.referenced = true;
      this.#metaBytes += table.metaBytes;
      this.#open.push(table);
      this.#trimSoon();
    } catch (error) {
      table.file = undefined;
      await file?.close().catch(() => undefined);
      if (!isMalformed(error)) throw error;
      this.#noteBroken(meta, table, at, error.message);
    }
  }

  #noteBroken(meta: TableMeta, table: TableFile, at: number, what: string): void {
    table.brokenAt = at;
    this.damagedBlocks += 1;
    this.entries.clear();
    this.#settings.log({ level: 'error', name: 'table-damaged', detail: { file: tableName(meta.number), offset: at, what } });
    this.#settings.follower.damaged();
  }

  async #openFile(path: string): Promise<TableFile['file']> {
    try {
      return await this.#settings.vfs.open(path, 'read');
    } catch (error) {
      if (isVfsError(error) && error.code === 'NOT_FOUND') return undefined;
      throw error;
    }
  }

  /** Budgets are kept between turns: what a turn brought in stays until its end. */
  #trimSoon(): void {
    if (this.#trims) return;
    if (this.bytes <= this.#settings.cacheBytes && this.#open.length <= this.#settings.openFiles) return;
    this.#trims = true;
    this.#settings.clock.soon(() => {
      this.#trims = false;
      this.#closeUnused();
      const budget = Math.max(0, this.#settings.cacheBytes - this.#metaBytes);
      this.entries.trim(budget - Math.min(this.cache.bytes, budget * BLOCK_SHARE));
      this.cache.trim(Math.max(0, budget - this.entries.bytes));
    });
  }

  #closeUnused(): void {
    let spared = 2 * this.#open.length;
    const over = (): boolean =>
      this.#open.length > this.#settings.openFiles || (this.#metaBytes > this.#settings.cacheBytes / 2 && this.#open.length > OPEN_LEAST);
    while (over() && spared > 0) {
      spared -= 1;
      if (this.#hand >= this.#open.length) this.#hand = 0;
      const table = this.#open[this.#hand];
      if (table === undefined) return;
      if (table.referenced || table.busy > 0) {
        table.referenced = false;
        this.#hand += 1;
        continue;
      }
      this.#dropMeta(this.#hand);
      void this.#closeFile(table);
    }
  }

  #closeFile(table: TableFile): Promise<void> {
    const { file } = table;
    table.file = undefined;
    if (file === undefined) return Promise.resolve();
    const closing = file.close().catch(() => undefined);
    this.#closings.add(closing);
    return closing.finally(() => {
      this.#closings.delete(closing);
    });
  }

  #dropMeta(place: number): void {
    const table = this.#open[place];
    const last = this.#open.pop();
    if (table === undefined || last === undefined) return;
    if (last !== table) this.#open[place] = last;
    this.#metaBytes -= table.metaBytes;
    table.metaBytes = 0;
    table.index = undefined;
    table.filter = undefined;
  }
}

function readFailed(table: TableFile, error: unknown): CoterieError {
  if (isVfsError(error)) {
    return new CoterieError('DISK_FAILED', `${tableName(table.number)} cannot be read: ${error.code}`, { cause: error });
  }
  return asCoterieError(error);
}
