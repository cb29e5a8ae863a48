/** What the engine tells of itself. */

import type { TableReads } from './cache/table-reads.ts';
import type { DamagedRange } from './damage.ts';
import { subtract } from './key-range.ts';
import type { StallGate, StallState } from './stall.ts';
import type { TableRef } from './manifest/version.ts';
import { wholeTable } from './sstable/table-scan.ts';
import type { Tree } from './tree.ts';
import type { Log } from './wal/log.ts';

export interface VerifyReport {
  readonly tables: number;
  readonly blocks: number;
  readonly bytes: number;
  readonly damaged: readonly DamagedRange[];
}

export interface EngineStats {
  /** `full`: writes are refused until there is room. `failed`: until a restart. */
  readonly state: 'open' | 'full' | 'failed' | 'closed';
  readonly stall: StallState;
  /** Callbacks now held back by a stall, and milliseconds spent stalled since the start. */
  readonly stalledWrites: number;
  readonly stalledMs: number;
  /** Memory of all memtables: slabs in use or kept for reuse, and indexes. */
  readonly memtableBytes: number;
  readonly sealedMemtables: number;
  /** Entries, blocks, indexes and filters in memory. */
  readonly cacheBytes: number;
  readonly openFiles: number;
  readonly levels: readonly { readonly tables: number; readonly bytes: number; readonly entries: number }[];
  /** Of segments not yet sealed and whole on the disk. */
  readonly logBytes: number;
  /** Snapshots and iterators open. */
  readonly views: number;
  readonly sequence: number;
  readonly quarantined: readonly DamagedRange[];
  /** Counts since the start. */
  readonly counters: Readonly<Record<string, number>>;
}

/** Damaged ranges that readers would meet, as far as they are known. */
export function quarantineOf(tree: Tree): readonly DamagedRange[] {
  return tree.versions.current.levels.flat().flatMap((ref) => damageOf(ref));
}

/** What of a table is known to be lost, less what masks hide. */
export function damageOf(ref: TableRef): readonly DamagedRange[] {
  const { meta, file } = ref;
  if (meta.holes.length === 0 && file.badBlocks.size === 0 && file.brokenAt === undefined) return [];
  let ranges: DamagedRange[] = [...meta.holes, ...file.badBlocks.values()];
  if (file.brokenAt !== undefined) ranges.push(wholeTable(meta, file.brokenAt));
  for (const mask of meta.masks) ranges = ranges.flatMap((range) => subtract(range, mask));
  return ranges;
}

export function statsOf(
  state: EngineStats['state'],
  tree: Tree,
  reads: TableReads,
  log: Log,
  gate: StallGate,
  counters: Readonly<Record<string, number>>,
): EngineStats {
  let indexBytes = tree.active.indexBytes;
  for (const { memtable } of tree.sealed) indexBytes += memtable.indexBytes;
  return {
    state,
    stall: gate.state,
    stalledWrites: gate.held,
    stalledMs: gate.stalledMs,
    memtableBytes: tree.pool.lentBytes + tree.pool.idleBytes + indexBytes,
    sealedMemtables: tree.sealed.length,
    cacheBytes: reads.bytes,
    openFiles: reads.openFiles,
    levels: tree.versions.state.levels.map((tables) => ({
      tables: tables.length,
      bytes: tables.reduce((sum, table) => sum + table.bytes, 0),
      entries: tables.reduce((sum, table) => sum + table.entries, 0),
    })),
    logBytes: log.bytes,
    views: tree.views,
    sequence: tree.sequence,
    quarantined: quarantineOf(tree),
    counters: {
      ...counters,
      logSyncs: log.counters.syncs,
      logWrites: log.counters.writes,
      logBytesWritten: log.counters.bytesWritten,
      logRewrites: log.counters.rewrites,
      stallSlowdowns: gate.slowdowns,
      stallStops: gate.stops,
      syncReads: reads.syncReads,
      asyncReads: reads.asyncReads,
      slowReads: reads.budget.slowReads,
      damagedBlocks: reads.damagedBlocks,
      cacheEvictions: reads.cache.evictions,
      entryHits: reads.entries.hits,
      manifestSwitches: tree.versions.switches,
    },
  };
}
