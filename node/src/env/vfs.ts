/**
 * The disk, injected. `Vfs` is for the event loop, `SyncVfs` for jobs off it (see Executor).
 *
 * Paths use `/`. Data written but not synced, and directory entries made, renamed or removed but not synced with `syncDir`, may be lost
 * or torn by a loss of power, each on its own; that is the model the simulated disk enforces.
 * Failures are thrown as `VfsError`. A number of bytes short of what was asked is never an error of `read`: it is the end of the file.
 */

export type VfsErrorCode = 'NOT_FOUND' | 'EXISTS' | 'NO_SPACE' | 'IO' | 'LOCKED' | 'CLOSED';

export class VfsError extends Error {
  override readonly name = 'VfsError';
  readonly code: VfsErrorCode;
  readonly path: string;

  constructor(code: VfsErrorCode, path: string, operation: string, options?: ErrorOptions) {
    super(`${operation} ${path}: ${code}`, options);
    this.code = code;
    this.path = path;
  }
}

export function isVfsError(error: unknown): error is VfsError {
  return typeof error === 'object' && error !== null && 'name' in error && error.name === 'VfsError' && 'code' in error;
}

/** `read`: must exist. `create`: must not exist. `append-or-create`: read and write, made if missing, never truncated. */
export type OpenMode = 'read' | 'create' | 'append-or-create';

export interface VfsFile {
  readonly path: string;
  /** Fills `into` from `position`; answers the bytes read, short only at the end of the file. `into` is borrowed until it settles. */
  read(into: Uint8Array, position: number): Promise<number>;
  /** The same at once, holding the loop: only within the engine's read budget. */
  readSync(into: Uint8Array, position: number): number;
  /** Writes all of `bytes` at `position` (short writes are continued). Borrowed until it settles. */
  write(bytes: Uint8Array, position: number): Promise<void>;
  /** The same at once, holding the loop: only within the engine's write budget. A failure may have written any part. */
  writeSync(bytes: Uint8Array, position: number): void;
  /** fdatasync: data and length are on the disk. After a failure nothing written since the last success may be assumed kept. */
  dataSync(): Promise<void>;
  truncate(length: number): Promise<void>;
  size(): Promise<number>;
  close(): Promise<void>;
}

/** Held until released or the process dies. */
export interface VfsLock {
  release(): Promise<void>;
}

export interface Vfs {
  open(path: string, mode: OpenMode): Promise<VfsFile>;
  /** Makes the directory and the missing ones above it. */
  mkdir(path: string): Promise<void>;
  /** Names in the directory, sorted; directories too. */
  list(path: string): Promise<string[]>;
  /** The file's length in bytes; `undefined` where there is none. */
  sizeOf(path: string): Promise<number | undefined>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  syncDir(path: string): Promise<void>;
  /** Bytes free for writing on the volume of `path`. */
  freeBytes(path: string): Promise<number>;
  /** Takes the lock file exclusively. @throws VfsError LOCKED when another process (or this one) holds it. */
  lock(path: string): Promise<VfsLock>;
}

export interface SyncFile {
  readonly path: string;
  read(into: Uint8Array, position: number): number;
  write(bytes: Uint8Array, position: number): void;
  dataSync(): void;
  truncate(length: number): void;
  size(): number;
  close(): void;
}

export interface SyncVfs {
  open(path: string, mode: OpenMode): SyncFile;
  mkdir(path: string): void;
  list(path: string): string[];
  sizeOf(path: string): number | undefined;
  rename(from: string, to: string): void;
  unlink(path: string): void;
  syncDir(path: string): void;
}
