/**
 * One process's view of a simulated volume: `vfs` for its event loop, `sync` for its jobs.
 *
 * Asynchronous calls take effect and settle together, in an event of the injected scheduler after their latency; calls in flight may
 * overtake each other when their latencies differ. Synchronous calls take effect at once; what they take is told to `held` on the
 * loop, and delays the next slice in a job.
 * Both check the contract of env/vfs.ts: a buffer given to `write` must not change until it settles (a changed one fails the run through
 * `violation`), and one given to `read` holds garbage until it settles.
 */

import { VfsError } from '../../src/env/vfs.ts';
import type { OpenMode, SyncFile, SyncVfs, Vfs, VfsFile, VfsLock } from '../../src/env/vfs.ts';
import type { MediumChange } from './medium.ts';
import { Fenced } from './operation.ts';
import type { OperationKind } from './operation.ts';
import type { Mounted, SimVolume } from './volume.ts';

export interface MountOptions {
  /** Runs `fn` in an event of its own, `delayMs` of simulated time from now. Never inside the call. */
  readonly schedule: (delayMs: number, fn: () => void) => void;
  /** How long an operation takes, in simulated milliseconds; 0 by default. */
  readonly latencyMs?: (kind: OperationKind, path: string, bytes: number) => number;
  /** A synchronous call outside a job held the event loop for so long. */
  readonly held?: (ms: number, kind: OperationKind) => void;
  /** The engine broke the contract of a borrowed buffer; throws by default. */
  readonly violation?: (message: string) => void;
}

const POISON = 0xa5;

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

interface Handle {
  readonly path: string;
  readonly node: number;
  open: boolean;
}

export class SimMount implements Mounted {
  readonly vfs: Vfs;
  readonly sync: SyncVfs;
  readonly volume: SimVolume;
  readonly options: MountOptions;
  #alive = true;
  #inSlice = false;
  #sliceMs = 0;
  readonly #handles = new Set<Handle>();

  constructor(volume: SimVolume, options: MountOptions) {
    this.volume = volume;
    this.options = options;
    this.vfs = new MountVfs(this);
    this.sync = new MountSyncVfs(this);
    volume.attach(this);
  }

  /** False once its process has crashed. */
  get alive(): boolean {
    return this.#alive;
  }

  fence(): void {
    this.#alive = false;
  }

  openNodes(): number[] {
    return [...this.#handles].map((handle) => handle.node);
  }

  latency(kind: OperationKind, path: string, bytes: number): number {
    return this.options.latencyMs?.(kind, path, bytes) ?? 0;
  }

  /** Runs `effect` later, in an event of its own; the promise settles with it, or never if the process has crashed by then. */
  later<T>(kind: OperationKind, path: string, bytes: number, effect: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      if (!this.#alive) return;
      this.options.schedule(this.latency(kind, path, bytes), () => {
        if (!this.#alive) return;
        try {
          resolve(effect());
        } catch (error) {
          if (error instanceof Fenced) return;
          // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- what was thrown, as it was thrown
          reject(error);
        }
      });
    });
  }

  /** An asynchronous change. */
  change(change: MediumChange, bytes = 0): Promise<void> {
    if (this.#alive) this.volume.begin(change, this);
    return this.later(change.kind, change.path, bytes, () => {
      this.volume.perform(change, this, false);
    });
  }

  /** Charges a synchronous operation's time, then checks that the process lives. @throws Fenced */
  charge(kind: OperationKind, path: string, bytes: number): void {
    if (!this.#alive) throw new Fenced();
    const ms = this.latency(kind, path, bytes);
    if (ms <= 0) return;
    if (this.#inSlice) this.#sliceMs += ms;
    else this.options.held?.(ms, kind);
  }

  /** Runs a slice of a job; answers its result, and the milliseconds that its disk calls took, which are the worker's, not the loop's. */
  slice<T>(run: () => T): [T, number] {
    this.#inSlice = true;
    this.#sliceMs = 0;
    try {
      const result = run();
      return [result, this.#sliceMs];
    } finally {
      this.#inSlice = false;
    }
  }

  /** A synchronous change. @throws VfsError, Fenced */
  changeNow(change: MediumChange, bytes = 0): void {
    this.charge(change.kind, change.path, bytes);
    this.volume.perform(change, this, true);
  }

  /** @throws VfsError, Fenced */
  open(path: string, mode: OpenMode, synchronous: boolean): Handle {
    const { volume } = this;
    let node = volume.medium.find(path);
    if (mode === 'create' && node !== undefined) throw new VfsError('EXISTS', path, 'open');
    if (mode === 'read' && node === undefined) {
      volume.look('open', path, this, synchronous);
      throw new VfsError('NOT_FOUND', path, 'open');
    }
    if (node === undefined) {
      volume.perform({ kind: 'create', path }, this, synchronous);
      node = volume.medium.find(path);
    } else {
      volume.look('open', path, this, synchronous);
    }
    if (node === undefined || volume.medium.nodes.get(node)?.kind !== 'file') throw new VfsError('IO', path, 'open');
    volume.medium.file(node).handles += 1;
    const handle = { path, node, open: true };
    this.#handles.add(handle);
    return handle;
  }

  close(handle: Handle): void {
    if (!handle.open) return;
    handle.open = false;
    this.#handles.delete(handle);
    if (this.#alive) this.volume.release(handle.node);
  }

  /** @throws VfsError, Fenced */
  readAt(handle: Handle, into: Uint8Array, position: number, synchronous: boolean): number {
    this.volume.look('read', handle.path, this, synchronous, into.length, position);
    const file = this.volume.medium.file(handle.node);
    const length = Math.max(0, Math.min(into.length, file.size - position));
    into.set(file.bytes.subarray(position, position + length));
    return length;
  }

  list(path: string, synchronous: boolean): string[] {
    this.volume.look('list', path, this, synchronous);
    return [...this.volume.medium.directory(path, 'list').entries.keys()].sort();
  }

  sizeOf(path: string, synchronous: boolean): number | undefined {
    this.volume.look('stat', path, this, synchronous);
    const id = this.volume.medium.find(path);
    const node = id === undefined ? undefined : this.volume.medium.nodes.get(id);
    return node?.kind === 'file' ? node.size : undefined;
  }

  violated(message: string): void {
    if (this.options.violation === undefined) throw new Error(`broken contract: ${message}`);
    this.options.violation(message);
  }
}

class MountFile implements VfsFile {
  readonly path: string;
  readonly #mount: SimMount;
  readonly #handle: Handle;

  constructor(mount: SimMount, handle: Handle) {
    this.#mount = mount;
    this.#handle = handle;
    this.path = handle.path;
  }

  #closed(operation: string): VfsError | undefined {
    return this.#handle.open ? undefined : new VfsError('CLOSED', this.path, operation);
  }

  read(into: Uint8Array, position: number): Promise<number> {
    const closed = this.#closed('read');
    if (closed !== undefined) return Promise.reject(closed);
    if (this.#mount.alive) into.fill(POISON);
    return this.#mount.later('read', this.path, into.length, () => this.#mount.readAt(this.#handle, into, position, false));
  }

  readSync(into: Uint8Array, position: number): number {
    this.#mount.charge('read', this.path, into.length);
    const closed = this.#closed('read');
    if (closed !== undefined) throw closed;
    return this.#mount.readAt(this.#handle, into, position, true);
  }

  write(bytes: Uint8Array, position: number): Promise<void> {
    const closed = this.#closed('write');
    if (closed !== undefined) return Promise.reject(closed);
    // Not `slice`, which on a Buffer is a view.
    const copy = new Uint8Array(bytes);
    const change: MediumChange = { kind: 'write', path: this.path, node: this.#handle.node, position, bytes: copy };
    if (this.#mount.alive) this.#mount.volume.begin(change, this.#mount);
    return this.#mount.later('write', this.path, bytes.length, () => {
      if (!sameBytes(bytes, copy)) this.#mount.violated(`a buffer changed while it was being written to ${this.path}`);
      this.#mount.volume.perform(change, this.#mount, false);
    });
  }

  writeSync(bytes: Uint8Array, position: number): void {
    this.#mount.charge('write', this.path, bytes.length);
    const closed = this.#closed('write');
    if (closed !== undefined) throw closed;
    // A copy, as the change outlives the call where a crash is being imagined.
    const change: MediumChange = { kind: 'write', path: this.path, node: this.#handle.node, position, bytes: new Uint8Array(bytes) };
    this.#mount.volume.perform(change, this.#mount, true);
  }

  dataSync(): Promise<void> {
    const closed = this.#closed('dataSync');
    if (closed !== undefined) return Promise.reject(closed);
    return this.#mount.change({ kind: 'dataSync', path: this.path, node: this.#handle.node });
  }

  truncate(length: number): Promise<void> {
    const closed = this.#closed('truncate');
    if (closed !== undefined) return Promise.reject(closed);
    return this.#mount.change({ kind: 'truncate', path: this.path, node: this.#handle.node, length });
  }

  size(): Promise<number> {
    const closed = this.#closed('size');
    if (closed !== undefined) return Promise.reject(closed);
    return this.#mount.later('stat', this.path, 0, () => {
      this.#mount.volume.look('stat', this.path, this.#mount, false);
      return this.#mount.volume.medium.file(this.#handle.node).size;
    });
  }

  close(): Promise<void> {
    return this.#mount.later('stat', this.path, 0, () => {
      this.#mount.close(this.#handle);
    });
  }
}

class MountVfs implements Vfs {
  readonly #mount: SimMount;

  constructor(mount: SimMount) {
    this.#mount = mount;
  }

  open(path: string, mode: OpenMode): Promise<VfsFile> {
    return this.#mount.later('open', path, 0, () => new MountFile(this.#mount, this.#mount.open(path, mode, false)));
  }

  mkdir(path: string): Promise<void> {
    if (this.#mount.volume.medium.find(path) !== undefined) {
      return this.#mount.later('stat', path, 0, () => {
        this.#mount.sizeOf(path, false);
        this.#mount.volume.medium.directory(path, 'mkdir');
      });
    }
    return this.#mount.change({ kind: 'mkdir', path });
  }

  list(path: string): Promise<string[]> {
    return this.#mount.later('list', path, 0, () => this.#mount.list(path, false));
  }

  sizeOf(path: string): Promise<number | undefined> {
    return this.#mount.later('stat', path, 0, () => this.#mount.sizeOf(path, false));
  }

  rename(from: string, to: string): Promise<void> {
    return this.#mount.change({ kind: 'rename', path: from, to });
  }

  unlink(path: string): Promise<void> {
    return this.#mount.change({ kind: 'unlink', path });
  }

  syncDir(path: string): Promise<void> {
    return this.#mount.change({ kind: 'syncDir', path });
  }

  freeBytes(path: string): Promise<number> {
    return this.#mount.later('stat', path, 0, () => {
      this.#mount.volume.look('stat', path, this.#mount, false);
      return this.#mount.volume.freeBytes();
    });
  }

  lock(path: string): Promise<VfsLock> {
    const mount = this.#mount;
    return mount.later('lock', path, 0, () => {
      mount.volume.look('lock', path, mount, false);
      mount.volume.takeLock(path, mount);
      try {
        if (mount.volume.medium.find(path) === undefined) mount.volume.perform({ kind: 'create', path }, mount, false);
      } catch (error) {
        mount.volume.releaseLock(path, mount);
        throw error;
      }
      return {
        release: () =>
          mount.later('lock', path, 0, () => {
            mount.volume.releaseLock(path, mount);
          }),
      };
    });
  }
}

class MountSyncFile implements SyncFile {
  readonly path: string;
  readonly #mount: SimMount;
  readonly #handle: Handle;

  constructor(mount: SimMount, handle: Handle) {
    this.#mount = mount;
    this.#handle = handle;
    this.path = handle.path;
  }

  #checkOpen(operation: string): void {
    if (!this.#mount.alive) throw new Fenced();
    if (!this.#handle.open) throw new VfsError('CLOSED', this.path, operation);
  }

  read(into: Uint8Array, position: number): number {
    this.#checkOpen('read');
    this.#mount.charge('read', this.path, into.length);
    return this.#mount.readAt(this.#handle, into, position, true);
  }

  write(bytes: Uint8Array, position: number): void {
    this.#checkOpen('write');
    this.#mount.changeNow({ kind: 'write', path: this.path, node: this.#handle.node, position, bytes }, bytes.length);
  }

  dataSync(): void {
    this.#checkOpen('dataSync');
    this.#mount.changeNow({ kind: 'dataSync', path: this.path, node: this.#handle.node });
  }

  truncate(length: number): void {
    this.#checkOpen('truncate');
    this.#mount.changeNow({ kind: 'truncate', path: this.path, node: this.#handle.node, length });
  }

  size(): number {
    this.#checkOpen('size');
    this.#mount.charge('stat', this.path, 0);
    this.#mount.volume.look('stat', this.path, this.#mount, true);
    return this.#mount.volume.medium.file(this.#handle.node).size;
  }

  close(): void {
    if (!this.#mount.alive) throw new Fenced();
    this.#mount.close(this.#handle);
  }
}

class MountSyncVfs implements SyncVfs {
  readonly #mount: SimMount;

  constructor(mount: SimMount) {
    this.#mount = mount;
  }

  open(path: string, mode: OpenMode): SyncFile {
    this.#mount.charge('open', path, 0);
    return new MountSyncFile(this.#mount, this.#mount.open(path, mode, true));
  }

  mkdir(path: string): void {
    if (this.#mount.volume.medium.find(path) === undefined) this.#mount.changeNow({ kind: 'mkdir', path });
    else this.#mount.volume.medium.directory(path, 'mkdir');
  }

  list(path: string): string[] {
    this.#mount.charge('list', path, 0);
    return this.#mount.list(path, true);
  }

  sizeOf(path: string): number | undefined {
    this.#mount.charge('stat', path, 0);
    return this.#mount.sizeOf(path, true);
  }

  rename(from: string, to: string): void {
    this.#mount.changeNow({ kind: 'rename', path: from, to });
  }

  unlink(path: string): void {
    this.#mount.changeNow({ kind: 'unlink', path });
  }

  syncDir(path: string): void {
    this.#mount.changeNow({ kind: 'syncDir', path });
  }
}
