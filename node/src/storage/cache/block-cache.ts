/**
 * Decoded blocks in memory under a byte budget, evicted by the clock algorithm (Corbató, "A paging experiment with the Multics system",
 * 1968): a hit sets a flag, and the hand spares flagged blocks once.
 *
 * Invariants: a block was verified before it came in, and does not change while it is in the cache. Blocks go only in `trim` and `forget`,
 * which run between turns of the loop: within a turn, what was found in the cache can be read. Their memory is used again.
 */

import type { Buffer } from 'node:buffer';
import type { TableFile } from '../sstable/table-file.ts';
import type { BlockMemory } from './block-memory.ts';

const BLOCK_OVERHEAD_BYTES = 160;

export class CachedBlock {
  readonly table: TableFile;
  readonly block: number;
  readonly bytes: Buffer;
  /** What `bytes` lies in. */
  readonly memory: Buffer;
  referenced = false;
  /** Lookups that need it to stay. */
  pins = 0;
  /** Place in the clock; -1 when evicted. */
  slot = -1;

  constructor(table: TableFile, block: number, memory: Buffer, length: number) {
    this.table = table;
    this.block = block;
    this.memory = memory;
    this.bytes = memory.subarray(0, length);
  }
}

export class BlockCache {
  #bytes = 0;
  #hand = 0;
  readonly #clock: CachedBlock[] = [];
  readonly #memory: BlockMemory;
  evictions = 0;

  constructor(memory: BlockMemory) {
    this.#memory = memory;
  }

  /** Bytes of blocks held, with what they cost beside. */
  get bytes(): number {
    return this.#bytes;
  }

  get blocks(): number {
    return this.#clock.length;
  }

  /** Takes over `memory`, whose first `length` bytes are the block. */
  insert(table: TableFile, block: number, memory: Buffer, length: number): CachedBlock {
    const cached = new CachedBlock(table, block, memory, length);
    cached.slot = this.#clock.length;
    this.#clock.push(cached);
    table.blocks.set(block, cached);
    this.#bytes += memory.length + BLOCK_OVERHEAD_BYTES;
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
    this.#bytes -= cached.memory.length + BLOCK_OVERHEAD_BYTES;
    this.#memory.give(cached.memory);
  }
}
