/**
 * Point reads: memtables, then tables, newest first; the first that knows the key answers. What is not in memory is read within the turn's
 * budget, or answered as `Pending`.
 */

import type { ByteString } from '../base/bytes.ts';
import type { CachedBlock } from './cache/block-cache.ts';
import type { TableReads } from './cache/table-reads.ts';
import { TABLE_ITSELF } from './cache/table-reads.ts';
import { DamageError } from './damage.ts';
import type { Entry } from './entry.ts';
import { KIND_REMOVAL, KIND_TOMBSTONE } from './entry.ts';
import { anyContains, contains } from './key-range.ts';
import type { TableRef } from './manifest/version.ts';
import { findTable } from './manifest/version.ts';
import { BlockCursor } from './sstable/block.ts';
import type { KeyHash } from './sstable/bloom.ts';
import { hashKey, mayContain } from './sstable/bloom.ts';
import type { TableFile } from './sstable/table-file.ts';
import type { TableMeta } from './sstable/table-meta.ts';
import { wholeTable } from './sstable/table-scan.ts';
import type { Tree, View } from './tree.ts';

/**
 * What `tryGet` answers when something must be read from the disk first; give it to `load`. It names what the lookup already went through, so
 * that this stays in memory meanwhile: else lookups of many tables in a small cache would push each other's blocks out for ever.
 */
export class Pending {
  readonly kind = 'pending';
  readonly meta: TableMeta;
  readonly table: TableFile;
  /** The block wanted; TABLE_ITSELF for the table's index and filter. */
  readonly block: number;
  readonly blocks: readonly CachedBlock[];
  readonly tables: readonly TableFile[];

  constructor(meta: TableMeta, table: TableFile, block: number, blocks: readonly CachedBlock[], tables: readonly TableFile[]) {
    this.meta = meta;
    this.table = table;
    this.block = block;
    this.blocks = blocks;
    this.tables = tables;
  }
}

export class Lookup {
  readonly #tree: Tree;
  readonly #reads: TableReads;
  readonly #cursor = new BlockCursor();
  readonly #hash: KeyHash = { h1: 0, h2: 0 };
  /** What the lookup under way went through. */
  readonly #blocks: CachedBlock[] = [];
  readonly #tables: TableFile[] = [];
  filtered = 0;

  constructor(tree: Tree, reads: TableReads) {
    this.#tree = tree;
    this.#reads = reads;
  }

  /** @throws CoterieError DATA_DAMAGED, DISK_FAILED */
  find(key: ByteString, view: View | undefined): Entry | undefined | Pending {
    const tree = this.#tree;
    const hash = this.#hash;
    hashKey(key, hash);
    if (view === undefined) {
      const found = tree.active.mayHave(hash) ? tree.active.get(key, tree.sequence, hash) : undefined;
      if (found !== undefined) return found === 'removed' ? undefined : found;
      for (const { memtable } of tree.sealed) {
        const sealed = memtable.mayHave(hash) ? memtable.get(key, tree.sequence, hash) : undefined;
        if (sealed !== undefined) return sealed === 'removed' ? undefined : sealed;
      }
      const cached = this.#reads.entries.get(key, hash);
      if (cached !== undefined) return cached;
    } else {
      for (const memtable of view.memtables) {
        const found = memtable.get(key, view.sequence, hash);
        if (found !== undefined) return found === 'removed' ? undefined : found;
      }
    }
    const { levels } = view?.version ?? tree.versions.current;
    this.#blocks.length = 0;
    this.#tables.length = 0;
    for (let level = 0; level < levels.length; level += 1) {
      const tables = levels[level] as readonly TableRef[];
      if (tables.length === 0) continue;
      if (level === 0) {
        for (const table of tables) {
          if (key < table.meta.min || key > table.meta.max) continue;
          const found = this.#inTable(table, key);
          if (found !== undefined) return this.#answer(key, found, view);
        }
      } else {
        const table = findTable(tables, key);
        if (table === undefined) continue;
        const found = this.#inTable(table, key);
        if (found !== undefined) return this.#answer(key, found, view);
      }
    }
    return undefined;
  }

  /** What a table told of the key; without a view it is the newest, and kept. */
  #answer(key: ByteString, found: Entry | 'removed' | Pending, view: View | undefined): Entry | undefined | Pending {
    if (found === 'removed') return undefined;
    if (view === undefined && !(found instanceof Pending)) this.#reads.keepEntry(key, found);
    return found;
  }

  #inTable(ref: TableRef, key: ByteString): Entry | 'removed' | undefined | Pending {
    const { meta, file } = ref;
    if (meta.masks.length > 0 && anyContains(meta.masks, key)) return undefined;
    const { index } = file;
    if (file.brokenAt !== undefined) throw new DamageError(wholeTable(meta, file.brokenAt), 'the table cannot be read');
    if (index === undefined) return this.#pending(ref, TABLE_ITSELF);
    file.referenced = true;
    this.#tables.push(file);
    if (file.filter !== undefined && !mayContain(file.filter, this.#hash)) {
      this.filtered += 1;
    } else {
      const block = index.find(key);
      if (block < index.count) {
        const cached = this.#reads.blockNow(meta, file, block);
        if (cached === undefined) {
          const bad = file.badBlocks.get(block);
          if (bad !== undefined) throw new DamageError(bad, 'a block does not pass its checksum');
          return this.#pending(ref, block);
        }
        this.#blocks.push(cached);
        const cursor = this.#cursor;
        cursor.open(cached.bytes);
        if (cursor.find(key)) return entryAt(cursor);
      }
    }
    if (meta.holes.length > 0) {
      for (const hole of meta.holes) if (contains(hole, key)) throw new DamageError(hole, 'what it held was lost');
    }
    return undefined;
  }

  #pending({ meta, file }: TableRef, block: number): Pending {
    return new Pending(meta, file, block, [...this.#blocks], [...this.#tables]);
  }
}

/** The entry the cursor stands on; its value aliases the block. */
export function entryAt(cursor: BlockCursor): Entry | 'removed' {
  const { kind } = cursor;
  if (kind === KIND_REMOVAL) return 'removed';
  return {
    kind: kind === KIND_TOMBSTONE ? 'tombstone' : 'value',
    expireAtMs: cursor.expireAtMs,
    gcTag: cursor.gcTag,
    value: cursor.value(),
  };
}
