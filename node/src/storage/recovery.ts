/**
 * Opens a directory: takes the lock, reads the manifest, removes what a crash left behind, and replays the log into memtables.
 *
 * Invariant: when it answers, everything replayed is durable where it is, so that a second crash finds at least as much.
 */

import { Buffer } from 'node:buffer';
import { CoterieError } from '../base/errors.ts';
import type { Vfs, VfsLock } from '../env/vfs.ts';
import { isVfsError } from '../env/vfs.ts';
import { isMalformed } from './binary.ts';
import { damagedFile } from './damage.ts';
import { LEVELS } from './compaction/picker.ts';
import type { ManifestState } from './manifest/codec.ts';
import { decodeManifest, encodeManifest } from './manifest/codec.ts';
import { MANIFEST_NAME, MANIFEST_NEW_NAME } from './manifest/version-set.ts';
import { Memtable } from './memtable/memtable.ts';
import type { SlabPool } from './memtable/slab.ts';
import { logName, parseName, tableName } from './sstable/table-meta.ts';
import { UNFINISHED } from './wal/segment-files.ts';
import type { ReadSegment } from './wal/recovery.ts';
import { readSegment, replayOf } from './wal/recovery.ts';

export const LOCK_NAME = 'LOCK';

export interface Recovered {
  readonly lock: VfsLock;
  readonly state: ManifestState;
  /** Above every number in use. */
  readonly nextNumber: number;
  /** Oldest first. */
  readonly memtables: readonly { readonly memtable: Memtable; readonly log: number }[];
  readonly sequence: number;
  readonly tornBytes: number;
}

function parentOf(directory: string): string {
  const slash = directory.lastIndexOf('/');
  return slash > 0 ? directory.slice(0, slash) : slash === 0 ? '/' : '.';
}

/** Makes the directory, with those above it that are missing; answers what it made, deepest first. */
async function makeDirectory(vfs: Vfs, directory: string): Promise<readonly string[]> {
  const made: string[] = [];
  for (let at = directory; at !== '/' && at !== '.'; at = parentOf(at)) {
    try {
      await vfs.list(at);
      break;
    } catch (error) {
      if (!isVfsError(error) || error.code !== 'NOT_FOUND') throw error;
      made.push(at);
    }
  }
  if (made.length > 0) await vfs.mkdir(directory);
  return made;
}

async function takeLock(vfs: Vfs, directory: string): Promise<VfsLock> {
  try {
    return await vfs.lock(`${directory}/${LOCK_NAME}`);
  } catch (error) {
    if (!isVfsError(error) || error.code !== 'LOCKED') throw error;
    throw new CoterieError('DATA_DIR_IN_USE', `the data directory ${directory} is in use by another process`, { cause: error });
  }
}

async function readManifest(vfs: Vfs, directory: string): Promise<ManifestState | undefined> {
  const path = `${directory}/${MANIFEST_NAME}`;
  const size = await vfs.sizeOf(path);
  if (size === undefined) return undefined;
  const file = await vfs.open(path, 'read');
  const bytes = Buffer.alloc(size);
  try {
    if ((await file.read(bytes, 0)) !== size) throw damagedFile(MANIFEST_NAME, 0, 'it ends early');
  } finally {
    await file.close();
  }
  try {
    return decodeManifest(bytes);
  } catch (error) {
    if (!isMalformed(error)) throw error;
    throw damagedFile(MANIFEST_NAME, error.at, error.message, error);
  }
}

async function createManifest(vfs: Vfs, directory: string): Promise<ManifestState> {
  const state: ManifestState = { nextNumber: 1, flushedSequence: 0, logFloor: 0, levels: Array.from({ length: LEVELS }, () => []) };
  const path = `${directory}/${MANIFEST_NEW_NAME}`;
  if ((await vfs.sizeOf(path)) !== undefined) await vfs.unlink(path);
  const file = await vfs.open(path, 'create');
  try {
    await file.write(encodeManifest(state), 0);
    await file.dataSync();
  } finally {
    await file.close();
  }
  await vfs.rename(path, `${directory}/${MANIFEST_NAME}`);
  await vfs.syncDir(directory);
  return state;
}

/** Puts what was read of a segment on the disk for sure, and cuts its torn tail. */
async function settle(vfs: Vfs, directory: string, segment: ReadSegment): Promise<void> {
  const file = await vfs.open(`${directory}/${logName(segment.number)}`, 'append-or-create');
  try {
    if (segment.torn) await file.truncate(segment.end);
    await file.dataSync();
  } finally {
    await file.close();
  }
}

function replay(segments: readonly ReadSegment[], flushed: number, pool: SlabPool): Pick<Recovered, 'memtables' | 'sequence'> {
  const memtables: { memtable: Memtable; log: number }[] = [];
  let sequence = flushed;
  for (const segment of segments) {
    const memtable = new Memtable(pool, sequence);
    for (const { at, frame } of segment.frames) {
      const done = replayOf(segment, at, frame);
      if (done === undefined || done.sequence <= sequence) continue;
      if (done.sequence !== sequence + 1) throw damagedFile(logName(segment.number), at, 'writes before this one are missing');
      sequence = done.sequence;
      if (done.kind === 'batch') memtable.append(done.batch, sequence, 0);
      else memtable.drop(done, sequence, 0);
    }
    if (memtable.isEmpty) memtable.release();
    else memtables.push({ memtable, log: segment.number });
  }
  return { memtables, sequence };
}

/**
 * Segments in the order of what they hold. Their numbers do not tell it: a segment rewritten after a failed write gets a higher number than
 * the one that already follows it. Those without a whole header hold nothing.
 */
function inOrder(segments: readonly ReadSegment[]): ReadSegment[] {
  const base = (segment: ReadSegment): number => segment.header?.base ?? Number.MAX_SAFE_INTEGER;
  return [...segments].sort((a, b) => base(a) - base(b) || a.number - b.number);
}

async function readLogs(vfs: Vfs, directory: string, numbers: readonly number[]): Promise<readonly ReadSegment[]> {
  const read: ReadSegment[] = [];
  for (const number of numbers) read.push(await readSegment(vfs, directory, number));
  const segments = inOrder(read);
  for (const segment of segments) if (segment.frames.length > 0) await settle(vfs, directory, segment);
  return segments;
}

/** @throws CoterieError DATA_DIR_IN_USE, DATA_DIR_NEWER, DATA_DAMAGED; VfsError */
export async function recover(vfs: Vfs, directory: string, pool: SlabPool): Promise<Recovered> {
  const made = await makeDirectory(vfs, directory);
  const lock = await takeLock(vfs, directory);
  try {
    const names = await vfs.list(directory);
    const files = names.flatMap((name) => parseName(name) ?? []);
    let state = await readManifest(vfs, directory);
    if (state === undefined) {
      if (files.length > 0) throw damagedFile(MANIFEST_NAME, 0, 'it is missing, but there are data files');
      // A start that was cut short may have made the directory without its entry reaching the disk.
      await vfs.syncDir(parentOf(directory));
      for (const path of made.slice(1)) await vfs.syncDir(parentOf(path));
      state = await createManifest(vfs, directory);
    }
    // The last process may have died, or failed, before the manifest's name was on the disk for sure: what only the one before it needs must
    // stay until then.
    await vfs.syncDir(directory);
    const { logFloor, flushedSequence, levels } = state;
    for (const name of names) {
      if (name.endsWith(UNFINISHED) && parseName(name.slice(0, -UNFINISHED.length)) !== undefined) await vfs.unlink(`${directory}/${name}`);
    }
    const known = new Set(levels.flat().map((table) => table.number));
    let nextNumber = state.nextNumber;
    const logs: number[] = [];
    for (const { kind, number } of files) {
      nextNumber = Math.max(nextNumber, number + 1);
      if (kind === 'log' && number >= logFloor) logs.push(number);
      else if (kind === 'log') await vfs.unlink(`${directory}/${logName(number)}`);
      else if (!known.has(number)) await vfs.unlink(`${directory}/${tableName(number)}`);
    }
    logs.sort((a, b) => a - b);
    const segments = await readLogs(vfs, directory, logs);
    const { memtables, sequence } = replay(segments, flushedSequence, pool);
    const needed = new Set(memtables.map(({ log }) => log));
    for (const number of logs) if (!needed.has(number)) await vfs.unlink(`${directory}/${logName(number)}`);
    const tornBytes = segments.reduce((sum, segment) => sum + segment.tornBytes, 0);
    return { lock, state, nextNumber, memtables, sequence, tornBytes };
  } catch (error) {
    await lock.release().catch(() => undefined);
    throw error;
  }
}
