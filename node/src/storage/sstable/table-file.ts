/**
 * A table as the event loop sees it: whether its file is open, its filter and index in memory, and which of its blocks are cached or known
 * to be damaged. It reads nothing by itself; cache/table-reads.ts brings things in.
 */

import type { Buffer } from 'node:buffer';
import type { VfsFile } from '../../env/vfs.ts';
import type { CachedBlock } from '../cache/block-cache.ts';
import type { DamagedRange } from '../damage.ts';
import type { TableIndex } from './index-block.ts';

export class TableFile {
  readonly number: number;
  readonly bytes: number;
  /** Versions that list the table, and reads under way. */
  references = 0;
  file: VfsFile | undefined;
  index: TableIndex | undefined;
  filter: Buffer | undefined;
  /** Bytes of index and filter. */
  metaBytes = 0;
  /** Used since the clock's hand last passed. */
  referenced = false;
  /** Reads in flight on the open file: it is not closed under them. */
  busy = 0;
  /** Until this monotonic instant its reads are asynchronous. */
  slowUntilMs = 0;
  /** Slow reads since the last quick one. */
  slowReads = 0;
  readonly blocks: Map<number, CachedBlock> = new Map();
  readonly badBlocks: Map<number, DamagedRange> = new Map();
  /** Damage that makes all of it unreadable: the offset. */
  brokenAt: number | undefined;
  /** What is being brought in, by block number; -1: the table itself. */
  readonly loading: Map<number, Promise<void>> = new Map();

  readonly #unused: (table: TableFile) => void;

  /** @param unused runs when the last reference is let go of */
  constructor(number: number, bytes: number, unused: (table: TableFile) => void) {
    this.number = number;
    this.bytes = bytes;
    this.#unused = unused;
  }

  retain(): void {
    this.references += 1;
  }

  release(): void {
    this.references -= 1;
    if (this.references === 0) this.#unused(this);
  }
}
