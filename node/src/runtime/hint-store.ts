/**
 * The hints that this store keeps as a fallback, in an engine of their own beside the data (`hints/`): encoded objects by slot and disk key
 * (cluster/handoff/hint-key.ts).
 *
 * A second engine, because a disk key begins with its token and leaves no room for a prefix: hints among the data would lie in the middle of what
 * scans, copies and comparisons of replicas walk. Without a failure it costs one open, and no sync.
 *
 * Invariants:
 * - a hint is acknowledged only when it is durable; hints of one key and slot are merged into one, with the highest W that any of them was promised
 *   (in the entry's tag).
 * - a hint leaves only by `drop`, and only if it is still exactly what was confirmed.
 * - a hint says the oldest generation of its partition that anything in it was read under; none is taken that is older than this node's. A node goes to
 *   a generation only while it keeps no hint of the partition, so one that is found to be older was confirmed and dropped before, and a crash or an
 *   old disk has brought it back: it is *outlived*, counts as absent, and is dropped (cluster/collection/round.ts).
 * - the bytes held never pass the limit; what would is refused with BUSY before any effect. Until the hints of an earlier run are counted, all are.
 */

import type { ByteString } from '../base/bytes.ts';
import { asCoterieError, CoterieError } from '../base/errors.ts';
import type { PartitionId } from '../base/ids.ts';
import { type Backlog, HintIndex } from '../cluster/handoff/hint-index.ts';
import {
  DEBTS_FROM,
  debtKey,
  diskKeyOfHint,
  generationOfTag,
  hintKey,
  hintRange,
  hintTag,
  slotOfDebt,
  slotOfHint,
  wOfTag,
} from '../cluster/handoff/hint-key.ts';
import { partitionOfDiskKey } from '../cluster/ring/token.ts';
import type { Topology } from '../cluster/ring/topology.ts';
import type { StandInActor } from '../cluster/handoff/stand-in-actor.ts';
import { decodeObject, type ObjectHeader, readHeader } from '../cluster/versioning/codec.ts';
import { type Engine, Pending } from '../storage/engine.ts';
import type { Entry } from '../storage/entry.ts';
import { WriteBatch } from '../storage/write-batch.ts';
import { CHECKSUM } from './core.ts';
import { eachEntry, type Hint, type HintPage, measureHints, readHints } from './hint-scan.ts';
import type { Leases } from './leases.ts';
import type { Generations } from './collection/generations.ts';
import { type Done, staleGeneration } from './local-store.ts';
import type { Policies } from './policies.ts';

/** At this share of the limit others are told that it is full, so that they learn it before a write is refused for it. */
const NEARLY_FULL = 0.95;
const BUSY_RETRY_MS = 1000;
const COUNT_RETRY_MS = 1000;

/** The debt of a slot that nobody could stand in for: it is not paid by the delivery of hints, as far as there are any (debt-notices.ts). */
export const NO_FALLBACK = 'no other node could stand in for its primary';

export interface HintStoreParts {
  readonly engine: Engine;
  readonly topology: Topology;
  readonly leases: Leases;
  readonly policies: Policies;
  readonly standIn: StandInActor;
  readonly generations: Pick<Generations, 'of' | 'admitsHint'>;
  readonly limitBytes: number;
  readonly nowMs: () => number;
  readonly after: (delayMs: number, run: () => void) => void;
  /** The counting is over, hints came where there were none, or the store became full or has room again. */
  readonly changed: () => void;
  /** What is kept has changed in any way. */
  readonly touched: () => void;
  readonly warn: (event: string, fields: Readonly<Record<string, string | number>>) => void;
}

/** What is hinted of a key. */
export interface Hinted {
  readonly bytes: Uint8Array;
  /** The oldest that anything in it was read under. */
  readonly generation: number;
}

export class HintStore {
  readonly engine: Engine;
  readonly index: HintIndex;
  readonly #parts: HintStoreParts;
  readonly #batch = new WriteBatch();
  #counted = false;
  #stopped = false;
  #undurable = 0;
  #failed = false;
  #wasFull = false;

  constructor(parts: HintStoreParts) {
    this.engine = parts.engine;
    this.index = new HintIndex(parts.topology.N, parts.limitBytes);
    this.#parts = parts;
  }

  /** The hints of earlier runs are counted: only then new ones are taken. */
  get counted(): boolean {
    return this.#counted;
  }

  /** It has hardly any room left. */
  get full(): boolean {
    return !this.index.admits(this.index.limitBytes * (1 - NEARLY_FULL));
  }

  /** Hints of a partition, whatever the slot; one at least until those of earlier runs are counted. */
  countOf(partition: PartitionId): number {
    if (!this.#counted) return 1;
    let count = 0;
    for (let slot = 0; slot < this.#parts.topology.N; slot += 1) count += this.index.of(partition, slot)?.count ?? 0;
    return count;
  }

  /** Whether a hint was confirmed and dropped before, so that it is to be dropped once more. */
  isOutlived({ diskKey, generation }: Hint): boolean {
    const { generations, topology } = this.#parts;
    return generation < generations.of(partitionOfDiskKey(topology, diskKey));
  }

  /** Counts what is there; `changed` runs when that is done. */
  begin(): void {
    this.#count().then(
      () => {
        this.#counted = true;
        this.#parts.changed();
      },
      (error: unknown) => {
        if (this.#stopped) return;
        const { code, message } = asCoterieError(error);
        if (code === 'INTERNAL') throw error;
        this.#parts.warn('hints-not-counted', { code, message });
        this.#parts.after(COUNT_RETRY_MS, () => {
          this.begin();
        });
      },
    );
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Why no hint can be taken now; undefined where one of `bytes` can. */
  refusal(bytes: number): CoterieError | undefined {
    if (!this.#counted) {
      return new CoterieError('BUSY', 'the hints of an earlier run are still being counted', {
        outcome: 'none',
        retryAfterMs: BUSY_RETRY_MS,
      });
    }
    if (this.index.admits(bytes)) return undefined;
    const message = `this fallback holds as many bytes of hints as it may (${String(this.index.limitBytes)})`;
    return new CoterieError('BUSY', message, { outcome: 'none', retryAfterMs: BUSY_RETRY_MS });
  }

  /**
   * Merges an object into the hint of a key. `bytes` is borrowed until the call returns.
   * Failures with outcome `none`: BUSY, GENERATION_STALE, CLOCK_SKEW, DATA_DAMAGED, DISK_FULL.
   *
   * @param w the acknowledgements that the write was promised
   * @param generation the oldest of the partition that anything in the object was read under
   */
  merge(slot: number, diskKey: ByteString, bytes: Uint8Array, w: number, generation: number, done: Done): void {
    const key = hintKey(slot, diskKey);
    let entry: Entry | undefined | Pending;
    try {
      this.#admit(diskKey, key.length + bytes.length, generation);
      entry = this.#find(slot, diskKey);
      if (entry instanceof Pending) {
        const own = new Uint8Array(bytes);
        this.#load(
          entry,
          () => {
            this.merge(slot, diskKey, own, w, generation, done);
          },
          done,
        );
        return;
      }
      const incoming = readHeader(bytes);
      if (!this.#parts.leases.observe(incoming.newest)) {
        const message = `a hint is ${String(incoming.newest.ms)} ms in time, too far ahead of this node's clock`;
        throw new CoterieError('CLOCK_SKEW', message, { outcome: 'none' });
      }
      this.#parts.leases.touch();
      this.#mergeInto(slot, diskKey, entry, bytes, hintTag(w, generation), done);
    } catch (error) {
      done(expected(error));
    }
  }

  /** Stores an object that holds every hint of the key in this slot; as `merge` otherwise. */
  put(slot: number, diskKey: ByteString, bytes: Uint8Array, w: number, generation: number, done: Done): void {
    const key = hintKey(slot, diskKey);
    try {
      this.#admit(diskKey, key.length + bytes.length, generation);
      const entry = this.#find(slot, diskKey);
      // Whoever hands in what holds the present copy has read it in this turn.
      if (entry instanceof Pending) throw new Error('broken invariant: the copy that a hint replaces was read in this turn');
      this.#store(slot, diskKey, entry, bytes, readHeader(bytes), this.#joinedTag(diskKey, entry, hintTag(w, generation)), done);
    } catch (error) {
      done(expected(error));
    }
  }

  /**
   * All that is hinted of a key, whatever the slot; or what must be loaded first.
   *
   * @throws CoterieError DATA_DAMAGED
   */
  tryGet(diskKey: ByteString): Hinted | undefined | Pending {
    const { topology, policies } = this.#parts;
    if (this.index.count === 0 && this.#counted) return undefined;
    const partition = partitionOfDiskKey(topology, diskKey);
    let merged: Uint8Array | undefined;
    let oldest = Number.POSITIVE_INFINITY;
    for (let slot = 0; slot < topology.N; slot += 1) {
      const entry = this.#find(slot, diskKey, partition);
      if (entry instanceof Pending) return entry;
      if (entry === undefined || this.#isOutlived(partition, entry)) continue;
      oldest = Math.min(oldest, generationOfTag(entry.gcTag));
      const result = policies.reconcile(merged, entry.value);
      if (result.kind === 'store') merged = result.bytes;
    }
    return merged === undefined ? undefined : { bytes: merged, generation: oldest };
  }

  /** The hint of a key in one slot. Where the slot has none, nothing is looked for. */
  #find(
    slot: number,
    diskKey: ByteString,
    partition: PartitionId = partitionOfDiskKey(this.#parts.topology, diskKey),
  ): Entry | undefined | Pending {
    if (this.#counted && (this.index.of(partition, slot)?.count ?? 0) === 0) return undefined;
    return this.engine.tryGet(hintKey(slot, diskKey));
  }

  /** Runs `use` with all that is hinted of a key, in this turn if it can; it borrows the bytes until it returns. */
  read(diskKey: ByteString, use: (hinted: Hinted | undefined) => void, fail: (error: CoterieError) => void): void {
    try {
      const found = this.tryGet(diskKey);
      if (found instanceof Pending) {
        this.#load(
          found,
          () => {
            this.read(diskKey, use, fail);
          },
          fail,
        );
      } else use(found);
    } catch (error) {
      fail(expected(error));
    }
  }

  load(pending: Pending): Promise<void> {
    return this.engine.load(pending);
  }

  /** Hints of one slot of a partition, from the key `from` of the hint store on (`undefined`: from the first). */
  page(partition: PartitionId, slot: number, from: ByteString | undefined, entries: number, bytes: number): Promise<HintPage> {
    const range = hintRange(this.#parts.topology, partition, slot);
    const page = { from: from ?? range.from, to: range.to, batchEntries: entries, batchBytes: bytes };
    return readHints(this.engine, page, slot, this.#damageMet);
  }

  /** Drops a hint if it is still what was confirmed; answers whether it was. */
  async drop({ slot, diskKey, bytes, w, generation }: Hint): Promise<boolean> {
    const key = hintKey(slot, diskKey);
    for (;;) {
      const entry = this.engine.tryGet(key);
      if (entry instanceof Pending) {
        await this.engine.load(entry);
        continue;
      }
      if (entry === undefined || !this.#isTagged(entry, w, generation) || !equal(entry.value, bytes)) return false;
      // In the turn that takes the copy away, so that nothing is minted in between.
      const { standIn, policies } = this.#parts;
      if (standIn.active && policies.spendsStandIn()) standIn.dropped(decodeObject(bytes, CHECKSUM).clock);
      await this.#remove(key);
      const partition = partitionOfDiskKey(this.#parts.topology, diskKey);
      this.index.dropped(partition, slot, key.length + bytes.length);
      if (this.#isPaid(partition, slot)) this.pay(partition, slot);
      this.#noteFull();
      return true;
    }
  }

  /** Writes down that a slot's hints are repair debt, and why. */
  owe(partition: PartitionId, slot: number, reason: string): void {
    this.index.owe(partition, slot, reason, this.#parts.nowMs());
    this.#batch.put(
      debtKey(partition, slot),
      Uint8Array.from(reason, (letter) => letter.charCodeAt(0)),
    );
    this.#writeDebt();
  }

  /** The debt of a slot is paid: what was kept for it is at its primaries. */
  pay(partition: PartitionId, slot: number): void {
    this.index.paid(partition, slot);
    this.#batch.delete(debtKey(partition, slot));
    this.#writeDebt();
  }

  /** Gives up what damage has taken of a slot's hints, and counts what is left. */
  async mend(partition: PartitionId, slot: number): Promise<void> {
    const { from, to } = hintRange(this.#parts.topology, partition, slot);
    // What was lost there may have been minted here.
    this.#parts.standIn.dropped(undefined);
    await this.engine.heal(from, to);
    const before = this.index.of(partition, slot);
    const found = await measureHints(this.engine, from, to, this.#damageMet);
    // What came and went meanwhile is in the index.
    const now = this.index.of(partition, slot);
    const count = found.count + (now?.count ?? 0) - (before?.count ?? 0);
    this.index.recounted(partition, slot, count, found.bytes + (now?.bytes ?? 0) - (before?.bytes ?? 0));
    if (this.#isPaid(partition, slot)) this.pay(partition, slot);
  }

  /** Takes the key away; resolves in the same turn of the loop, since a removal that a crash undoes is only done again. */
  #remove(key: ByteString): Promise<void> {
    return new Promise((resolve, reject) => {
      let handing = true;
      let refused: CoterieError | undefined;
      this.#batch.delete(key);
      try {
        this.engine.write(this.#batch, (error) => {
          if (handing && error?.outcome === 'none') refused = error;
        });
      } finally {
        handing = false;
        this.#batch.clear();
      }
      if (refused === undefined) resolve();
      else reject(refused);
    });
  }

  #isPaid(partition: PartitionId, slot: number): boolean {
    const backlog: Backlog | undefined = this.index.of(partition, slot);
    return backlog?.count === 0 && backlog.debt !== undefined && backlog.debt !== NO_FALLBACK;
  }

  /** A debt that is not written down yet is found again by its age, or by the next refusal. */
  #writeDebt(): void {
    try {
      this.engine.write(this.#batch, () => undefined);
    } finally {
      this.#batch.clear();
    }
  }

  /** @throws CoterieError BUSY, GENERATION_STALE */
  #admit(diskKey: ByteString, bytes: number, generation: number): void {
    const { topology, generations } = this.#parts;
    const refusal = this.refusal(bytes);
    if (refusal !== undefined) throw refusal;
    if (!generations.admitsHint(partitionOfDiskKey(topology, diskKey), generation)) throw staleGeneration();
  }

  /** Whether it was dropped before, and a crash or an old disk has brought it back. */
  #isOutlived(partition: PartitionId, { gcTag }: Entry): boolean {
    return generationOfTag(gcTag) < this.#parts.generations.of(partition);
  }

  #isTagged({ gcTag }: Entry, w: number, generation: number): boolean {
    return wOfTag(gcTag) === w && generationOfTag(gcTag) === generation;
  }

  /** The tag of what is merged from a hint and another object: the most acknowledgements, the oldest generation. */
  #joinedTag(diskKey: ByteString, entry: Entry | undefined, tag: number): number {
    if (entry === undefined || this.#isOutlived(partitionOfDiskKey(this.#parts.topology, diskKey), entry)) return tag;
    return hintTag(Math.max(wOfTag(tag), wOfTag(entry.gcTag)), Math.min(generationOfTag(tag), generationOfTag(entry.gcTag)));
  }

  #mergeInto(slot: number, diskKey: ByteString, entry: Entry | undefined, bytes: Uint8Array, tag: number, done: Done): void {
    const { policies, topology } = this.#parts;
    if (entry !== undefined && this.#isOutlived(partitionOfDiskKey(topology, diskKey), entry)) {
      this.#store(slot, diskKey, entry, bytes, readHeader(bytes), tag, done);
      return;
    }
    const result = policies.reconcile(entry?.value, bytes);
    const joined = this.#joinedTag(diskKey, entry, tag);
    if (result.kind === 'store') {
      this.#store(slot, diskKey, entry, result.bytes, result.header, joined, done);
    } else if (entry === undefined || (joined === entry.gcTag && this.#undurable === 0 && !this.#failed)) {
      done(undefined);
    } else {
      // The hint at hand may still be on its way to the disk: written again, it is durable when the engine says so.
      this.#store(slot, diskKey, entry, entry.value, readHeader(entry.value), joined, done);
    }
  }

  #store(
    slot: number,
    diskKey: ByteString,
    entry: Entry | undefined,
    bytes: Uint8Array,
    header: ObjectHeader,
    tag: number,
    done: Done,
  ): void {
    const key = hintKey(slot, diskKey);
    const before = entry?.value.length;
    let refused = false as boolean;
    this.#undurable += 1;
    this.#batch.put(key, bytes, { tombstone: header.siblings === 0, expireAtMs: 0, gcTag: tag });
    let handing = true;
    try {
      this.engine.write(this.#batch, (error) => {
        this.#undurable -= 1;
        if (error !== undefined && handing && error.outcome === 'none') refused = true;
        else if (error !== undefined) this.#failed = true;
        done(error);
      });
    } finally {
      handing = false;
      this.#batch.clear();
    }
    if (refused) return;
    const partition = partitionOfDiskKey(this.#parts.topology, diskKey);
    if (before === undefined) {
      const first = this.index.of(partition, slot) === undefined;
      this.index.added(partition, slot, key.length + bytes.length, this.#parts.nowMs());
      if (first) this.#parts.changed();
    } else this.index.grown(partition, slot, bytes.length - before);
    this.#noteFull();
  }

  #noteFull(): void {
    this.#parts.touched();
    if (this.full === this.#wasFull) return;
    this.#wasFull = this.full;
    this.#parts.changed();
  }

  async #count(): Promise<void> {
    const { topology, nowMs } = this.#parts;
    this.index.clear();
    await eachEntry(this.engine, {}, this.#damageMet, ({ key, value }) => {
      const about = slotOfDebt(key);
      if (about !== undefined) {
        this.index.owe(about.partition, about.slot, String.fromCharCode(...value), nowMs());
      } else if (key < DEBTS_FROM) {
        const atMs = Math.min(nowMs(), readHeader(value).newest.ms);
        this.index.added(partitionOfDiskKey(topology, diskKeyOfHint(key)), slotOfHint(key), key.length + value.length, atMs);
      }
    });
    this.#wasFull = this.full;
  }

  readonly #damageMet = (message: string): void => {
    this.#parts.warn('hints-damaged', { message });
  };

  #load(pending: Pending, then: () => void, fail: (error: CoterieError) => void): void {
    this.engine.load(pending).then(then, (error: unknown) => {
      fail(asCoterieError(error));
    });
  }
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

/** An expected failure; what is unexpected goes on up. */
function expected(error: unknown): CoterieError {
  const coded = asCoterieError(error);
  if (coded.code === 'INTERNAL') throw error;
  return coded;
}
