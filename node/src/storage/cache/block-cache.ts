/**
 * Decoded blocks in memory under a byte budget, evicted by the clock algorithm (Corbató, "A paging experiment with the Multics system",
 * 1968): a hit sets a flag, and the hand spares flagged blocks once.
 *
 * Invariants: a block was verified before it came in and never changes; evicting drops the cache's reference only, so that whoever still
 * reads it is not disturbed. Between two trims a block that came in stays: what was loaded can be read.
 */

import type { Buffer } from 'node:buffer';
import type { TableFile } from '../sstable/table-file.ts';

const BLOCK_OVERHEAD_BYTES = 160;

export class CachedBlock {
  readonly table: TableFile;
  readonly block: number;
  readonly bytes: Buffer;
  referenced = false;
  /** Lookups that need it to stay. */
  pins = 0;
  /** Place in the clock; -1 when evicted. */
  slot = -1;

  constructor(table: TableFile, block: number, bytes: Buffer) {
    this.table = table;
    this.block = block;
    this.bytes = bytes;
  }
}

export class BlockCache {
  #bytes = 0;
  #hand = 0;
  readonly #clock: CachedBlock[] = [];
  evictions = 0;

  /** Bytes of blocks held, with what they cost beside. */
  get bytes(): number {
    return this.#bytes;
  }

  get blocks(): number {
    return this.#clock.length;
  }

  insert(table: TableFile, block: number, bytes: Buffer): CachedBlock {
    const cached = new CachedBlock(table, block, bytes);
    cached.slot = this.#clock.length;
    this.#clock.push(cached);
    table.blocks.set(block, cached);
    this.#bytes += bytes.length + BLOCK_OVERHEAD_BYTES;
    return cached;
  }

  /** Evicts down to `budget` bytes, as far as blocks are not pinned. */
  trim(budget: number): void {
    const clock = this.#clock;
    let spared = 2 * clock.length;
    while (this.#bytes > budget && spared > 0) {
      spared -= 1;
      if (this.#hand >= clock.length) this.#hand = 0;
      const cached = clock[this.#hand] as CachedBlock;
      if (cached.referenced || cached.pins > 0) {
        cached.referenced = false;
        this.#hand += 1;
      } else {
        this.#remove(cached);
        this.evictions += 1;
      }
    }
  }

  /** Forgets all blocks of a table. */
  forget(table: TableFile): void {
    for (const cached of table.blocks.values()) this.#remove(cached);
  }

  #remove(cached: CachedBlock): void {
    const last = this.#clock.pop();
    if (last !== undefined && last !== cached) {
      this.#clock[cached.slot] = last;
      last.slot = cached.slot;
    }
    cached.slot = -1;
    cached.table.blocks.delete(cached.block);
    this.#bytes -= cached.bytes.length + BLOCK_OVERHEAD_BYTES;
  }
}
