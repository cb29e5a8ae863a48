/** The engine's settings: what they mean, their ranges and defaults. */

import { CoterieError } from '../base/errors.ts';
import type { Clock } from '../env/clock.ts';
import type { Executor } from '../env/executor.ts';
import type { Vfs } from '../env/vfs.ts';
import { type Follower, NO_FOLLOWER } from './follower.ts';

/**
 * `always`: a write is done when it is on the disk. `interval`: it is done when the operating system has it (so it survives the process),
 * and reaches the disk within `everyMs`.
 */
export type FsyncPolicy = { readonly kind: 'always' } | { readonly kind: 'interval'; readonly everyMs: number };

export type Compression = 'none' | 'snappy' | 'lz4' | 'zstd';

/** What happened, for the log; plain data. */
export interface EngineEvent {
  readonly level: 'info' | 'warn' | 'error';
  /** Stable, as in `flush-finished`. */
  readonly name: string;
  readonly detail: Readonly<Record<string, string | number | boolean>>;
}

export interface EngineOptions {
  /** Made if missing. Everything in it belongs to the engine, but for names it does not know. */
  readonly directory: string;
  readonly vfs: Vfs;
  readonly executor: Executor;
  readonly clock: Clock;
  readonly fsync?: FsyncPolicy;
  /** Bytes (keys, values, index) after which a memtable is sealed and flushed; 64 KiB to 1 GiB. */
  readonly memtableBytes?: number;
  /** Sealed memtables that may wait for their flush before writes are stopped; 1 to 16. */
  readonly sealedMemtables?: number;
  /** Bytes of entries, decoded blocks, and the indexes and filters of open tables, kept in memory; 0 to any. */
  readonly cacheBytes?: number;
  /** Table files open at a time; at least 8. */
  readonly openFiles?: number;
  /** Per level from 0; the last one stands for all deeper levels. */
  readonly compression?: readonly Compression[];
  /** Size of a data block before compression; 512 to 1 MiB. */
  readonly blockBytes?: number;
  /** Entries between two keys written whole; 1 to 1,024. */
  readonly restartInterval?: number;
  /** 0 (no filter) to 32. */
  readonly bloomBitsPerKey?: number;
  /** Size at which compaction starts a new table; 64 KiB to 1 GiB. */
  readonly tableBytes?: number;
  /** A large compaction is split by keys into so many jobs that run at the same time; 1 to 16. */
  readonly compactionParts?: number;
  /** Bytes that level 1 should hold; each deeper level holds `levelRatio` times as many. */
  readonly levelBaseBytes?: number;
  readonly levelRatio?: number;
  /** Tables in level 0 that start a compaction, slow writes down, and stop them. */
  readonly level0Compact?: number;
  readonly level0Slow?: number;
  readonly level0Stop?: number;
  /** Bytes of accepted but delayed writes above which further ones are refused with BUSY. */
  readonly stalledBytes?: number;
  /** Asynchronous reads in flight: the size of the thread pool less two. */
  readonly coldReads?: number;
  /** Synchronous reads a turn of the loop may make, and the milliseconds they may take together. */
  readonly turnReads?: number;
  readonly turnReadMs?: number;
  /** Milliseconds that the log's synchronous writes may take together in a turn of the loop; 0: threads write. */
  readonly turnWriteMs?: number;
  /** Below this many free bytes writes are refused with DISK_FULL; they resume above one and a half times as many. */
  readonly reserveBytes?: number;
  /** Asked while a compaction runs: the share of the time it may take, above 0 to 1; 1 by default. */
  readonly backgroundShare?: () => number;
  /** Overwrite the memory of blocks that leave the cache, so that whoever keeps an entry beyond its turn is found out; for tests. */
  readonly poison?: boolean;
  readonly log?: (event: EngineEvent) => void;
  /** Who keeps a summary of the content, see follower.ts. With one, `Engine.replayed` must be released. */
  readonly follower?: Follower;
}

export type Settings = Required<Omit<EngineOptions, 'log'>> & { readonly log: (event: EngineEvent) => void };

const KIB = 1024;
const MIB = 1024 * KIB;

function within(name: string, value: number, least: number, most: number): number {
  if (!Number.isSafeInteger(value) || value < least || value > most) {
    throw new CoterieError(
      'SETTING_INVALID',
      `${name} must be a whole number from ${String(least)} to ${String(most)}, not ${String(value)}`,
    );
  }
  return value;
}

/** The options with defaults filled in. @throws CoterieError SETTING_INVALID */
export function settingsOf(options: EngineOptions): Settings {
  const any = Number.MAX_SAFE_INTEGER;
  const memtableBytes = within('memtableBytes', options.memtableBytes ?? 8 * MIB, 4 * KIB, 1024 * MIB);
  const level0Compact = within('level0Compact', options.level0Compact ?? 6, 1, 1000);
  const level0Slow = within('level0Slow', options.level0Slow ?? Math.max(16, level0Compact * 2), level0Compact, 10_000);
  const fsync = options.fsync ?? { kind: 'always' };
  if (fsync.kind === 'interval') within('fsync.everyMs', fsync.everyMs, 1, 3_600_000);
  const compression = options.compression ?? ['lz4', 'lz4', 'lz4', 'lz4', 'zstd'];
  within('the number of levels with a compression', compression.length, 1, 16);
  const turnReadMs = options.turnReadMs ?? 0.2;
  if (!(turnReadMs >= 0)) throw new CoterieError('SETTING_INVALID', 'turnReadMs must be at least 0');
  const turnWriteMs = options.turnWriteMs ?? 1;
  if (!(turnWriteMs >= 0)) throw new CoterieError('SETTING_INVALID', 'turnWriteMs must be at least 0');
  return {
    directory: options.directory,
    vfs: options.vfs,
    executor: options.executor,
    clock: options.clock,
    fsync,
    memtableBytes,
    sealedMemtables: within('sealedMemtables', options.sealedMemtables ?? 2, 1, 16),
    cacheBytes: within('cacheBytes', options.cacheBytes ?? 16 * MIB, 0, any),
    openFiles: within('openFiles', options.openFiles ?? 500, 8, 1_000_000),
    compression,
    blockBytes: within('blockBytes', options.blockBytes ?? 4 * KIB, 128, MIB),
    restartInterval: within('restartInterval', options.restartInterval ?? 16, 1, 1024),
    bloomBitsPerKey: within('bloomBitsPerKey', options.bloomBitsPerKey ?? 14, 0, 32),
    tableBytes: within('tableBytes', options.tableBytes ?? 8 * MIB, 4 * KIB, 1024 * MIB),
    levelBaseBytes: within('levelBaseBytes', options.levelBaseBytes ?? 64 * MIB, 4 * KIB, any),
    levelRatio: within('levelRatio', options.levelRatio ?? 10, 2, 100),
    compactionParts: within('compactionParts', options.compactionParts ?? 2, 1, 16),
    level0Compact,
    level0Slow,
    level0Stop: within('level0Stop', options.level0Stop ?? Math.max(24, level0Slow + level0Compact), level0Slow, 100_000),
    stalledBytes: within('stalledBytes', options.stalledBytes ?? memtableBytes, 1, any),
    coldReads: within('coldReads', options.coldReads ?? 2, 1, 1024),
    turnReads: within('turnReads', options.turnReads ?? 8, 0, 10_000),
    turnReadMs,
    turnWriteMs,
    reserveBytes: within('reserveBytes', options.reserveBytes ?? 4 * memtableBytes, 0, any),
    backgroundShare: options.backgroundShare ?? ((): number => 1),
    poison: options.poison ?? false,
    log: options.log ?? ((): void => undefined),
    follower: options.follower ?? NO_FOLLOWER,
  };
}
