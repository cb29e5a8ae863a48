/**
 * How segments of the commit log come to the disk: their files are made, written to, synced, and after a failure written anew.
 *
 * A group that is small goes into the system's cache by one synchronous write, while the disk is quick (write-pace.ts), else a thread writes
 * it. Both fail alike. The file of the next segment is made ahead (next-file.ts), so that where segments change a write waits for no more than
 * elsewhere.
 *
 * Invariant: after a failed sync or write a file is never synced again (`Segment.broken`); only `rewrite` helps.
 */

import { CoterieError as Coded } from '../../base/errors.ts';
import type { Clock } from '../../env/clock.ts';
import type { Vfs, VfsFile } from '../../env/vfs.ts';
import { isVfsError } from '../../env/vfs.ts';
import { logName } from '../sstable/table-meta.ts';
import { type NextFile, NextFiles } from './next-file.ts';
import { roomAt } from './reserve.ts';
import type { Segment } from './segment.ts';
import { encodeSegmentHeader, SEGMENT_HEAD_BYTES } from './segment-header.ts';
import { WritePace } from './write-pace.ts';

/** Behind the name of a segment that is being rewritten; the next start removes such files. */
export const UNFINISHED = '.new';

export interface SegmentFileSettings {
  readonly directory: string;
  readonly vfs: Vfs;
  readonly clock: Clock;
  /** Memory of one memtable: from half of it on, the file of the next segment is made. */
  readonly memtableBytes: number;
  /** Milliseconds of synchronous writes a turn. */
  readonly turnWriteMs: number;
}

export class SegmentFiles {
  readonly #settings: SegmentFileSettings;
  readonly #nextNumber: () => number;
  readonly #pace: WritePace;
  /** For the segment after the newest. */
  readonly #nextFiles: NextFiles;
  /** Since the start. */
  readonly counters = { syncs: 0, writes: 0, bytesWritten: 0, rewrites: 0 };

  constructor(settings: SegmentFileSettings, nextNumber: () => number) {
    this.#settings = settings;
    this.#nextNumber = nextNumber;
    this.#pace = new WritePace(settings.clock, settings.turnWriteMs);
    this.#nextFiles = new NextFiles(settings, nextNumber);
  }

  /** The file that was made ahead for the segment after number `last`, if there is one. */
  takeNext(last: number): NextFile | undefined {
    return this.#nextFiles.take(last);
  }

  /**
   * Brings the segment's file up to its memtable by one synchronous write, if that is small and the disk quick. False where a thread must
   * write, or where it failed: a write that found no room is tried again by the thread, and any other breaks the segment.
   */
  writeNow(segment: Segment): boolean {
    const { file } = segment;
    const { slabs } = segment.memtable;
    let slab = slabs[segment.slab];
    if (file === undefined || slab === undefined) return false;
    if (segment.slab < slabs.length - 1 && segment.offset === slab.used) {
      segment.slab += 1;
      segment.offset = 0;
      slab = slabs[segment.slab];
    }
    if (slab === undefined || segment.slab < slabs.length - 1) return false;
    const end = slab.used;
    const length = end - segment.offset;
    if (length === 0) return true;
    if (!this.#pace.permits(length)) return false;
    try {
      this.#pace.charge(() => {
        file.writeSync(slab.bytes.subarray(segment.offset, end), segment.position);
      });
    } catch (error) {
      if (!isVfsError(error)) throw error;
      if (error.code !== 'NO_SPACE') segment.broken = true;
      return false;
    }
    this.#wrote(segment, end);
    return true;
  }

  /** The same by a thread, whatever the size; makes the file where there is none. @throws VfsError, with what was written counted */
  async write(segment: Segment): Promise<void> {
    if (segment.file === undefined) await this.#create(segment, `${this.#settings.directory}/${logName(segment.number)}`, 0);
    const { file } = segment;
    if (file === undefined) return;
    const { slabs } = segment.memtable;
    for (;;) {
      const slab = slabs[segment.slab];
      if (slab === undefined) return;
      const end = slab.used;
      if (segment.offset < end) {
        const { clock } = this.#settings;
        const before = clock.monotonicMs();
        await file.write(slab.bytes.subarray(segment.offset, end), segment.position);
        this.#pace.byThread(clock.monotonicMs() - before);
        this.#wrote(segment, end);
      }
      if (segment.slab === slabs.length - 1) return;
      // Nothing more comes into a slab that has a successor, but some may have come while it was being written.
      if (segment.offset < slab.used) continue;
      segment.slab += 1;
      segment.offset = 0;
    }
  }

  /** Brings what is written to the disk. One sync at a time; after one that failed there is no other on this file. */
  async sync(segment: Segment): Promise<void> {
    while (segment.syncing !== undefined) await segment.syncing;
    if (segment.broken) throw new Coded('DISK_FAILED', 'a sync of this segment has failed');
    const { file, position } = segment;
    if (file === undefined || segment.synced === position) return;
    segment.syncing = file.dataSync().then(
      () => {
        this.counters.syncs += 1;
        segment.synced = position;
        segment.syncing = undefined;
      },
      () => {
        segment.broken = true;
        segment.syncing = undefined;
      },
    );
    await segment.syncing;
    if (segment.hasFailed()) throw new Coded('DISK_FAILED', 'the sync failed');
  }

  /**
   * All of the memtable to a new file, which takes the place of the broken one. It gets its name when it is whole on the disk, so that what its
   * frames say of synced lengths is true of it too.
   */
  async rewrite(segment: Segment): Promise<void> {
    const { vfs, directory } = this.#settings;
    await segment.syncing;
    const old = segment.file;
    const oldNumber = segment.number;
    const had = {
      position: segment.position,
      reserved: segment.reserved,
      synced: segment.synced,
      slab: segment.slab,
      offset: segment.offset,
    };
    // Frames made from now on speak of the new file.
    segment.synced = 0;
    this.counters.rewrites += 1;
    segment.number = this.#nextNumber();
    segment.file = undefined;
    const path = `${directory}/${logName(segment.number)}`;
    try {
      await this.#create(segment, `${path}${UNFINISHED}`, oldNumber);
      await this.write(segment);
      const { position } = segment;
      const unfinished = this.#fileOf(segment);
      await unfinished.dataSync();
      this.counters.syncs += 1;
      await vfs.rename(unfinished.path, path);
      await vfs.syncDir(directory);
      segment.file = await vfs.open(path, 'append-or-create');
      await unfinished.close().catch(() => undefined);
      segment.synced = position;
    } catch (error) {
      // The old file stays as the better of two bad ones: it has whatever was synced to it. The new one only repeats it.
      const failed = this.#takeFile(segment);
      if (failed !== undefined) {
        await failed.close().catch(() => undefined);
        await vfs.unlink(`${path}${UNFINISHED}`).catch(() => undefined);
      }
      segment.file = old;
      segment.number = oldNumber;
      Object.assign(segment, had);
      throw error;
    }
    segment.broken = false;
    segment.lowest = segment.number;
    await old?.close().catch(() => undefined);
    await vfs.unlink(`${directory}/${logName(oldNumber)}`).catch(() => undefined);
    await vfs.syncDir(directory).catch(() => undefined);
  }

  /** Makes the file of the next segment, once much of the newest is full. */
  makeNext({ sealed, memtable, position }: Segment): void {
    if (!sealed && memtable.bytes >= this.#settings.memtableBytes / 2) this.#nextFiles.make(roomAt(position));
  }

  /** The file that was made ahead for `segment` will not be its. */
  dropNext(segment: Segment): void {
    if (segment.next !== undefined) this.#nextFiles.drop(segment.next);
    segment.next = undefined;
  }

  /** When nothing is written any more: the file made ahead is removed. */
  close(): Promise<void> {
    return this.#nextFiles.close();
  }

  async #create(segment: Segment, path: string, replaces: number): Promise<void> {
    const { vfs, directory } = this.#settings;
    // A rewrite is a file of its own.
    if (replaces > 0) this.dropNext(segment);
    const made = await segment.next?.made;
    segment.next = undefined;
    const file = made?.file ?? (await vfs.open(path, 'create'));
    try {
      await file.write(encodeSegmentHeader({ number: segment.number, replaces, base: segment.memtable.base }), 0);
      if (made === undefined) await vfs.syncDir(directory);
    } catch (error) {
      await file.close().catch(() => undefined);
      await vfs.unlink(path).catch(() => undefined);
      segment.number = this.#nextNumber();
      throw error;
    }
    segment.file = file;
    segment.position = SEGMENT_HEAD_BYTES;
    segment.reserved = made?.zeros ?? 0;
    segment.synced = 0;
    segment.slab = 0;
    segment.offset = 0;
  }

  #wrote(segment: Segment, end: number): void {
    const bytes = end - segment.offset;
    segment.offset = end;
    segment.position += bytes;
    this.counters.writes += 1;
    this.counters.bytesWritten += bytes;
  }

  /** It changes across awaits, which narrowing would not see. */
  #takeFile(segment: Segment): VfsFile | undefined {
    return segment.file;
  }

  #fileOf(segment: Segment): VfsFile {
    if (segment.file === undefined) throw new Coded('INTERNAL', 'the segment has no file');
    return segment.file;
  }
}
