/**
 * One segment of the commit log in the making: the file of one memtable, and how far it has come. The log alone changes it (log.ts).
 *
 * Invariant: `synced` <= `position`, and what lies below `slab` and `offset` of the memtable's slabs is in the file below `position`.
 */

import type { CoterieError } from '../../base/errors.ts';
import type { VfsFile } from '../../env/vfs.ts';
import type { Memtable } from '../memtable/memtable.ts';
import type { Slab } from '../memtable/slab.ts';
import type { NextFile } from './next-file.ts';

/** Called once: when a write is as durable as the policy says, or failed. */
export type Acknowledge = (error?: CoterieError) => void;

export class Segment {
  number: number;
  /** The lowest number under which a file may hold what is needed of it: during a rewrite the old file's. */
  lowest: number;
  readonly memtable: Memtable;
  /** Bytes of the file known to be on the disk. */
  synced = 0;
  sealed = false;
  /** Callbacks of the group that gathers. */
  waiting: Acknowledge[] = [];
  /** Bytes of the file written, 0 before it exists. */
  position = 0;
  /** Where zeros end that were written ahead, if they reach beyond `position`. */
  reserved = 0;
  file: VfsFile | undefined;
  /** The file that was made ahead for it, until it is taken or is not to be had. */
  next: NextFile | undefined;
  /** A sync or write failed: only a rewrite to a new file helps. */
  broken = false;
  /** What was written of the slabs: all of those before `slab`, and `offset` bytes of it. */
  slab = 0;
  offset = 0;
  /** The position behind the last mark. */
  marked = 0;
  /** A background sync in flight. */
  syncing: Promise<void> | undefined;

  constructor(number: number, memtable: Memtable) {
    this.number = number;
    this.lowest = number;
    this.memtable = memtable;
  }

  /** `broken`, to be asked again after it may have changed: a compiler that has narrowed the field would not. */
  hasFailed(): boolean {
    return this.broken;
  }

  get hasUnwritten(): boolean {
    const { slabs } = this.memtable;
    const current: Slab | undefined = slabs[this.slab];
    return this.slab < slabs.length - 1 || (current !== undefined && this.offset < current.used);
  }
}
