/**
 * This store's hash trees: kept with every write, written down with every flush, found again at the start, and computed where they are missing.
 *
 * A start finds a checkpoint of write S. It belongs where the tables hold nothing later than S and the log gave back at least S; then the keys that the
 * log brought behind S are put in (old value from the tables, new one from the log), and the trees are true. A checkpoint is taken when a
 * memtable is sealed and is on the disk before the manifest says that the memtable is in the tables, so that whichever manifest a crash leaves,
 * its checkpoint is there. A heal removes those there are. Where none can be used (a first start, a damaged file, a crash before the log's changes were put in), leaves
 * are unknown until a scan has computed them, in the background.
 */

import { isCoterieError } from '../../base/errors.ts';
import type { StoreId } from '../../base/ids.ts';
import type { Clock, Timer } from '../../env/clock.ts';
import type { Vfs } from '../../env/vfs.ts';
import { HashTrees } from '../../cluster/repair/hash-trees.ts';
import { checkpointOf, type TreeCheckpoint } from '../../cluster/repair/tree-codec.ts';
import { leafRange, LEAVES, leavesTouched } from '../../cluster/repair/tree-shape.ts';
import type { Topology } from '../../cluster/ring/topology.ts';
import type { PartitionId } from '../../base/ids.ts';
import type { Engine, Replayed } from '../../storage/engine.ts';
import type { Entry } from '../../storage/entry.ts';
import type { Follower } from '../../storage/follower.ts';
import { partitionOfDiskKey } from '../../cluster/ring/token.ts';
import type { Generations } from '../collection/generations.ts';
import type { ByteString } from '../../base/bytes.ts';
import type { NodeCore } from '../core.ts';
import type { ForegroundPace } from '../foreground-pace.ts';
import { TreeFiles } from './tree-files.ts';

/** After a scan that failed, or met new damage. */
const RETRY_MS = 500;
const SCAN_BATCH_BYTES = 64 * 1024;

export interface LocalTreesOptions {
  readonly topology: Topology;
  /** This member's index. */
  readonly self: number;
  readonly store: StoreId;
  readonly vfs: Vfs;
  /** The store's directory. */
  readonly directory: string;
  readonly clock: Clock;
  readonly pace: Pick<ForegroundPace, 'pauseMs'>;
  readonly warn: NodeCore['warn'];
  /** Whether damage makes leaves unknown: see policies.ts. */
  readonly damageShows: () => boolean;
  readonly generations: Generations;
}

export class LocalTrees implements Follower {
  readonly trees: HashTrees;
  /** Leaves became known, or damage was met. */
  changed: () => void = () => undefined;
  /** Leaves computed by scans, and those that had been wrong. */
  readonly counts: { leavesBuilt: number; leavesWrong: number; checkpoints: number; restored: number } = {
    leavesBuilt: 0,
    leavesWrong: 0,
    checkpoints: 0,
    restored: 0,
  };
  readonly #options: LocalTreesOptions;
  readonly #files: TreeFiles;
  /** Taken when a memtable was sealed, until its flush. */
  readonly #sealed = new Map<number, TreeCheckpoint>();
  /** The checkpoint of a flush under way. */
  #writing: Promise<void> = Promise.resolve();
  /** The scan under way. */
  #scanning: Promise<void> = Promise.resolve();
  #engine: Engine | undefined;
  /** What the start found is in the trees: from here on a copy of them can be trusted. */
  #settled = false;
  #building = false;
  #stopped = false;
  #retry: Timer | undefined;

  constructor(options: LocalTreesOptions) {
    const own = options.topology.partitions.flatMap((replicas, partition) =>
      replicas.includes(options.self) ? [partition as PartitionId] : [],
    );
    this.#options = options;
    this.trees = new HashTrees(options.topology.tokenSpace, own);
    this.#files = new TreeFiles(options.vfs, options.directory, options.store, this.trees);
  }

  /** All leaves are known. */
  get whole(): boolean {
    return this.#settled && this.trees.unknown === 0;
  }

  sealed(sequence: number): void {
    if (this.#settled) this.#sealed.set(sequence, checkpointOf(this.trees, sequence));
  }

  async flushing(sequence: number): Promise<void> {
    const checkpoint = this.#sealed.get(sequence);
    if (checkpoint === undefined) return;
    this.#writing = this.#write(checkpoint);
    await this.#writing;
  }

  /** A checkpoint from before the damage stands for what was lost too: after a heal, a start could no longer tell. */
  async healing(): Promise<void> {
    this.#sealed.clear();
    await this.#writing;
    await this.#files.removeAll();
  }

  flushed(sequence: number): void {
    for (const each of this.#sealed.keys()) if (each <= sequence) this.#sealed.delete(each);
    // What stays for now is removed at the next start.
    this.#files.removeBelow(sequence).catch(() => undefined);
  }

  damaged(): void {
    const engine = this.#engine;
    if (engine === undefined || !this.#options.damageShows()) return;
    this.trees.setDamaged(this.#damagedLeaves(engine));
    this.changed();
    this.#buildSoon();
  }

  /** Finds the checkpoint, before the first write. What the log brought is put in, and the rest computed, in the background. */
  async open(engine: Engine): Promise<void> {
    const { replayed } = engine;
    if (replayed === undefined) throw new Error('broken invariant: the engine was opened with its follower');
    this.#engine = engine;
    let checkpoint: TreeCheckpoint | undefined;
    try {
      checkpoint = await this.#files.open(replayed.flushed, replayed.sequence);
    } catch (error) {
      this.#options.warn('trees-not-read', { error: String(error) });
    }
    if (checkpoint !== undefined) this.counts.restored += 1;
    else if (replayed.sequence === 0) {
      // Nothing was ever written here.
      checkpoint = { sequence: 0, words: new Uint32Array(this.trees.words.length), flags: new Uint8Array(this.trees.flags.length) };
    }
    void this.#settle(engine, replayed, checkpoint);
  }

  /** Writes the trees down as they are; the engine is closed, and everything in it durable. */
  async close(engine: Engine): Promise<void> {
    if (this.#settled) await this.#write(checkpointOf(this.trees, engine.sequence));
  }

  /** Entries of the partition were collected: they are in the hash no more. */
  collected(partition: PartitionId): void {
    this.trees.forget(partition, 0, LEAVES - 1);
    this.#buildSoon();
  }

  /** What of an entry is in the hash. */
  #hashed(key: ByteString, entry: Entry | undefined): Uint8Array | undefined {
    if (entry === undefined) return undefined;
    const partition = partitionOfDiskKey({ tokenSpace: this.trees.space }, key);
    return this.#options.generations.isCollected(partition, entry) ? undefined : entry.value;
  }

  stop(): void {
    this.#stopped = true;
    this.#retry?.cancel();
  }

  /** Reads the partition once more, and puts right what differs. Resolves false where it could not be read whole. */
  async recompute(partition: PartitionId): Promise<boolean> {
    const place = this.trees.placeOf(partition);
    let whole = true;
    for (let first = 0; first < LEAVES;) {
      // Leaves around damage are left alone.
      let last = first;
      const flagged = (leaf: number): boolean => this.trees.flags[place * LEAVES + leaf] !== 0;
      while (last + 1 < LEAVES && flagged(last + 1) === flagged(first)) last += 1;
      if (!flagged(first)) whole = (await this.#scan(partition, first, last)) && whole;
      first = last + 1;
    }
    return whole;
  }

  async #write(checkpoint: TreeCheckpoint): Promise<void> {
    try {
      await this.#files.write(checkpoint);
      this.counts.checkpoints += 1;
    } catch (error) {
      // The next start computes the trees instead.
      this.#options.warn('trees-not-written', { error: String(error) });
    }
  }

  async #settle(engine: Engine, replayed: Replayed, checkpoint: TreeCheckpoint | undefined): Promise<void> {
    const { trees } = this;
    try {
      if (checkpoint !== undefined) {
        trees.absorb(checkpoint.words);
        const lost: ByteString[] = [];
        await replayed.changes(checkpoint.sequence, (key, before, after, damage) => {
          if (damage === undefined) trees.replace(key, this.#hashed(key, before), this.#hashed(key, after));
          else lost.push(key);
        });
        trees.adoptFlags(checkpoint.flags);
        for (const { from, to } of replayed.droppedSince(checkpoint.sequence)) this.#forget(from, to);
        for (const key of lost) this.#forget(key, `${key}\0`);
        for (const partition of trees.partitions) {
          const floor = this.#options.generations.floorOf(partition);
          if (floor.generation > 0 && floor.sequence >= checkpoint.sequence) this.collected(partition);
        }
      }
      this.#settled = true;
      // Also what compactions have carried along.
      if (engine.quarantined().length > 0) this.damaged();
      this.changed();
    } catch (error) {
      if (!isCoterieError(error) || error.code === 'INTERNAL') throw error;
      if (error.code !== 'CLOSED') this.#options.warn('trees-not-restored', { code: error.code });
      // Every leaf stays unknown; what was put in is replaced by what a scan finds.
      this.#settled = error.code !== 'CLOSED';
    } finally {
      replayed.release();
    }
    this.#buildSoon();
  }

  #forget(from: ByteString, to: ByteString | undefined): void {
    const { first, last } = leavesTouched(this.trees.space, from, to);
    for (let leaf = first; leaf <= last; leaf += 1) this.trees.forget(Math.floor(leaf / LEAVES), leaf % LEAVES, leaf % LEAVES);
  }

  #damagedLeaves(engine: Engine): Uint8Array {
    const { trees } = this;
    const damaged = new Uint8Array(trees.flags.length);
    for (const { from, to } of engine.quarantined()) {
      const { first, last } = leavesTouched(trees.space, from, to);
      for (let leaf = first; leaf <= last; leaf += 1) {
        const place = trees.placeOf(Math.floor(leaf / LEAVES));
        if (place >= 0) damaged[place * LEAVES + (leaf % LEAVES)] = 1;
      }
    }
    return damaged;
  }

  #buildSoon(): void {
    if (this.#building || this.#stopped || !this.#settled || this.trees.nextUnbuilt() === undefined) return;
    this.#building = true;
    void this.#build();
  }

  /** Computes leaf after leaf until none is left that can be. */
  async #build(): Promise<void> {
    let failed = false;
    for (;;) {
      const run: ReturnType<HashTrees['nextUnbuilt']> = failed || this.#stopped ? undefined : this.trees.nextUnbuilt();
      if (run === undefined) break;
      failed = !(await this.#scan(run.partition, run.first, run.last));
      if (!failed) this.counts.leavesBuilt += run.last - run.first + 1;
    }
    this.#building = false;
    if (this.#stopped) return;
    this.changed();
    if (!failed) return;
    this.#retry?.cancel();
    this.#retry = this.#options.clock.after(RETRY_MS, () => {
      this.#buildSoon();
    });
  }

  /** Computes leaves by reading their range, one range after the other: two at once would both put right what both found wrong. False where it failed. */
  #scan(partition: PartitionId, first: number, last: number): Promise<boolean> {
    const scanned = this.#scanning.then(() => this.#scanNow(partition, first, last));
    this.#scanning = scanned.then(
      () => undefined,
      () => undefined,
    );
    return scanned;
  }

  async #scanNow(partition: PartitionId, first: number, last: number): Promise<boolean> {
    const engine = this.#engine;
    if (engine === undefined || this.#stopped) return false;
    const { trees } = this;
    const { clock, pace } = this.#options;
    const found = new Uint32Array(2 * LEAVES);
    const { from, to } = leafRange(trees.space, partition, first, last);
    try {
      // Within one turn: the iterator sees exactly what the leaves stand for.
      const begun = trees.beginScan(partition);
      const iterator = engine.iterate({ from, to, batchBytes: SCAN_BATCH_BYTES });
      try {
        for (;;) {
          const beganMs = clock.monotonicMs();
          const batch = await iterator.next();
          if (batch.length === 0) break;
          for (const entry of batch) if (this.#hashed(entry.key, entry) !== undefined) trees.addTo(found, entry.key, entry.value);
          const pauseMs = pace.pauseMs(clock.monotonicMs() - beganMs);
          if (pauseMs > 0) await new Promise<void>((resolve) => clock.after(pauseMs, resolve));
        }
      } finally {
        iterator.close();
      }
      this.counts.leavesWrong += trees.endScan(partition, begun, found, first, last);
      return true;
    } catch (error) {
      if (!isCoterieError(error) || error.code === 'INTERNAL') throw error;
      if (error.code === 'DATA_DAMAGED') this.damaged();
      return false;
    }
  }
}
