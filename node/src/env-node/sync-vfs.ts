/** The machine's file system, synchronously: for jobs on a worker thread only. */

import * as fs from 'node:fs';

import { VfsError, type OpenMode, type SyncFile, type SyncVfs } from '../env/vfs.ts';
import { asVfsError } from './file-errors.ts';

/** Flags of `open(2)`; a file is never opened in append mode, which would ignore positions. */
export function openFlags(mode: OpenMode): number {
  switch (mode) {
    case 'read':
      return fs.constants.O_RDONLY;
    case 'create':
      return fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_EXCL;
    case 'append-or-create':
      return fs.constants.O_RDWR | fs.constants.O_CREAT;
  }
}

/** Reads until `into` is full or the file ends: one call may answer less than it was asked for. */
export function readFully(fd: number, into: Uint8Array, position: number): number {
  let done = 0;
  while (done < into.length) {
    const count = fs.readSync(fd, into, done, into.length - done, position + done);
    if (count === 0) break;
    done += count;
  }
  return done;
}

/** Writes all of `bytes`: one call may take less than it was given. */
export function writeFully(fd: number, bytes: Uint8Array, position: number): void {
  let done = 0;
  while (done < bytes.length) done += fs.writeSync(fd, bytes, done, bytes.length - done, position + done);
}

class NodeSyncFile implements SyncFile {
  readonly path: string;
  #fd: number;

  constructor(path: string, fd: number) {
    this.path = path;
    this.#fd = fd;
  }

  read(into: Uint8Array, position: number): number {
    return this.#call('read', (fd) => readFully(fd, into, position));
  }

  write(bytes: Uint8Array, position: number): void {
    this.#call('write', (fd) => {
      writeFully(fd, bytes, position);
    });
  }

  dataSync(): void {
    this.#call('fdatasync', fs.fdatasyncSync);
  }

  truncate(length: number): void {
    this.#call('truncate', (fd) => {
      fs.ftruncateSync(fd, length);
    });
  }

  size(): number {
    return this.#call('stat', (fd) => fs.fstatSync(fd).size);
  }

  close(): void {
    if (this.#fd < 0) return;
    const fd = this.#fd;
    this.#fd = -1;
    named('close', this.path, () => {
      fs.closeSync(fd);
    });
  }

  #call<T>(operation: string, fn: (fd: number) => T): T {
    if (this.#fd < 0) throw new VfsError('CLOSED', this.path, operation);
    try {
      return fn(this.#fd);
    } catch (error) {
      throw asVfsError(error, this.path, operation);
    }
  }
}

function named<T>(operation: string, path: string, fn: () => T): T {
  try {
    return fn();
  } catch (error) {
    throw asVfsError(error, path, operation);
  }
}

export class NodeSyncVfs implements SyncVfs {
  open(path: string, mode: OpenMode): SyncFile {
    return new NodeSyncFile(
      path,
      named('open', path, () => fs.openSync(path, openFlags(mode), 0o644)),
    );
  }

  mkdir(path: string): void {
    named('mkdir', path, () => fs.mkdirSync(path, { recursive: true }));
  }

  list(path: string): string[] {
    return named('list', path, () => fs.readdirSync(path)).sort();
  }

  sizeOf(path: string): number | undefined {
    return named('stat', path, () => fs.statSync(path, { throwIfNoEntry: false }))?.size;
  }

  rename(from: string, to: string): void {
    named('rename', from, () => {
      fs.renameSync(from, to);
    });
  }

  unlink(path: string): void {
    named('unlink', path, () => {
      fs.unlinkSync(path);
    });
  }

  syncDir(path: string): void {
    named('syncDir', path, () => {
      const fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
      try {
        fs.fsyncSync(fd);
      } finally {
        fs.closeSync(fd);
      }
    });
  }
}
