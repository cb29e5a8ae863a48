/**
 * The commit log: one segment for each memtable, whose slabs it copies to the file as they are. While one group is written and synced,
 * the next gathers in memory: at most one fdatasync is in flight, and a whole group is acknowledged after it.
 *
 * Between two syncs pass GATHER_TURNS turns of the loop. An idle loop runs through them in microseconds; a busy one has that many turns' work
 * to do, and what it writes meanwhile joins the group: the more there is to do, the fewer syncs it takes.
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
import type { Timer } from '../../env/clock.ts';
import { isVfsError } from '../../env/vfs.ts';
import type { Memtable } from '../memtable/memtable.ts';
import type { FsyncPolicy } from '../options.ts';
import { FRAME_HEAD_BYTES } from './frame.ts';
import { type Acknowledge, Segment } from './segment.ts';
import { release, reserve } from './reserve.ts';
import { SegmentFiles, type SegmentFileSettings } from './segment-files.ts';
import { SEGMENT_HEAD_BYTES } from './segment-header.ts';

const IDLE_MARK_MS = 50;
/** Turns of the loop between a sync and the next. */
const GATHER_TURNS = 4;

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

export interface LogSettings extends SegmentFileSettings {
  readonly fsync: FsyncPolicy;
}

export class Log {
  readonly #settings: LogSettings;
  readonly #owner: LogOwner;
  readonly #files: SegmentFiles;
  readonly #segments: Segment[] = [];
  #state: 'running' | 'full' | 'failed' | 'closed' = 'running';
  #pumping = false;
  #kicked = false;
  #idle: Timer | undefined;
  #interval: Timer | undefined;
  #drained: (() => void)[] = [];

  constructor(settings: LogSettings, owner: LogOwner) {
    this.#settings = settings;
    this.#owner = owner;
    this.#files = new SegmentFiles(settings, () => owner.nextNumber());
  }

  /** Starts the segment of a new memtable; the one before must be sealed. */
  begin(memtable: Memtable): Segment {
    const next = this.#files.takeNext(this.#segments.at(-1)?.number ?? 0);
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

  get counters(): SegmentFiles['counters'] {
    return this.#files.counters;
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

  /**
   * Writes and syncs what is there, marks it, closes the files. Callbacks still waiting (after a failure) get `error`. Answers whether all that was
   * taken is on the disk.
   */
  async close(error: CoterieError): Promise<boolean> {
    this.#idle?.cancel();
    this.#interval?.cancel();
    await this.#drain();
    // Before the mark, which nobody misses where there is no room for it.
    let durable = !this.#segments.some((segment) => segment.hasUnwritten);
    const active = this.#segments.at(-1);
    if (this.#canPump() && active !== undefined) {
      await this.#mark(active);
      if (!active.broken) await this.#files.sync(active).catch(() => undefined);
    }
    // What has failed goes to a new file.
    await this.#drain();
    this.#state = 'closed';
    for (const segment of this.#segments) {
      // Of a full disk too what was written, and acknowledged, is to be there.
      await this.#files.sync(segment).catch(() => {
        durable = false;
      });
      if (segment.waiting.length > 0) this.#owner.acknowledge(segment.waiting, error);
      segment.waiting = [];
      await segment.syncing;
      this.#files.dropNext(segment);
      await release(segment);
      await segment.file?.close().catch(() => undefined);
      segment.memtable.release();
    }
    this.#segments.length = 0;
    await this.#files.close();
    return durable;
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
        this.#files.makeNext(segment);
        if (always && !segment.sealed) await this.#gather();
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

  async #gather(): Promise<void> {
    const { clock } = this.#settings;
    for (let turn = 0; turn < GATHER_TURNS; turn += 1) await new Promise<void>((resolve) => clock.soon(resolve));
  }

  /** State may change in callbacks and awaits, which narrowing would not see. */
  #canPump(): boolean {
    return this.#state === 'running';
  }

  /** Brings the segment's file up to its memtable; false when that failed and the log has halted. */
  async #advance(segment: Segment, sync: boolean): Promise<boolean> {
    if (!segment.broken && !this.#files.writeNow(segment) && !segment.hasFailed()) {
      try {
        await this.#files.write(segment);
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
          await this.#files.sync(segment);
        } else this.#syncLater();
        return true;
      } catch {
        segment.broken = true;
      }
    }
    try {
      await this.#files.rewrite(segment);
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
    this.#files.sync(segment).then(
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
        await this.#files.sync(segment);
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
