/**
 * Walks a table, or a range of it, from front to back in a job, block by block, with read-ahead. Damage does not end the walk: a block that does not pass
 * becomes a damaged range, and the walk goes on behind it.
 */

import { Buffer } from 'node:buffer';
import type { ByteString } from '../../base/bytes.ts';
import type { SyncFile, SyncVfs } from '../../env/vfs.ts';
import { isVfsError } from '../../env/vfs.ts';
import { isMalformed, MalformedError, Reader } from '../binary.ts';
import type { DamagedRange } from '../damage.ts';
import type { KeyRange } from '../key-range.ts';
import { anyContains, covers, successor } from '../key-range.ts';
import { BlockCursor } from './block.ts';
import { openBlockInto, openedLength, TRAILER_BYTES } from './codec.ts';
import { decodeFooter, FOOTER_BYTES } from './footer.ts';
import { TableIndex } from './index-block.ts';
import type { TableMeta } from './table-meta.ts';
import { readProperties, tableName } from './table-meta.ts';

const READ_AHEAD_BYTES = 128 * 1024;
const EVERYTHING: KeyRange = { from: '', to: undefined };

/** The range that is lost with a whole table. */
export function wholeTable(meta: TableMeta, offset: number): DamagedRange {
  return { file: tableName(meta.number), offset, from: meta.min, to: successor(meta.max) };
}

/** The keys that a damaged block may have held. */
export function blockRange(meta: TableMeta, index: TableIndex, block: number): DamagedRange {
  const from = block === 0 ? meta.min : successor(index.separator(block - 1));
  const last = block === index.count - 1;
  const separator = last ? meta.max : index.separator(block);
  const to = successor(separator < meta.max ? separator : meta.max);
  return { file: tableName(meta.number), offset: index.place(block).offset, from, to };
}

/** The cursor's fields describe the entry it stands on, after a `next` that answered true. */
export class TableScan {
  readonly cursor: BlockCursor = new BlockCursor();
  key: ByteString = '';
  /** The ranges found damaged since the caller last emptied it. */
  readonly damaged: DamagedRange[] = [];
  blocksRead = 0;
  bytesRead = 0;
  readonly #meta: TableMeta;
  readonly #masks: readonly KeyRange[];
  readonly #disk: SyncVfs;
  readonly #path: string;
  readonly #range: KeyRange;
  /** The walk has not come to the range's first key yet. */
  #seeks: boolean;
  #file: SyncFile | undefined;
  #index: TableIndex | undefined;
  #block = 0;
  #open = false;
  /** Read-ahead: `#ahead` holds the file's bytes from `#aheadFrom` on. */
  #ahead: Buffer;
  #aheadFrom = 0;
  #aheadLength = 0;
  #decoded: Buffer = Buffer.allocUnsafeSlow(8192);

  /** @param range of what it walks; the damage it reports may reach beyond */
  constructor(disk: SyncVfs, directory: string, meta: TableMeta, range: KeyRange = EVERYTHING, readAhead: number = READ_AHEAD_BYTES) {
    this.#range = range;
    this.#seeks = range.from > meta.min;
    this.#disk = disk;
    this.#meta = meta;
    this.#masks = meta.masks;
    this.#path = `${directory}/${tableName(meta.number)}`;
    this.#ahead = Buffer.allocUnsafeSlow(Math.min(readAhead, Math.max(meta.bytes, 64)));
  }

  get index(): TableIndex | undefined {
    return this.#index;
  }

  /** Opens the table; answers false, with the damage noted, where nothing of it can be read. */
  open(): boolean {
    const meta = this.#meta;
    try {
      const file = this.#disk.open(this.#path, 'read');
      this.#file = file;
      const footer = decodeFooter(this.#read(meta.bytes - FOOTER_BYTES, FOOTER_BYTES));
      if (footer.number !== meta.number) throw new MalformedError('the file is another table', 36);
      readProperties(new Reader(this.#blockAt(footer.properties.offset, footer.properties.length)));
      const index = new TableIndex(Buffer.from(this.#blockAt(footer.index.offset, footer.index.length)));
      this.#index = index;
      if (this.#seeks) this.#block = index.find(this.#range.from);
      return true;
    } catch (error) {
      if (!isMalformed(error) && !(isVfsError(error) && error.code === 'NOT_FOUND')) throw error;
      this.damaged.push(wholeTable(meta, Math.max(0, meta.bytes - FOOTER_BYTES)));
      this.#index = undefined;
      return false;
    }
  }

  /** Moves to the next entry that no mask hides; false at the end. */
  next(): boolean {
    for (;;) {
      if (!this.#open && !this.#openNext()) return false;
      try {
        if (this.#seeks ? this.cursor.seek(this.#range.from) : this.cursor.next()) {
          this.#seeks = false;
          this.key = this.cursor.key();
          if (this.#range.to !== undefined && this.key >= this.#range.to) {
            this.#open = false;
            this.#block = this.#index?.count ?? 0;
            return false;
          }
          if (this.#masks.length > 0 && anyContains(this.#masks, this.key)) continue;
          return true;
        }
      } catch (error) {
        if (!isMalformed(error)) throw error;
        this.#damage(this.#block - 1);
      }
      this.#open = false;
    }
  }

  close(): void {
    this.#file?.close();
    this.#file = undefined;
  }

  #openNext(): boolean {
    const index = this.#index;
    if (index === undefined) return false;
    while (this.#block < index.count) {
      const block = this.#block;
      this.#block += 1;
      const { offset, length } = index.place(block);
      if (this.#hidden(index, block)) continue;
      try {
        this.cursor.open(this.#blockAt(offset, length));
        this.#open = true;
        this.blocksRead += 1;
        return true;
      } catch (error) {
        if (!isMalformed(error)) throw error;
        this.#damage(block);
      }
    }
    return false;
  }

  /** Whether masks hide the whole block: then neither its entries nor its damage matter. */
  #hidden(index: TableIndex, block: number): boolean {
    if (this.#masks.length === 0) return false;
    const { from } = blockRange(this.#meta, index, block);
    const to = block === index.count - 1 ? this.#meta.max : index.separator(block);
    return this.#masks.some((mask) => covers(mask, from, to));
  }

  #damage(block: number): void {
    const index = this.#index;
    if (index !== undefined) this.damaged.push(blockRange(this.#meta, index, block));
  }

  /** The block's bytes; they stay until the next block is opened. */
  #blockAt(offset: number, length: number): Buffer {
    const stored = this.#read(offset, length + TRAILER_BYTES);
    const opened = openedLength(stored, this.#meta.number, offset);
    if (opened > this.#decoded.length) this.#decoded = Buffer.allocUnsafeSlow(Math.max(opened, 2 * this.#decoded.length));
    openBlockInto(stored, this.#decoded, opened);
    return this.#decoded.subarray(0, opened);
  }

  /** The file's bytes; they alias the read-ahead buffer until the next read. */
  #read(offset: number, length: number): Buffer {
    const file = this.#file;
    if (file === undefined || offset < 0 || offset + length > this.#meta.bytes) throw new MalformedError('place out of range', 0);
    if (offset < this.#aheadFrom || offset + length > this.#aheadFrom + this.#aheadLength) {
      if (length > this.#ahead.length) this.#ahead = Buffer.allocUnsafeSlow(length);
      const wanted = Math.min(this.#ahead.length, this.#meta.bytes - offset);
      this.#aheadFrom = offset;
      this.#aheadLength = file.read(this.#ahead.subarray(0, wanted), offset);
      this.bytesRead += this.#aheadLength;
      if (this.#aheadLength < length) throw new MalformedError('file cut short', offset);
    }
    const start = offset - this.#aheadFrom;
    return this.#ahead.subarray(start, start + length);
  }
}
