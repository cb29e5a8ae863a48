/**
 * The way of a write: into the active memtable, to its segment of the log, acknowledged when that is durable. A full memtable is sealed while there is
 * room for sealed ones; where flushes or compactions lag, acknowledgements come late (stall.ts), and past a bound, on a full disk, or after
 * a failure, writes are refused without any effect.
 */

import type { ByteString } from '../base/bytes.ts';
import { asCoterieError, CoterieError } from '../base/errors.ts';
import { DiskSpace } from './disk-space.ts';
import type { EngineStats } from './engine-stats.ts';
import { KIND_TOMBSTONE, KIND_VALUE } from './entry.ts';
import type { KeyRange } from './key-range.ts';
import { Memtable } from './memtable/memtable.ts';
import type { Settings } from './options.ts';
import type { KeyHash } from './sstable/bloom.ts';
import { hashKey } from './sstable/bloom.ts';
import { StallGate } from './stall.ts';
import type { Tree } from './tree.ts';
import { Log } from './wal/log.ts';
import type { Acknowledge, Segment } from './wal/segment.ts';
import type { PutMeta, WriteBatch } from './write-batch.ts';
import { checkEntry } from './write-batch.ts';

const RETRY_AFTER_MS = 100;

export interface WritePathOwner {
  /** A turn of the loop begins (wal/log.ts). */
  turnBegins(): void;
  /** A sealed memtable may be flushed. */
  flushable(): void;
  /** Nothing can be written for now, or for good: who waits for a flush waits in vain. */
  stopped(error: CoterieError): void;
  /** There is room on the disk again. */
  hasRoom(): void;
}

export class WritePath {
  readonly #settings: Settings;
  readonly #tree: Tree;
  readonly #owner: WritePathOwner;
  readonly log: Log;
  readonly gate: StallGate;
  readonly space: DiskSpace;
  #segment: Segment;
  #state: 'open' | 'failed' | 'closed' = 'open';
  #failure: CoterieError | undefined;
  readonly #hash: KeyHash = { h1: 0, h2: 0 };
  readonly counters = { writes: 0, writtenEntries: 0, refused: 0, seals: 0 };

  constructor(settings: Settings, tree: Tree, owner: WritePathOwner) {
    this.#settings = settings;
    this.#tree = tree;
    this.#owner = owner;
    this.gate = new StallGate(settings.clock);
    this.space = new DiskSpace(settings, (full) => {
      this.#spaceChanged(full);
    });
    this.log = new Log(settings, {
      nextNumber: () => tree.versions.nextNumber(),
      turnBegins: () => {
        owner.turnBegins();
      },
      acknowledge: (group, error) => {
        this.gate.acknowledge(group, error);
      },
      logFull: () => {
        this.space.exhausted();
        owner.stopped(diskIsFull());
      },
      logFailed: (error) => {
        this.fail(error);
      },
      segmentFinished: (segment) => {
        for (const waiting of tree.sealed) if (waiting.log === segment) waiting.finished = true;
        owner.flushable();
      },
    });
    this.#segment = this.log.begin(tree.active);
  }

  get state(): EngineStats['state'] {
    return this.#state === 'open' && this.space.isFull ? 'full' : this.#state;
  }

  get isClosed(): boolean {
    return this.#state === 'closed';
  }

  /** The number of the oldest log that the active memtable needs. */
  get lowestLog(): number {
    return this.#segment.lowest;
  }

  /** See `Engine.write`. */
  write(batch: WriteBatch, done: Acknowledge): void {
    if (this.#refuses(done)) return;
    const tree = this.#tree;
    if (batch.length > 0) {
      try {
        tree.active.append(batch, tree.sequence + 1, this.#segment.synced);
      } catch (error) {
        done(asCoterieError(error));
        return;
      }
      this.#appended(batch.length, batch.bytes);
    }
    this.#submit(done);
  }

  /** See `Engine.put`. */
  put(key: ByteString, value: Uint8Array, meta: PutMeta, done: Acknowledge): void {
    const { tombstone = false, expireAtMs = 0, gcTag = 0 } = meta;
    checkEntry(key, value, expireAtMs, gcTag);
    if (this.#refuses(done)) return;
    const tree = this.#tree;
    const kind = tombstone ? KIND_TOMBSTONE : KIND_VALUE;
    const hash = hashKey(key, this.#hash);
    try {
      tree.active.put(key, hash, value, kind, expireAtMs, gcTag, tree.sequence + 1, this.#segment.synced);
    } catch (error) {
      done(asCoterieError(error));
      return;
    }
    this.#appended(1, key.length + value.length);
    this.#submit(done);
  }

  /** Removes every key in `range`; `done` runs as for `write`. */
  drop(range: KeyRange, done: Acknowledge): void {
    const refusal = this.#refusal();
    if (refusal !== undefined) {
      done(refusal);
      return;
    }
    const tree = this.#tree;
    tree.active.drop(range, tree.sequence + 1, this.#segment.synced);
    tree.sequence += 1;
    this.log.submit(this.#segment, done);
  }

  /** Runs `done` once everything taken so far is durable as the policy says. */
  barrier(done: Acknowledge): void {
    this.log.submit(this.#segment, done);
  }

  /** Whether as many memtables wait for their flush as may. */
  get isCrowded(): boolean {
    return this.#tree.sealed.length >= this.#settings.sealedMemtables;
  }

  /** Seals what is active, where there is anything and room for it. */
  sealActive(): void {
    if (!this.#tree.active.isEmpty && !this.isCrowded) this.#seal();
  }

  /** There are fewer sealed memtables, or other tables. */
  shapeChanged(): void {
    if (this.#state !== 'open') return;
    if (this.#tree.active.bytes >= this.#settings.memtableBytes && !this.isCrowded) this.#seal();
    this.#judgeStall();
  }

  /** @throws CoterieError CLOSED, or what failed */
  check(): void {
    if (this.#state === 'closed') throw closed();
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** The disk has failed: nothing is taken until a restart. */
  fail(error: CoterieError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#settings.log({ level: 'error', name: 'disk-failed', detail: { message: error.message } });
    // Of the last sync, while the store closes, nobody else is there to hear.
    if (this.#state !== 'open') return;
    this.#state = 'failed';
    // What is held back is durable.
    this.gate.set('none');
    this.#owner.stopped(error);
  }

  /** Makes durable what was taken. Answers whether it is. */
  async close(): Promise<boolean> {
    this.space.close();
    this.#state = 'closed';
    const durable = await this.log.close(
      new CoterieError('CLOSED', 'the store was closed before the write was durable', { outcome: 'unknown' }),
    );
    this.gate.close();
    return durable && this.#failure === undefined;
  }

  #refuses(done: Acknowledge): boolean {
    if (this.#state === 'open' && !this.space.isFull && this.gate.state !== 'stopped') return false;
    const refusal = this.#refusal();
    if (refusal === undefined) return false;
    this.counters.refused += 1;
    done(refusal);
    return true;
  }

  #refusal(): CoterieError | undefined {
    if (this.#state === 'closed') return closed();
    if (this.#state === 'failed') return new CoterieError('DISK_FAILED', this.#failure?.message ?? 'the disk failed', { outcome: 'none' });
    if (this.space.isFull) return diskIsFull();
    const { memtableBytes, stalledBytes } = this.#settings;
    if (this.gate.state === 'stopped' && this.#tree.active.bytes >= memtableBytes + stalledBytes) {
      return new CoterieError('BUSY', 'flushes and compactions lag behind', { outcome: 'none', retryAfterMs: RETRY_AFTER_MS });
    }
    return undefined;
  }

  /** One batch more is in the memtable. */
  #appended(entries: number, bytes: number): void {
    this.#tree.sequence += 1;
    this.counters.writes += 1;
    this.counters.writtenEntries += entries;
    this.space.wrote(bytes);
  }

  #submit(done: Acknowledge): void {
    this.log.submit(this.#segment, done);
    if (this.#tree.active.bytes < this.#settings.memtableBytes) return;
    if (!this.isCrowded) this.#seal();
    this.#judgeStall();
  }

  #seal(): void {
    const tree = this.#tree;
    const memtable = tree.active;
    const segment = this.#segment;
    tree.sealed = [{ memtable, log: segment, finished: false }, ...tree.sealed];
    tree.active = new Memtable(tree.pool, tree.sequence);
    this.#segment = this.log.begin(tree.active);
    this.log.seal(segment);
    this.#settings.follower.sealed(tree.sequence);
    this.counters.seals += 1;
  }

  #judgeStall(): void {
    const { memtableBytes, level0Slow, level0Stop } = this.#settings;
    const { active, sealed, versions } = this.#tree;
    const level0 = versions.state.levels[0]?.length ?? 0;
    const before = this.gate.state;
    if ((this.isCrowded && active.bytes >= memtableBytes) || level0 >= level0Stop) this.gate.set('stopped');
    else if (level0 >= level0Slow) this.gate.set('slowed');
    else this.gate.set('none');
    const { state } = this.gate;
    if (state !== before) this.#settings.log({ level: 'info', name: 'stall', detail: { state, level0, sealed: sealed.length } });
  }

  #spaceChanged(full: boolean): void {
    this.#settings.log({ level: full ? 'error' : 'info', name: full ? 'disk-full' : 'disk-has-room', detail: {} });
    if (full || this.#state !== 'open') return;
    this.log.resume();
    this.#owner.hasRoom();
  }
}

export function closed(): CoterieError {
  return new CoterieError('CLOSED', 'the store is closed', { outcome: 'none' });
}

export function diskIsFull(): CoterieError {
  return new CoterieError('DISK_FULL', 'the disk is full; writes resume when there is room', { outcome: 'none' });
}
