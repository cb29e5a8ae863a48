/**
 * Merges tables into new ones of the next level (or the same, to rewrite them). Drops what newer entries replaced, removals below which
 * nothing older can lie, and what the collection policy names. An entry is dropped only where no deeper level may hold an older one of its
 * key; elsewhere a removal takes its place, so that nothing collected lets an older value come back.
 */

import type { ByteString } from '../../base/bytes.ts';
import type { Job } from '../../env/executor.ts';
import type { SyncVfs } from '../../env/vfs.ts';
import type { DamagedRange } from '../damage.ts';
import { KIND_REMOVAL, KIND_TOMBSTONE } from '../entry.ts';
import type { KeyRange } from '../key-range.ts';
import { intersect } from '../key-range.ts';
import type { CollectableRange, TableMeta } from '../sstable/table-meta.ts';
import type { TableScan } from '../sstable/table-scan.ts';
import type { TableFormat } from '../sstable/table-writer.ts';
import { TableWriter, WriterBuffers } from '../sstable/table-writer.ts';
import { Merge } from './merge.ts';

/** What a compaction may drop for good. Plain data: it crosses to a worker. Ranges ascend and are disjoint. */
export interface CollectionPolicy {
  readonly collectable: readonly CollectableRange[];
}

export interface CompactMessage {
  readonly directory: string;
  /** Newest first; within one, tables in key order. */
  readonly sources: readonly (readonly TableMeta[])[];
  /** The keys that this job merges, of those in the sources. */
  readonly range: KeyRange;
  /** Key ranges (both ends inclusive) of the tables in levels below the output, level by level in key order. */
  readonly deeper: readonly (readonly { readonly min: ByteString; readonly max: ByteString }[])[];
  readonly policy: CollectionPolicy | undefined;
  readonly format: TableFormat;
  readonly tableBytes: number;
  /** Numbers for the new tables; with the last one in use the table grows beyond its size. */
  readonly numbers: readonly number[];
}

export interface CompactResult {
  readonly tables: readonly TableMeta[];
  readonly overwritten: number;
  readonly removals: number;
  readonly expired: number;
  readonly tombstones: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** Damage found in the inputs. */
  readonly holes: readonly DamagedRange[];
}

const SLICE_BYTES = 128 * 1024;

/** Answers, for ascending keys, whether a deeper level may hold the key. */
class DeeperLevels {
  readonly #levels: CompactMessage['deeper'];
  readonly #at: number[];

  constructor(levels: CompactMessage['deeper']) {
    this.#levels = levels;
    this.#at = levels.map(() => 0);
  }

  mayHold(key: ByteString): boolean {
    for (const [number, tables] of this.#levels.entries()) {
      let at = this.#at[number] as number;
      let table = tables[at];
      while (table !== undefined && table.max < key) {
        at += 1;
        table = tables[at];
      }
      this.#at[number] = at;
      if (table !== undefined && table.min <= key) return true;
    }
    return false;
  }
}

class Outputs {
  readonly tables: TableMeta[] = [];
  readonly #message: CompactMessage;
  readonly #disk: SyncVfs;
  readonly #buffers: WriterBuffers;
  #writer: TableWriter | undefined;
  #used = 0;
  /** Where the keys of the table being written begin. */
  #start: ByteString;

  constructor(message: CompactMessage, disk: SyncVfs) {
    this.#start = message.range.from;
    this.#message = message;
    this.#disk = disk;
    this.#buffers = new WriterBuffers(message.format);
  }

  /** Whether the next key starts a new table. */
  get isFull(): boolean {
    return this.#writer !== undefined && this.#writer.bytes >= this.#message.tableBytes && this.#used < this.#message.numbers.length;
  }

  writer(): TableWriter {
    this.#writer ??= this.#open();
    return this.#writer;
  }

  /** Ends the table being written; the next starts with `next`. */
  end(next: ByteString | undefined, holes: readonly DamagedRange[]): void {
    const range: KeyRange = { from: this.#start, to: next ?? this.#message.range.to };
    const inside = holes.map((hole) => intersect(hole, range)).filter((hole) => hole !== undefined);
    this.#start = next ?? '';
    if (this.#writer === undefined && inside.length === 0) return;
    const writer = this.writer();
    this.tables.push(writer.finish(inside));
    this.#writer = undefined;
  }

  abandon(): void {
    this.#writer?.abandon();
  }

  #open(): TableWriter {
    const number = this.#message.numbers[this.#used];
    if (number === undefined) throw new Error('broken invariant: a compaction has numbers for its tables');
    this.#used += 1;
    return new TableWriter(this.#disk, this.#message.directory, number, this.#message.format, this.#buffers);
  }
}

/** Answers, for ascending keys, what the policy drops. */
class Collectable {
  readonly #ranges: readonly CollectableRange[];
  #at = 0;

  constructor(policy: CollectionPolicy | undefined) {
    this.#ranges = policy?.collectable ?? [];
  }

  find({ cursor, key }: TableScan): 'expired' | 'tombstone' | undefined {
    let range = this.#ranges[this.#at];
    while (range?.to !== undefined && key >= range.to) {
      this.#at += 1;
      range = this.#ranges[this.#at];
    }
    if (
      range === undefined ||
      key < range.from ||
      cursor.gcTag === 0 ||
      cursor.gcTag > range.gcTag ||
      cursor.expireAtMs > range.expiredByMs
    ) {
      return undefined;
    }
    if (cursor.kind === KIND_TOMBSTONE) return 'tombstone';
    return cursor.expireAtMs === 0 ? undefined : 'expired';
  }
}

const NOTHING = new Uint8Array(0);

function* compact(message: CompactMessage, disk: SyncVfs): Generator<undefined, CompactResult, undefined> {
  const merge = new Merge(disk, message.directory, message.sources, message.range);
  const deeper = new DeeperLevels(message.deeper);
  const outputs = new Outputs(message, disk);
  const collectable = new Collectable(message.policy);
  let removals = 0;
  let expired = 0;
  let tombstones = 0;
  let sliced = 0;
  const ranges = (): DamagedRange[] => merge.holes.map((hole) => hole.range);
  try {
    yield* merge.start();
    for (let scan = merge.next(); scan !== undefined; scan = merge.next()) {
      const { cursor, key } = scan;
      sliced += cursor.valueTo - cursor.valueFrom + key.length + 64;
      if (sliced >= SLICE_BYTES) {
        sliced = 0;
        yield undefined;
      }
      let { kind } = cursor;
      if (kind !== KIND_REMOVAL) {
        const why = collectable.find(scan);
        if (why !== undefined) {
          kind = KIND_REMOVAL;
          if (why === 'expired') expired += 1;
          else tombstones += 1;
        }
      }
      // An entry within a hole answers for its key: without it, the hole would.
      if (kind === KIND_REMOVAL && !deeper.mayHold(key) && !merge.inHole(key)) {
        removals += 1;
        continue;
      }
      if (outputs.isFull) {
        outputs.end(key, ranges());
        yield undefined;
      }
      if (kind === KIND_REMOVAL) outputs.writer().add(key, kind, 0, cursor.gcTag, NOTHING, 0, 0);
      else outputs.writer().add(key, kind, cursor.expireAtMs, cursor.gcTag, cursor.bytes, cursor.valueFrom, cursor.valueTo);
    }
    outputs.end(undefined, ranges());
    yield undefined;
    if (outputs.tables.length > 0) disk.syncDir(message.directory);
    const bytesWritten = outputs.tables.reduce((sum, table) => sum + table.bytes, 0);
    const { overwritten } = merge;
    merge.close();
    return {
      tables: outputs.tables,
      overwritten,
      removals,
      expired,
      tombstones,
      bytesRead: merge.bytesRead,
      bytesWritten,
      holes: ranges(),
    };
  } catch (error) {
    outputs.abandon();
    merge.close();
    throw error;
  }
}

/** The results of the parts of one compaction, in the order of their keys. */
export function joined(parts: readonly CompactResult[]): CompactResult {
  const sum = (of: (part: CompactResult) => number): number => parts.reduce((total, part) => total + of(part), 0);
  return {
    tables: parts.flatMap((part) => part.tables),
    overwritten: sum((part) => part.overwritten),
    removals: sum((part) => part.removals),
    expired: sum((part) => part.expired),
    tombstones: sum((part) => part.tombstones),
    bytesRead: sum((part) => part.bytesRead),
    bytesWritten: sum((part) => part.bytesWritten),
    holes: parts.flatMap((part) => part.holes),
  };
}

export const compactJob: Job<CompactMessage, CompactResult> = { name: 'compactJob', module: import.meta.url, run: compact };
