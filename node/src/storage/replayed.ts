/**
 * What the log gave back at the start, key by key: each key's state before it and after it. It holds what it reads from, however the store
 * goes on meanwhile, until it is released.
 */

import type { ByteString } from '../base/bytes.ts';
import { asCoterieError, type CoterieError } from '../base/errors.ts';
import type { Entry } from './entry.ts';
import type { KeyRange } from './key-range.ts';
import { Pending } from './lookup.ts';
import type { Tree, View } from './tree.ts';

/** How the view is read. */
export interface ViewReads {
  find(key: ByteString, view: View): Entry | undefined | Pending;
  load(pending: Pending): Promise<void>;
}

/** `damage` in place of the state before, where it cannot be known. Entries are borrowed until the call returns. */
export type VisitChange = (key: ByteString, before: Entry | undefined, after: Entry | undefined, damage: CoterieError | undefined) => void;

/** Keys looked up at a time. */
const BATCH = 64;

export class Replayed {
  /** The tables held everything up to here. */
  readonly flushed: number;
  /** The last write that the log gave back. */
  readonly sequence: number;
  readonly #tree: Tree;
  readonly #reads: ViewReads;
  readonly #view: View;
  #held = true;

  constructor(tree: Tree, reads: ViewReads, flushed: number) {
    this.#tree = tree;
    this.#reads = reads;
    this.#view = tree.view();
    this.flushed = flushed;
    this.sequence = tree.sequence;
  }

  /** Ranges dropped after write number `since`. */
  droppedSince(since: number): KeyRange[] {
    const ranges: KeyRange[] = [];
    for (const memtable of this.#view.memtables) {
      for (const drop of memtable.drops) if (memtable.base + drop.order > since) ranges.push({ from: drop.from, to: drop.to });
    }
    return ranges;
  }

  /** Visits every key written after write number `since` (from `flushed` on), and may visit others, whose state is the same before and after. */
  async changes(since: number, visit: VisitChange): Promise<void> {
    const { memtables } = this.#view;
    const before: View = { ...this.#view, sequence: since };
    let batch: ByteString[] = [];
    for (const [age, memtable] of memtables.entries()) {
      if (memtable.lastSequence <= since) continue;
      for (const key of memtable.keys) {
        if (memtables.slice(0, age).some((newer) => newer.has(key))) continue;
        batch.push(key);
        if (batch.length < BATCH) continue;
        await Promise.all(batch.map((each) => this.#visit(each, before, visit)));
        batch = [];
      }
    }
    await Promise.all(batch.map((each) => this.#visit(each, before, visit)));
  }

  /** Lets go of what it holds. Idempotent. */
  release(): void {
    if (this.#held) this.#tree.release(this.#view);
    this.#held = false;
  }

  async #visit(key: ByteString, before: View, visit: VisitChange): Promise<void> {
    for (;;) {
      let old: Entry | undefined | Pending;
      let damage: CoterieError | undefined;
      try {
        old = this.#reads.find(key, before);
      } catch (error) {
        damage = asCoterieError(error);
        if (damage.code !== 'DATA_DAMAGED') throw error;
      }
      if (!(old instanceof Pending)) {
        visit(key, old, this.#after(key, old), damage);
        return;
      }
      await this.#reads.load(old);
    }
  }

  /** The newest state: a key written after the tables is found in a memtable, unless a drop is what is newest there. */
  #after(key: ByteString, old: Entry | undefined): Entry | undefined {
    for (const memtable of this.#view.memtables) {
      const found = memtable.get(key, this.sequence);
      if (found !== undefined) return found === 'removed' ? undefined : found;
    }
    return old;
  }
}
