/**
 * The shape of the store in memory: the active memtable, the sealed ones that wait for their flush, and the current version of the tables.
 * Together, newest first, they are the whole content.
 */

import type { Memtable } from './memtable/memtable.ts';
import { SlabPool, SLAB_BYTES } from './memtable/slab.ts';
import type { Version } from './manifest/version.ts';
import type { VersionSet } from './manifest/version-set.ts';
import type { Segment } from './wal/segment.ts';

export interface Sealed {
  readonly memtable: Memtable;
  /** Its log: a live segment, or the number of one that was replayed at the start. */
  readonly log: Segment | number;
  /** All of its log is on the disk: it may be flushed. */
  finished: boolean;
}

/** The content at one moment; what it names stays until `release`. */
export interface View {
  readonly sequence: number;
  /** Newest first. */
  readonly memtables: readonly Memtable[];
  readonly version: Version;
}

export class Tree {
  readonly pool: SlabPool;
  readonly versions: VersionSet;
  active: Memtable;
  /** Newest first. */
  sealed: readonly Sealed[];
  sequence: number;
  /** Views now held. */
  views = 0;

  constructor(versions: VersionSet, pool: SlabPool, active: Memtable, sealed: readonly Sealed[], sequence: number) {
    this.versions = versions;
    this.pool = pool;
    this.active = active;
    this.sealed = sealed;
    this.sequence = sequence;
  }

  /** The content now. */
  view(): View {
    const memtables = [this.active, ...this.sealed.map((sealed) => sealed.memtable)].filter((memtable) => !memtable.isEmpty);
    return this.hold({ sequence: this.sequence, memtables, version: this.versions.current });
  }

  /** Holds a view once more. */
  hold(view: View): View {
    for (const memtable of view.memtables) memtable.lease();
    this.versions.retain(view.version);
    this.views += 1;
    return view;
  }

  release(view: View): void {
    for (const memtable of view.memtables) memtable.release();
    this.versions.release(view.version);
    this.views -= 1;
  }
}

const SLAB_LEAST_BYTES = 16 * 1024;

/** A pool of slabs that suit the memtable's size, and that keeps enough of them for as many memtables as may be in memory. */
export function poolFor(memtableBytes: number, sealedMemtables: number, poison: boolean): SlabPool {
  let slabBytes = SLAB_LEAST_BYTES;
  while (slabBytes < SLAB_BYTES && slabBytes < memtableBytes / 8) slabBytes *= 2;
  return new SlabPool(Math.ceil(memtableBytes / slabBytes) * (sealedMemtables + 1) + 1, slabBytes, poison);
}
