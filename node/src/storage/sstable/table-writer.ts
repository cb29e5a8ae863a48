/**
 * Writes one table, front to back, in a job: data blocks, then filter, index, properties and footer. Bytes gather in one buffer that is
 * reused from table to table.
 *
 * Invariant: after `finish` the data is synced; the directory entry is the caller's to sync.
 */

import { Buffer } from 'node:buffer';
import type { ByteString } from '../../base/bytes.ts';
import { invariant } from '../../base/errors.ts';
import type { SyncFile, SyncVfs } from '../../env/vfs.ts';
import { Writer } from '../binary.ts';
import { KIND_REMOVAL, KIND_TOMBSTONE, MAX_KEY_BYTES } from '../entry.ts';
import type { DamagedRange } from '../damage.ts';
import type { Compression } from '../options.ts';
import { BlockBuilder } from './block.ts';
import { FilterBuilder } from './bloom.ts';
import { sealBlock, TRAILER_BYTES } from './codec.ts';
import type { BlockPlace } from './footer.ts';
import { encodeFooter } from './footer.ts';
import { IndexBuilder, separatorOf } from './index-block.ts';
import type { TableMeta } from './table-meta.ts';
import { tableName, writeProperties } from './table-meta.ts';

/** How tables are to be written; plain data. */
export interface TableFormat {
  readonly compression: Compression;
  readonly blockBytes: number;
  readonly restartInterval: number;
  readonly bloomBitsPerKey: number;
}

const WRITE_BYTES = 256 * 1024;

/** The memory that tables written one after another share. */
export class WriterBuffers {
  readonly block: BlockBuilder;
  out: Buffer;

  constructor(format: TableFormat) {
    this.block = new BlockBuilder(format.restartInterval, format.blockBytes);
    this.out = Buffer.allocUnsafeSlow(WRITE_BYTES + format.blockBytes);
  }
}

export class TableWriter {
  readonly #format: TableFormat;
  readonly #number: number;
  readonly #file: SyncFile;
  readonly #buffers: WriterBuffers;
  readonly #filter: FilterBuilder;
  readonly #index = new IndexBuilder();
  /** File position of the start of `out`, and bytes used of it. */
  #flushed = 0;
  #used = 0;
  #pending: BlockPlace | undefined;
  #blockLast: ByteString = '';
  #min: ByteString = '';
  #last: ByteString = '';
  #entries = 0;
  #tombstones = 0;
  #removals = 0;
  #expiring = 0;
  #rawBytes = 0;
  #minExpireAtMs = 0;
  #maxExpireAtMs = 0;
  #minTombstoneTag = 0;
  #maxTag = 0;

  constructor(disk: SyncVfs, directory: string, number: number, format: TableFormat, buffers: WriterBuffers) {
    this.#format = format;
    this.#number = number;
    this.#buffers = buffers;
    this.#buffers.block.clear();
    this.#filter = new FilterBuilder(format.bloomBitsPerKey);
    this.#file = disk.open(`${directory}/${tableName(number)}`, 'create');
  }

  get entries(): number {
    return this.#entries;
  }

  /** Bytes of the file so far, without the block being built. */
  get bytes(): number {
    return this.#flushed + this.#used;
  }

  /** Keys come in strictly ascending order. Answers true when it completed a block: a good moment to yield. */
  add(key: ByteString, kind: number, expireAtMs: number, gcTag: number, value: Uint8Array, from: number, to: number): boolean {
    const block = this.#buffers.block;
    if (this.#entries === 0) this.#min = key;
    else invariant(key > this.#last, 'keys come to a table in order');
    let completed = false;
    if (block.length >= this.#format.blockBytes) {
      this.#writeBlock();
      completed = true;
    }
    if (this.#pending !== undefined) {
      this.#index.add(separatorOf(this.#blockLast, key), this.#pending.offset, this.#pending.length);
      this.#pending = undefined;
    }
    block.add(key, kind, expireAtMs, gcTag, value, from, to);
    this.#filter.add(key);
    this.#last = key;
    this.#entries += 1;
    this.#rawBytes += key.length + to - from;
    if (gcTag > this.#maxTag) this.#maxTag = gcTag;
    if (kind === KIND_TOMBSTONE) {
      if (gcTag !== 0) this.#minTombstoneTag = this.#minTombstoneTag === 0 ? gcTag : Math.min(this.#minTombstoneTag, gcTag);
      this.#tombstones += 1;
    } else if (kind === KIND_REMOVAL) this.#removals += 1;
    if (expireAtMs !== 0) {
      this.#minExpireAtMs = this.#expiring === 0 ? expireAtMs : Math.min(this.#minExpireAtMs, expireAtMs);
      this.#maxExpireAtMs = Math.max(this.#maxExpireAtMs, expireAtMs);
      this.#expiring += 1;
    }
    return completed;
  }

  /**
   * Ends and syncs the table. `holes` may reach beyond its entries; the table's key range is widened to take them in.
   * A table without an entry (only holes) is legal.
   */
  finish(holes: readonly DamagedRange[]): TableMeta {
    if (this.#buffers.block.entries > 0) this.#writeBlock();
    if (this.#pending !== undefined) this.#index.add(this.#blockLast, this.#pending.offset, this.#pending.length);
    this.#pending = undefined;
    const filter = this.#filter.finish();
    const filterPlace = filter === undefined ? { offset: 0, length: 0 } : this.#seal(filter, 'none');
    const index = this.#seal(this.#index.finish(), 'none');
    let min = this.#min;
    let max = this.#last;
    for (const [number, hole] of holes.entries()) {
      if ((number === 0 && this.#entries === 0) || hole.from < min) min = hole.from;
      // A range without its end has no last key: the end itself serves as the inclusive bound (see Version.find).
      if (hole.to !== undefined && hole.to > max) max = hole.to;
      else if (hole.to === undefined) max = '\xff'.repeat(MAX_KEY_BYTES);
    }
    const properties = {
      min,
      max,
      entries: this.#entries,
      tombstones: this.#tombstones,
      removals: this.#removals,
      expiring: this.#expiring,
      rawBytes: this.#rawBytes,
      minExpireAtMs: this.#minExpireAtMs,
      maxExpireAtMs: this.#maxExpireAtMs,
      minTombstoneTag: this.#minTombstoneTag,
      maxTag: this.#maxTag,
    };
    const writer = new Writer();
    writeProperties(writer, properties);
    const propertiesPlace = this.#seal(writer.written(), 'none');
    this.#append(encodeFooter({ number: this.#number, filter: filterPlace, index, properties: propertiesPlace }));
    this.#flush();
    this.#file.dataSync();
    this.#file.close();
    return { ...properties, number: this.#number, bytes: this.#flushed, masks: [], holes };
  }

  /** Closes the unfinished file; its name stays for the caller to remove. */
  abandon(): void {
    this.#file.close();
  }

  #writeBlock(): void {
    const block = this.#buffers.block;
    this.#blockLast = block.lastKey;
    this.#pending = this.#seal(block.finish(), this.#format.compression);
    block.clear();
  }

  #seal(raw: Buffer, compression: Compression): BlockPlace {
    const most = raw.length + TRAILER_BYTES;
    this.#room(most);
    const offset = this.#flushed + this.#used;
    const length = sealBlock(raw, compression, this.#number, offset, this.#buffers.out, this.#used);
    this.#used += length + TRAILER_BYTES;
    if (this.#used >= WRITE_BYTES) this.#flush();
    return { offset, length };
  }

  #append(bytes: Buffer): void {
    this.#room(bytes.length);
    this.#buffers.out.set(bytes, this.#used);
    this.#used += bytes.length;
  }

  #room(most: number): void {
    const { out } = this.#buffers;
    if (this.#used + most <= out.length) return;
    this.#flush();
    if (most > out.length) this.#buffers.out = Buffer.allocUnsafeSlow(most);
  }

  #flush(): void {
    if (this.#used === 0) return;
    this.#file.write(this.#buffers.out.subarray(0, this.#used), this.#flushed);
    this.#flushed += this.#used;
    this.#used = 0;
  }
}
