/**
 * Merges sources of entries (tables of level 0, or whole runs of a deeper level) into one ascending sequence with the newest entry of
 * each key, in a job.
 *
 * Damage is carried along, never dropped: a range lost in a source hides what older sources hold for it (the lost part may have been newer),
 * while entries of newer sources stand. The ranges come out in `holes`.
 */

import type { ByteString } from '../../base/bytes.ts';
import type { SyncVfs } from '../../env/vfs.ts';
import type { DamagedRange } from '../damage.ts';
import type { KeyRange } from '../key-range.ts';
import { contains, subtract, touches } from '../key-range.ts';
import type { TableMeta } from '../sstable/table-meta.ts';
import { TableScan } from '../sstable/table-scan.ts';

interface Hole {
  readonly range: DamagedRange;
  /** Of the source it is in: sources of a higher rank are older. */
  readonly rank: number;
}

/** One source: tables with ascending, disjoint keys, opened one after another. */
class Source {
  readonly rank: number;
  scan: TableScan | undefined;
  bytesRead = 0;
  readonly #tables: readonly TableMeta[];
  readonly #disk: SyncVfs;
  readonly #directory: string;
  readonly #range: KeyRange;
  readonly #lost: (range: DamagedRange, rank: number) => void;
  #next = 0;
  #meta: TableMeta | undefined;

  constructor(
    disk: SyncVfs,
    directory: string,
    tables: readonly TableMeta[],
    range: KeyRange,
    rank: number,
    lost: (range: DamagedRange, rank: number) => void,
  ) {
    this.#disk = disk;
    this.#directory = directory;
    this.#tables = tables.filter((table) => touches(range, table.min, table.max));
    this.#range = range;
    this.rank = rank;
    this.#lost = lost;
  }

  get key(): ByteString {
    return this.scan?.key ?? '';
  }

  advance(): boolean {
    for (;;) {
      if (this.scan === undefined) {
        const meta = this.#tables[this.#next];
        if (meta === undefined) return false;
        this.#next += 1;
        this.#meta = meta;
        for (const hole of meta.holes) this.#report(hole, meta);
        this.scan = new TableScan(this.#disk, this.#directory, meta, this.#range);
        this.scan.open();
      }
      const more = this.scan.next();
      const meta = this.#meta;
      if (this.scan.damaged.length > 0 && meta !== undefined) {
        for (const range of this.scan.damaged) this.#report(range, meta);
        this.scan.damaged.length = 0;
      }
      if (more) return true;
      this.close();
    }
  }

  close(): void {
    this.bytesRead += this.scan?.bytesRead ?? 0;
    this.scan?.close();
    this.scan = undefined;
  }

  #report(range: DamagedRange, meta: TableMeta): void {
    let rest = [range];
    for (const mask of meta.masks) rest = rest.flatMap((part) => subtract(part, mask));
    for (const part of rest) this.#lost(part, this.rank);
  }
}

export class Merge {
  /** Entries of older sources that a newer one replaced. */
  overwritten = 0;
  readonly holes: Hole[] = [];
  readonly #sources: Source[];
  /** A binary heap of sources, the one to answer next on top. */
  readonly #heap: Source[] = [];
  #current: Source | undefined;

  /**
   * @param sources newest first
   * @param range of keys to merge; holes may reach beyond
   */
  constructor(disk: SyncVfs, directory: string, sources: readonly (readonly TableMeta[])[], range: KeyRange) {
    this.#sources = sources.map(
      (tables, rank) =>
        new Source(disk, directory, tables, range, rank, (lost, of) => {
          this.holes.push({ range: lost, rank: of });
        }),
    );
  }

  get bytesRead(): number {
    return this.#sources.reduce((sum, source) => sum + source.bytesRead, 0);
  }

  /** Moves to the next entry, which the answered scan stands on; `undefined` at the end. The first call opens the sources. */
  *start(): Generator<undefined, void, undefined> {
    for (const source of this.#sources) {
      if (source.advance()) this.#push(source);
      yield undefined;
    }
  }

  next(): TableScan | undefined {
    for (;;) {
      if (this.#current !== undefined) {
        if (this.#current.advance()) this.#siftDown(0);
        else this.#pop();
        this.#current = undefined;
      }
      const source = this.#heap[0];
      if (source === undefined) return undefined;
      const key = source.key;
      this.#current = source;
      this.#skipOlder(key);
      if (this.holes.length > 0 && this.#isLost(key, source.rank)) continue;
      return source.scan;
    }
  }

  /** Whether the key's state in some source was lost. */
  inHole(key: ByteString): boolean {
    for (const hole of this.holes) if (contains(hole.range, key)) return true;
    return false;
  }

  close(): void {
    for (const source of this.#sources) source.close();
  }

  #isLost(key: ByteString, rank: number): boolean {
    for (const hole of this.holes) if (hole.rank < rank && contains(hole.range, key)) return true;
    return false;
  }

  /** Passes over the entries of the same key below the top. */
  #skipOlder(key: ByteString): void {
    for (;;) {
      const left = this.#heap[1];
      const right = this.#heap[2];
      const at = left?.key === key ? 1 : right?.key === key ? 2 : 0;
      const source = this.#heap[at];
      if (at === 0 || source === undefined) return;
      this.overwritten += 1;
      if (source.advance()) this.#siftDown(at);
      else this.#removeAt(at);
    }
  }

  #before(a: Source, b: Source): boolean {
    const left = a.key;
    const right = b.key;
    return left < right || (left === right && a.rank < b.rank);
  }

  #push(source: Source): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(source);
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      const above = heap[parent] as Source;
      if (!this.#before(source, above)) break;
      heap[at] = above;
      heap[parent] = source;
      at = parent;
    }
  }

  #pop(): void {
    this.#removeAt(0);
  }

  #removeAt(at: number): void {
    const last = this.#heap.pop();
    if (last === undefined || at >= this.#heap.length) return;
    // The one put here comes from below the place's own subtree or beside it: it is not before the parent only within the subtree.
    this.#heap[at] = last;
    this.#siftUp(at);
    this.#siftDown(at);
  }

  #siftUp(from: number): void {
    const heap = this.#heap;
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      const source = heap[at] as Source;
      const above = heap[parent] as Source;
      if (!this.#before(source, above)) return;
      heap[at] = above;
      heap[parent] = source;
      at = parent;
    }
  }

  #siftDown(from: number): void {
    const heap = this.#heap;
    let at = from;
    for (;;) {
      const left = 2 * at + 1;
      if (left >= heap.length) return;
      const right = left + 1;
      const smaller = right < heap.length && this.#before(heap[right] as Source, heap[left] as Source) ? right : left;
      const source = heap[at] as Source;
      const child = heap[smaller] as Source;
      if (!this.#before(child, source)) return;
      heap[at] = child;
      heap[smaller] = source;
      at = smaller;
    }
  }
}
