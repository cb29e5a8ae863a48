/**
 * The commit log: one segment for each memtable, whose slabs it copies to the file as they are. While one group is written and synced,
 * the next gathers in memory: at most one fdatasync is in flight, and a whole group is acknowledged after it.
 *
 * A group that is small goes into the system's cache by one synchronous write, while the disk is quick (write-pace.ts), else a thread writes
 * it. Both fail alike. The file of the next segment is made ahead (next-file.ts), so that where segments change a write waits for no more than
 * elsewhere.
 *
 * Invariants:
 * - Nothing of a segment is written before the one before it is complete and synced.
 * - With `always`, a callback runs only after a successful sync of a file that holds its frame.
 * - After a failed sync (or write) a file is never synced again: all of its memtable goes to a new segment, and the old one is removed when
 *   the new one is durable. If that fails too, the log has failed until a restart.
 * - A full disk halts the log until `resume`; what is in memory but not yet written is written first then.
 */

import type { CoterieError } from '../../base/errors.ts';
import { CoterieError as Coded } from '../../base/errors.ts';
import type { Clock, Timer } from '../../env/clock.ts';
import type { Vfs, VfsFile } from '../../env/vfs.ts';
import { isVfsError } from '../../env/vfs.ts';
import type { Memtable } from '../memtable/memtable.ts';
import type { FsyncPolicy } from '../options.ts';
import { logName } from '../sstable/table-meta.ts';
import { FRAME_HEAD_BYTES } from './frame.ts';
import { type Acknowledge, Segment } from './segment.ts';
import { NextFiles } from './next-file.ts';
import { release, reserve, roomAt } from './reserve.ts';
import { encodeSegmentHeader, SEGMENT_HEAD_BYTES } from './segment-header.ts';
import { WritePace } from './write-pace.ts';

const IDLE_MARK_MS = 50;
/** Behind the name of a segment that is being rewritten; the next start removes such files. */
export const UNFINISHED = '.new';

/**
 * With the interval policy, a sync begins once so much is not synced: everything waits for the one at a segment's end, which then finds little
 * left.
 */
const UNSYNCED_BYTES = 4 * 1024 * 1024;

export interface LogOwner {
  nextNumber(): number;
  /** A turn of the loop begins: what was borrowed in the turns before it has been given back. Not told of every turn. */
  turnBegins(): void;
  /** The writes of one group are as durable as the policy says, or failed. */
  acknowledge(group: readonly Acknowledge[], error?: CoterieError): void;
  /** The disk is full; the log halts until `resume`. */
  logFull(): void;
  /** The log has failed for good. */
  logFailed(error: CoterieError): void;
  /** A sealed segment is whole on the disk: its memtable may be flushed. */
  segmentFinished(segment: Segment): void;
}

export interface LogSettings {
  readonly directory: string;
  readonly vfs: Vfs;
  readonly clock: Clock;
  readonly fsync: FsyncPolicy;
  /** Memory of one memtable: from half of it on, the file of the next segment is made. */
  readonly memtableBytes: number;
  /** Milliseconds of synchronous writes a turn. */
  readonly turnWriteMs: number;
}

export class Log {
  readonly #settings: LogSettings;
  readonly #owner: LogOwner;
  readonly #pace: WritePace;
  readonly #segments: Segment[] = [];
  #state: 'running' | 'full' | 'failed' | 'closed' = 'running';
  #pumping = false;
  #kicked = false;
  #idle: Timer | undefined;
  #interval: Timer | undefined;
  #drained: (() => void)[] = [];
  /** For the segment after the newest. */
  readonly #nextFiles: NextFiles;
  syncs = 0;
  writes = 0;
  bytesWritten = 0;
  rewrites = 0;

  constructor(settings: LogSettings, owner: LogOwner) {
    this.#settings = settings;
    this.#owner = owner;
    this.#pace = new WritePace(settings.clock, settings.turnWriteMs);
    this.#nextFiles = new NextFiles(settings, () => owner.nextNumber());
  }

  /** Starts the segment of a new memtable; the one before must be sealed. */
  begin(memtable: Memtable): Segment {
    const next = this.#nextFiles.take(this.#segments.at(-1)?.number ?? 0);
    const segment = new Segment(next?.number ?? this.#owner.nextNumber(), memtable);
    segment.next = next;
    memtable.lease();
    this.#segments.push(segment);
    return segment;
  }

  /** Takes the callback of what was just appended to the segment's memtable. */
  submit(segment: Segment, done: Acknowledge): void {
    segment.waiting.push(done);
    this.#kick();
  }

  seal(segment: Segment): void {
    segment.sealed = true;
    this.#kick();
  }

  /** There is room again. */
  resume(): void {
    if (this.#state !== 'full') return;
    this.#state = 'running';
    this.#kick();
  }

  /** A full disk keeps it from writing. */
  get isHalted(): boolean {
    return this.#state === 'full';
  }

  /** Bytes of the segments not yet finished. */
  get bytes(): number {
    let bytes = 0;
    for (const segment of this.#segments) bytes += segment.position;
    return bytes;
  }

  /** Writes and syncs what is there, marks it, closes the files. Callbacks still waiting (after a failure) get `error`. */
  async close(error: CoterieError): Promise<void> {
    this.#idle?.cancel();
    this.#interval?.cancel();
    const active = this.#segments.at(-1);
    if (this.#state === 'running' && active !== undefined) {
      await this.#drain();
      await this.#mark(active);
      if (!active.broken) await this.#sync(active).catch(() => undefined);
    }
    await this.#drain();
    this.#state = 'closed';
    for (const segment of this.#segments) {
      if (segment.waiting.length > 0) this.#owner.acknowledge(segment.waiting, error);
      segment.waiting = [];
      await segment.syncing;
      this.#dropNext(segment);
      await release(segment);
      await segment.file?.close().catch(() => undefined);
      segment.memtable.release();
    }
    this.#segments.length = 0;
    await this.#nextFiles.close();
  }

  #kick(): void {
    if (this.#kicked || this.#pumping || this.#state !== 'running') return;
    this.#kicked = true;
    // The writes of one turn of the loop make one group.
    this.#settings.clock.soon(() => {
      this.#kicked = false;
      this.#owner.turnBegins();
      void this.#pump();
    });
  }

  /** Resolves when the pump stands still. */
  async #drain(): Promise<void> {
    if (!this.#pumping && this.#state === 'running') await this.#pump();
    else if (this.#pumping) await new Promise<void>((resolve) => this.#drained.push(resolve));
  }

  async #pump(): Promise<void> {
    if (this.#pumping || this.#state !== 'running') return;
    this.#pumping = true;
    this.#idle?.cancel();
    while (this.#canPump()) {
      const segment = this.#segments[0];
      if (segment === undefined) break;
      const group = segment.waiting;
      const always = this.#settings.fsync.kind === 'always';
      if (
        group.length === 0 &&
        !segment.hasUnwritten &&
        !segment.broken &&
        (segment.synced === segment.position || (!segment.sealed && !always))
      ) {
        if (!segment.sealed) break;
        await this.#finish(segment);
        continue;
      }
      segment.waiting = [];
      if (await this.#advance(segment, always || segment.sealed)) {
        if (group.length > 0) this.#owner.acknowledge(group);
        this.#makeNext(segment);
      } else {
        this.#refuse(group);
      }
    }
    this.#pumping = false;
    const drained = this.#drained;
    this.#drained = [];
    for (const resolve of drained) resolve();
    this.#scheduleMark();
  }

  /** State may change in callbacks and awaits, which narrowing would not see. */
  #canPump(): boolean {
    return this.#state === 'running';
  }

  /** Brings the segment's file up to its memtable; false when that failed and the log has halted. */
  async #advance(segment: Segment, sync: boolean): Promise<boolean> {
    if (!segment.broken && !this.#writeNow(segment) && !this.#isBroken(segment)) {
      try {
        await this.#write(segment);
      } catch (error) {
        // Nothing was lost by a write that found no room: it is repeated at the same place when there is some.
        if (isVfsError(error) && error.code === 'NO_SPACE') return this.#halt(error);
        segment.broken = true;
      }
    }
    if (!segment.broken) {
      try {
        if (sync) {
          await reserve(segment);
          await this.#sync(segment);
        } else this.#syncLater();
        return true;
      } catch {
        segment.broken = true;
      }
    }
    try {
      await this.#rewrite(segment);
      return true;
    } catch (error) {
      return this.#halt(error);
    }
  }

  #halt(error: unknown): false {
    if (this.#state !== 'running') return false;
    if (isVfsError(error) && error.code === 'NO_SPACE') {
      this.#state = 'full';
      this.#owner.logFull();
    } else {
      this.#state = 'failed';
      this.#owner.logFailed(
        new Coded('DISK_FAILED', 'the commit log cannot be written; the node must be restarted', { outcome: 'unknown', cause: error }),
      );
    }
    return false;
  }

  #refuse(group: readonly Acknowledge[]): void {
    const message =
      this.#state === 'full'
        ? 'the disk filled up while the write was under way; it may be stored'
        : 'the commit log could not be written; the write may be stored';
    const error = new Coded('DISK_FAILED', message, { outcome: 'unknown' });
    if (group.length > 0) this.#owner.acknowledge(group, error);
    for (const segment of this.#segments) {
      const { waiting } = segment;
      segment.waiting = [];
      if (waiting.length > 0) this.#owner.acknowledge(waiting, error);
    }
  }

  /**
   * Brings the segment's file up to its memtable by one synchronous write, if that is small and the disk quick. False where a thread must
   * write, or where it failed: a write that found no room is tried again by the thread, and any other breaks the segment.
   */
  #writeNow(segment: Segment): boolean {
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

  #wrote(segment: Segment, end: number): void {
    const bytes = end - segment.offset;
    segment.offset = end;
    segment.position += bytes;
    this.writes += 1;
    this.bytesWritten += bytes;
  }

  async #write(segment: Segment): Promise<void> {
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

  /** Once much of the newest segment is full. */
  #makeNext({ sealed, memtable, position }: Segment): void {
    if (!sealed && memtable.bytes >= this.#settings.memtableBytes / 2) this.#nextFiles.make(roomAt(position));
  }

  #dropNext(segment: Segment): void {
    if (segment.next !== undefined) this.#nextFiles.drop(segment.next);
    segment.next = undefined;
  }

  async #create(segment: Segment, path: string, replaces: number): Promise<void> {
    const { vfs, directory } = this.#settings;
    // A rewrite is a file of its own.
    if (replaces > 0) this.#dropNext(segment);
    const made = await segment.next?.made;
    segment.next = undefined;
    const file = made?.file ?? (await vfs.open(path, 'create'));
    try {
      await file.write(encodeSegmentHeader({ number: segment.number, replaces, base: segment.memtable.base }), 0);
      if (made === undefined) await vfs.syncDir(directory);
    } catch (error) {
      await file.close().catch(() => undefined);
      await vfs.unlink(path).catch(() => undefined);
      segment.number = this.#owner.nextNumber();
      throw error;
    }
    segment.file = file;
    segment.position = SEGMENT_HEAD_BYTES;
    segment.reserved = made?.zeros ?? 0;
    segment.synced = 0;
    segment.slab = 0;
    segment.offset = 0;
  }

  /** Brings what is written to the disk. One sync at a time; after one that failed there is no other on this file. */
  async #sync(segment: Segment): Promise<void> {
    while (segment.syncing !== undefined) await segment.syncing;
    if (segment.broken) throw new Coded('DISK_FAILED', 'a sync of this segment has failed');
    const { file, position } = segment;
    if (file === undefined || segment.synced === position) return;
    segment.syncing = file.dataSync().then(
      () => {
        this.syncs += 1;
        segment.synced = position;
        segment.syncing = undefined;
      },
      () => {
        segment.broken = true;
        segment.syncing = undefined;
      },
    );
    await segment.syncing;
    if (this.#isBroken(segment)) throw new Coded('DISK_FAILED', 'the sync failed');
  }

  /** The interval policy: syncs beside the writes, when it is time or much has been written. */
  #syncLater(): void {
    const { fsync, clock } = this.#settings;
    if (fsync.kind !== 'interval') return;
    const segment = this.#segments[0];
    if (segment !== undefined && segment.position - segment.synced >= UNSYNCED_BYTES) this.#syncBeside();
    this.#interval ??= clock.after(fsync.everyMs, () => {
      this.#interval = undefined;
      this.#syncBeside();
    });
  }

  #syncBeside(): void {
    // Sealed ones, and whatever follows them, are the pump's.
    const segment = this.#segments[0];
    if (segment === undefined || segment.broken || segment.syncing !== undefined || this.#state === 'closed') return;
    this.#sync(segment).then(
      () => {
        this.#syncMore(segment);
      },
      () => {
        this.#kick();
      },
    );
  }

  #syncMore(segment: Segment): void {
    if (segment.synced < segment.position && !segment.sealed && this.#state === 'running') this.#syncLater();
    else this.#scheduleMark();
  }

  /**
   * All of the memtable to a new file, which takes the place of the broken one. It gets its name when it is whole on the disk, so that what its
   * frames say of synced lengths is true of it too.
   */
  async #rewrite(segment: Segment): Promise<void> {
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
    this.rewrites += 1;
    segment.number = this.#owner.nextNumber();
    segment.file = undefined;
    const path = `${directory}/${logName(segment.number)}`;
    try {
      await this.#create(segment, `${path}${UNFINISHED}`, oldNumber);
      await this.#write(segment);
      const { position } = segment;
      const unfinished = this.#fileOf(segment);
      await unfinished.dataSync();
      this.syncs += 1;
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

  /** It changes across awaits, which narrowing would not see. */
  #isBroken(segment: Segment): boolean {
    return segment.broken;
  }

  #takeFile(segment: Segment): VfsFile | undefined {
    return segment.file;
  }

  #fileOf(segment: Segment): VfsFile {
    if (segment.file === undefined) throw new Coded('INTERNAL', 'the segment has no file');
    return segment.file;
  }

  async #finish(segment: Segment): Promise<void> {
    this.#segments.shift();
    await segment.file?.close().catch(() => undefined);
    segment.file = undefined;
    segment.memtable.release();
    this.#owner.segmentFinished(segment);
  }

  /** When writes pause, the synced length is put on the disk, so that damage to the last group is told from a torn tail too. */
  #scheduleMark(): void {
    this.#idle?.cancel();
    const segment = this.#segments[0];
    if (this.#state !== 'running' || segment === undefined || segment.sealed || segment.synced !== segment.position) return;
    if (segment.position <= SEGMENT_HEAD_BYTES || segment.marked === segment.position) return;
    this.#idle = this.#settings.clock.after(IDLE_MARK_MS, () => {
      if (!this.#pumping && !segment.sealed) void this.#mark(segment);
    });
  }

  async #mark(segment: Segment): Promise<void> {
    if (segment.broken || segment.file === undefined || this.#state !== 'running') return;
    if (segment.synced !== segment.position) {
      try {
        await this.#sync(segment);
      } catch {
        segment.broken = true;
        this.#kick();
        return;
      }
    }
    if (segment.hasUnwritten || segment.sealed || segment.marked === segment.position) return;
    segment.memtable.mark(segment.memtable.lastSequence, segment.synced);
    segment.marked = segment.position + FRAME_HEAD_BYTES;
    await this.#pump();
  }
}
