/**
 * The machine's disk with a delay before every read, and every write of the event loop, for proof (f): on the loop (`readSync` and `writeSync` hold it,
 * `read` and `write` do not) and in jobs. It counts what the loop was held by: synchronous calls and the milliseconds they took, a turn at a time.
 */

import type { OpenMode, SyncFile, SyncVfs, Vfs, VfsFile, VfsLock } from '../../../src/env/vfs.ts';
import { ownClockMs } from './own-clock.ts';

/** Holds the calling thread without using the processor. */
export function hold(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** Synchronous reads and writes in one turn of the loop. */
export interface TurnCalls {
  reads: number;
  writes: number;
  heldMs: number;
}

class SlowFile implements VfsFile {
  readonly path: string;
  readonly #file: VfsFile;
  readonly #disk: SlowVfs;

  constructor(file: VfsFile, disk: SlowVfs) {
    this.#file = file;
    this.#disk = disk;
    this.path = file.path;
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    this.#disk.asynchronousReads += 1;
    await this.#disk.wait();
    return this.#file.read(into, position);
  }

  readSync(into: Uint8Array, position: number): number {
    const before = ownClockMs();
    hold(this.#disk.delayMs);
    const start = ownClockMs();
    const length = this.#file.readSync(into, position);
    const end = ownClockMs();
    // The delay counts as long as it should be: that a busy machine wakes the thread later is not the engine's doing.
    this.#disk.heldBy(this.#disk.delayMs + end - start, 'read');
    this.#disk.totalWaitedMs += end - before;
    return length;
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    this.#disk.asynchronousWrites += 1;
    await this.#disk.wait();
    return this.#file.write(bytes, position);
  }

  writeSync(bytes: Uint8Array, position: number): void {
    const before = ownClockMs();
    hold(this.#disk.delayMs);
    const start = ownClockMs();
    this.#file.writeSync(bytes, position);
    const end = ownClockMs();
    this.#disk.heldBy(this.#disk.delayMs + end - start, 'write');
    this.#disk.totalWaitedMs += end - before;
  }

  dataSync(): Promise<void> {
    return this.#file.dataSync();
  }

  truncate(length: number): Promise<void> {
    return this.#file.truncate(length);
  }

  size(): Promise<number> {
    return this.#file.size();
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

export class SlowVfs implements Vfs {
  readonly delayMs: number;
  /** This turn so far, and the worst one. */
  turn: TurnCalls = { reads: 0, writes: 0, heldMs: 0 };
  mostCalls = 0;
  mostHeldMs = 0;
  totalHeldMs = 0;
  /** What synchronous calls took by the thread's own clock. */
  totalWaitedMs = 0;
  synchronousReads = 0;
  asynchronousReads = 0;
  synchronousWrites = 0;
  asynchronousWrites = 0;
  readonly #disk: Vfs;
  #turnEnds = false;

  constructor(disk: Vfs, delayMs: number) {
    this.#disk = disk;
    this.delayMs = delayMs;
  }

  wait(): Promise<void> {
    return new Promise((resolve) => {
      setTimeout(resolve, this.delayMs);
    });
  }

  heldBy(ms: number, kind: 'read' | 'write'): void {
    if (kind === 'read') {
      this.synchronousReads += 1;
      this.turn.reads += 1;
    } else {
      this.synchronousWrites += 1;
      this.turn.writes += 1;
    }
    this.totalHeldMs += ms;
    this.turn.heldMs += ms;
    this.mostCalls = Math.max(this.mostCalls, this.turn.reads + this.turn.writes);
    this.mostHeldMs = Math.max(this.mostHeldMs, this.turn.heldMs);
    if (this.#turnEnds) return;
    this.#turnEnds = true;
    // The check phase comes once a turn; what runs in it counts for the next one, which only makes a turn look longer.
    setImmediate(() => {
      this.#turnEnds = false;
      this.turn = { reads: 0, writes: 0, heldMs: 0 };
    });
  }

  async open(path: string, mode: OpenMode): Promise<VfsFile> {
    return new SlowFile(await this.#disk.open(path, mode), this);
  }

  mkdir(path: string): Promise<void> {
    return this.#disk.mkdir(path);
  }

  list(path: string): Promise<string[]> {
    return this.#disk.list(path);
  }

  sizeOf(path: string): Promise<number | undefined> {
    return this.#disk.sizeOf(path);
  }

  rename(from: string, to: string): Promise<void> {
    return this.#disk.rename(from, to);
  }

  unlink(path: string): Promise<void> {
    return this.#disk.unlink(path);
  }

  syncDir(path: string): Promise<void> {
    return this.#disk.syncDir(path);
  }

  freeBytes(path: string): Promise<number> {
    return this.#disk.freeBytes(path);
  }

  lock(path: string): Promise<VfsLock> {
    return this.#disk.lock(path);
  }
}

class SlowSyncFile implements SyncFile {
  readonly path: string;
  readonly #file: SyncFile;
  readonly #delayMs: number;

  constructor(file: SyncFile, delayMs: number) {
    this.#file = file;
    this.#delayMs = delayMs;
    this.path = file.path;
  }

  read(into: Uint8Array, position: number): number {
    hold(this.#delayMs);
    return this.#file.read(into, position);
  }

  write(bytes: Uint8Array, position: number): void {
    this.#file.write(bytes, position);
  }

  dataSync(): void {
    this.#file.dataSync();
  }

  truncate(length: number): void {
    this.#file.truncate(length);
  }

  size(): number {
    return this.#file.size();
  }

  close(): void {
    this.#file.close();
  }
}

export class SlowSyncVfs implements SyncVfs {
  readonly #disk: SyncVfs;
  readonly #delayMs: number;

  constructor(disk: SyncVfs, delayMs: number) {
    this.#disk = disk;
    this.#delayMs = delayMs;
  }

  open(path: string, mode: OpenMode): SyncFile {
    return new SlowSyncFile(this.#disk.open(path, mode), this.#delayMs);
  }

  mkdir(path: string): void {
    this.#disk.mkdir(path);
  }

  list(path: string): string[] {
    return this.#disk.list(path);
  }

  sizeOf(path: string): number | undefined {
    return this.#disk.sizeOf(path);
  }

  rename(from: string, to: string): void {
    this.#disk.rename(from, to);
  }

  unlink(path: string): void {
    this.#disk.unlink(path);
  }

  syncDir(path: string): void {
    this.#disk.syncDir(path);
  }
}
