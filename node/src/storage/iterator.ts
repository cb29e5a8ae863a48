/**
 * Ordered iteration over a view: a merge of its memtables and tables, newest first. The view does not change, so compactions, flushes and
 * writes beside it do not matter.
 *
 * Damage: a range that cannot be read is reported once, by an error; what older sources hold for its keys is not answered. Whoever calls
 * `next` again goes on behind it.
 */

import { Buffer } from 'node:buffer';
import type { ByteString } from '../base/bytes.ts';
import { CoterieError } from '../base/errors.ts';
import type { Clock } from '../env/clock.ts';
import { isMalformed } from './binary.ts';
import type { TableReads } from './cache/table-reads.ts';
import { TABLE_ITSELF } from './cache/table-reads.ts';
import type { DamagedRange } from './damage.ts';
import { DamageError } from './damage.ts';
import type { Entry, KeyedEntry } from './entry.ts';
import type { KeyRange } from './key-range.ts';
import { anyContains, contains, intersect, subtract } from './key-range.ts';
import type { Version } from './manifest/version.ts';
import type { TableRef } from './manifest/version.ts';
import type { Memtable } from './memtable/memtable.ts';
import { lowerBound } from './memtable/sorted-keys.ts';
import { entryAt } from './lookup.ts';
import { BlockCursor } from './sstable/block.ts';
import { openBlock, TRAILER_BYTES } from './sstable/codec.ts';
import { blockRange, wholeTable } from './sstable/table-scan.ts';
import type { View } from './tree.ts';

/** `wait`: call `bring` first. */
type Step = 'entry' | 'end' | 'wait';

interface Source {
  readonly key: ByteString;
  step(): Step;
  bring(): Promise<void>;
  /** The entry it stands on. */
  entry(): Entry | 'removed';
}

const AHEAD_BYTES = 64 * 1024;

class MemtableSource implements Source {
  key: ByteString = '';
  readonly #memtable: Memtable;
  readonly #sequence: number;
  readonly #range: KeyRange;
  readonly #clock: Clock;
  #runs: { readonly keys: readonly ByteString[]; at: number }[] | undefined;
  #entry: Entry | 'removed' = 'removed';

  constructor(memtable: Memtable, sequence: number, range: KeyRange, clock: Clock) {
    this.#memtable = memtable;
    this.#sequence = sequence;
    this.#range = range;
    this.#clock = clock;
  }

  step(): Step {
    if (this.#runs === undefined) return 'wait';
    for (;;) {
      let smallest: { readonly keys: readonly ByteString[]; at: number } | undefined;
      let key: ByteString | undefined;
      for (const run of this.#runs) {
        const candidate = run.keys[run.at];
        if (candidate !== undefined && (key === undefined || candidate < key)) {
          smallest = run;
          key = candidate;
        }
      }
      if (smallest === undefined || key === undefined || (this.#range.to !== undefined && key >= this.#range.to)) return 'end';
      smallest.at += 1;
      const found = this.#memtable.get(key, this.#sequence);
      if (found === undefined) continue;
      this.key = key;
      this.#entry = found;
      return 'entry';
    }
  }

  /** Sorts the keys in slices, so that a large memtable does not hold the loop. */
  async bring(): Promise<void> {
    const { sorted } = this.#memtable;
    while (!sorted.step()) await new Promise<void>((resolve) => this.#clock.soon(resolve));
    this.#runs = sorted.runs.map((keys) => ({ keys, at: lowerBound(keys, this.#range.from) }));
  }

  entry(): Entry | 'removed' {
    return this.#entry;
  }
}

/** One table of level 0, or all of a deeper level one after another. */
class TablesSource implements Source {
  key: ByteString = '';
  readonly #tables: readonly TableRef[];
  readonly #reads: TableReads;
  readonly #range: KeyRange;
  readonly #lost: (range: DamagedRange) => void;
  readonly #cursor = new BlockCursor();
  #next = 0;
  #ref: TableRef | undefined;
  #block = 0;
  #open = false;
  #seek = true;
  /** Stored bytes read ahead: of blocks `#aheadFirst` to before `#aheadEnd`. */
  #ahead: Buffer = Buffer.alloc(0);
  #aheadFirst = 0;
  #aheadEnd = 0;
  #aheadBytes = 0;

  constructor(tables: readonly TableRef[], reads: TableReads, range: KeyRange, lost: (range: DamagedRange) => void) {
    this.#tables = tables;
    this.#reads = reads;
    this.#range = range;
    this.#lost = lost;
  }

  step(): Step {
    for (;;) {
      if (this.#ref === undefined && !this.#nextTable()) return 'end';
      const ref = this.#ref;
      if (ref === undefined) return 'end';
      if (!this.#open) {
        const opened = this.#openBlock(ref);
        if (opened !== 'entry') {
          if (opened === 'wait') return 'wait';
          this.#ref = undefined;
          continue;
        }
      }
      try {
        const more = this.#seek ? this.#cursor.seek(this.#range.from) : this.#cursor.next();
        this.#seek = false;
        if (more) {
          const key = this.#cursor.key();
          if (this.#range.to !== undefined && key >= this.#range.to) {
            this.#ref = undefined;
            this.#next = this.#tables.length;
            return 'end';
          }
          if (ref.meta.masks.length > 0 && anyContains(ref.meta.masks, key)) continue;
          this.key = key;
          return 'entry';
        }
      } catch (error) {
        if (!isMalformed(error)) throw error;
        this.#damaged(ref, this.#block - 1);
      }
      this.#open = false;
    }
  }

  entry(): Entry | 'removed' {
    return entryAt(this.#cursor);
  }

  async bring(): Promise<void> {
    const ref = this.#ref;
    if (ref === undefined) return;
    const { meta, file } = ref;
    if (file.index === undefined) {
      await this.#reads.load(meta, file, TABLE_ITSELF);
      return;
    }
    const { index } = file;
    this.#aheadBytes = Math.min(AHEAD_BYTES, Math.max(1, 4 * this.#aheadBytes));
    let end = this.#block;
    let bytes = 0;
    while (end < index.count && (end === this.#block || bytes + index.place(end).length <= this.#aheadBytes)) {
      bytes += index.place(end).length + TRAILER_BYTES;
      end += 1;
    }
    this.#aheadBytes = bytes;
    const first = this.#block;
    this.#ahead = await this.#reads.readStored(file, index, first, end - first);
    this.#aheadFirst = first;
    this.#aheadEnd = end;
  }

  #nextTable(): boolean {
    const ref = this.#tables[this.#next];
    if (ref === undefined || (this.#range.to !== undefined && ref.meta.min >= this.#range.to)) return false;
    this.#next += 1;
    this.#ref = ref;
    this.#block = -1;
    this.#open = false;
    this.#aheadEnd = 0;
    for (const hole of ref.meta.holes) this.#report(ref, hole);
    return true;
  }

  /** `end`: the table has no more blocks. */
  #openBlock(ref: TableRef): Step {
    const { meta, file } = ref;
    const { index } = file;
    if (file.brokenAt !== undefined) {
      this.#report(ref, wholeTable(meta, file.brokenAt));
      return 'end';
    }
    if (index === undefined) return 'wait';
    file.referenced = true;
    if (this.#block < 0) {
      this.#block = index.find(this.#range.from);
      this.#seek = true;
    }
    while (this.#block < index.count) {
      const block = this.#block;
      const bytes = file.badBlocks.has(block) ? undefined : this.#bytesOf(ref, block);
      if (bytes === 'wait') return 'wait';
      this.#block += 1;
      if (bytes === undefined) {
        this.#damaged(ref, block);
        continue;
      }
      this.#cursor.open(bytes);
      this.#open = true;
      return 'entry';
    }
    return 'end';
  }

  #bytesOf(ref: TableRef, block: number): Buffer | 'wait' | undefined {
    const { meta, file } = ref;
    const cached = file.blocks.get(block);
    // Cached blocks are given back between turns; a batch may take several.
    if (cached !== undefined) return Buffer.from(cached.bytes);
    const { index } = file;
    if (index === undefined || block < this.#aheadFirst || block >= this.#aheadEnd) return 'wait';
    const base = index.place(this.#aheadFirst).offset;
    const { offset, length } = index.place(block);
    try {
      const from = offset - base;
      return openBlock(this.#ahead.subarray(from, from + length + TRAILER_BYTES), meta.number, offset);
    } catch (error) {
      if (!isMalformed(error)) throw error;
      this.#reads.scanFoundDamage(meta, file, block);
      return undefined;
    }
  }

  #damaged(ref: TableRef, block: number): void {
    const { index } = ref.file;
    if (index === undefined) return;
    this.#reads.scanFoundDamage(ref.meta, ref.file, block);
    this.#report(ref, blockRange(ref.meta, index, block));
  }

  #report(ref: TableRef, range: DamagedRange): void {
    let rest = [range];
    for (const mask of ref.meta.masks) rest = rest.flatMap((part) => subtract(part, mask));
    for (const part of rest) this.#lost(part);
  }
}

interface Ranked {
  readonly source: Source;
  /** 0 is the newest. */
  readonly rank: number;
}

export interface MergeLimits {
  readonly limit: number;
  readonly batchEntries: number;
  readonly batchBytes: number;
}

export class ViewIterator {
  readonly #sources: Ranked[] = [];
  /** Sources that stand on an entry. */
  #standing: Ranked[] = [];
  #waiting: Ranked[];
  /** Ranges that hide what sources of a higher rank hold. */
  readonly #hidden: { readonly range: KeyRange; readonly rank: number }[] = [];
  readonly #reports: DamagedRange[] = [];
  readonly #limits: MergeLimits;
  readonly #release: () => void;
  #left: number;
  #state: 'idle' | 'running' | 'closed' = 'idle';

  /** @param release lets go of the view, once */
  constructor(view: View, range: KeyRange, reads: TableReads, clock: Clock, limits: MergeLimits, release: () => void) {
    this.#limits = limits;
    this.#left = limits.limit;
    this.#release = release;
    for (const memtable of view.memtables) this.#addMemtable(memtable, view.sequence, range, clock);
    this.#addTables(view.version, range, reads);
    this.#waiting = [...this.#sources];
  }

  async next(): Promise<readonly KeyedEntry[]> {
    if (this.#state === 'closed') throw new CoterieError('CLOSED', 'the iterator is closed');
    if (this.#state === 'running') throw new CoterieError('INTERNAL', 'calls of next must not overlap');
    this.#state = 'running';
    try {
      return await this.#batch();
    } finally {
      if (this.#isRunning()) this.#state = 'idle';
      else this.#release();
    }
  }

  close(): void {
    const was = this.#state;
    this.#state = 'closed';
    // A batch under way still reads: it lets go when it ends.
    if (was === 'idle') this.#release();
  }

  #isRunning(): boolean {
    return this.#state === 'running';
  }

  async #batch(): Promise<readonly KeyedEntry[]> {
    const batch: KeyedEntry[] = [];
    let bytes = 0;
    while (batch.length < Math.min(this.#limits.batchEntries, this.#left) && bytes < this.#limits.batchBytes) {
      while (this.#waiting.length > 0) {
        const waiting = this.#waiting;
        this.#waiting = [];
        for (const ranked of waiting) await this.#settle(ranked);
      }
      if (!this.#isRunning()) throw new CoterieError('CLOSED', 'the iterator is closed');
      // Damage is told as soon as it is met; the entries before it come first.
      if (this.#reports.length > 0 && batch.length > 0) break;
      const report = this.#reports.shift();
      if (report !== undefined) throw new DamageError(report, 'the range cannot be read');
      const top = this.#smallest();
      if (top === undefined) break;
      const { key } = top.source;
      const hidden = this.#hidden.length > 0 && this.#hidden.some(({ range, rank }) => rank < top.rank && contains(range, key));
      const entry = hidden ? 'removed' : top.source.entry();
      if (entry !== 'removed') {
        batch.push({ key, kind: entry.kind, expireAtMs: entry.expireAtMs, gcTag: entry.gcTag, value: entry.value });
        bytes += entry.value.length + key.length;
      }
      this.#pass(key);
    }
    this.#left -= batch.length;
    return batch;
  }

  #smallest(): Ranked | undefined {
    let best: Ranked | undefined;
    for (const ranked of this.#standing) {
      if (best === undefined || ranked.source.key < best.source.key || (ranked.source.key === best.source.key && ranked.rank < best.rank)) {
        best = ranked;
      }
    }
    return best;
  }

  /** Moves every source that stands on the key. */
  #pass(key: ByteString): void {
    const standing: Ranked[] = [];
    for (const ranked of this.#standing) {
      const step = ranked.source.key === key ? ranked.source.step() : 'entry';
      if (step === 'entry') standing.push(ranked);
      else if (step === 'wait') this.#waiting.push(ranked);
    }
    if (standing.length < this.#standing.length) this.#standing = standing;
  }

  async #settle(ranked: Ranked): Promise<void> {
    for (;;) {
      const step = ranked.source.step();
      if (step === 'entry') this.#standing.push(ranked);
      if (step !== 'wait') return;
      await ranked.source.bring();
    }
  }

  #addMemtable(memtable: Memtable, sequence: number, range: KeyRange, clock: Clock): void {
    const rank = this.#sources.length;
    for (const drop of memtable.drops) {
      if (drop.order <= sequence - memtable.base) this.#hidden.push({ range: drop, rank });
    }
    this.#sources.push({ source: new MemtableSource(memtable, sequence, range, clock), rank });
  }

  #addTables(version: Version, range: KeyRange, reads: TableReads): void {
    for (const [level, tables] of version.levels.entries()) {
      const inRange = tables.filter(({ meta }) => meta.max >= range.from && (range.to === undefined || meta.min < range.to));
      if (inRange.length === 0) continue;
      for (const run of level === 0 ? inRange.map((table) => [table]) : [inRange]) {
        const rank = this.#sources.length;
        const lost = (damaged: DamagedRange): void => {
          const part = intersect(damaged, range);
          if (part === undefined) return;
          let rest = [part];
          for (const hidden of this.#hidden) if (hidden.rank < rank) rest = rest.flatMap((piece) => subtract(piece, hidden.range));
          this.#hidden.push({ range: part, rank });
          this.#reports.push(...rest);
        };
        this.#sources.push({ source: new TablesSource(run, reads, range, lost), rank });
      }
    }
  }
}
