/**
 * The machine's file system for the event loop. Calls run on libuv's thread pool by callback, which costs a third of what `fs.promises` does.
 *
 * Invariant: a descriptor is closed only after the last call that uses it has returned; the number could be another file's by then.
 */

import * as fs from 'node:fs';

import { VfsError, type OpenMode, type Vfs, type VfsFile, type VfsLock } from '../env/vfs.ts';
import { asVfsError } from './file-errors.ts';
import { takeLock } from './lock.ts';
import { openFlags, readFully, writeFully } from './sync-vfs.ts';

type Callback<T> = (error: NodeJS.ErrnoException | null, value: T) => void;

/** The promise of a call that answers by callback, failures mapped. */
function promised<T>(operation: string, path: string, start: (done: Callback<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, value) => {
      if (error === null) resolve(value);
      else reject(asVfsError(error, path, operation));
    });
  });
}

/** The same for a call that answers nothing. */
function settled(operation: string, path: string, start: (done: fs.NoParamCallback) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    start((error) => {
      if (error === null) resolve();
      else reject(asVfsError(error, path, operation));
    });
  });
}

class NodeFile implements VfsFile {
  readonly path: string;
  #fd: number;
  #calls = 0;
  #idle: (() => void) | undefined;

  constructor(path: string, fd: number) {
    this.path = path;
    this.#fd = fd;
  }

  read(into: Uint8Array, position: number): Promise<number> {
    return this.#call('read', (fd, done) => {
      let filled = 0;
      const more = (): void => {
        fs.read(fd, into, filled, into.length - filled, position + filled, (error, count) => {
          filled += count;
          if (error !== null || count === 0 || filled === into.length) done(error, filled);
          else more();
        });
      };
      if (into.length === 0) process.nextTick(done, null, 0);
      else more();
    });
  }

  readSync(into: Uint8Array, position: number): number {
    if (this.#fd < 0) throw new VfsError('CLOSED', this.path, 'read');
    try {
      return readFully(this.#fd, into, position);
    } catch (error) {
      throw asVfsError(error, this.path, 'read');
    }
  }

  write(bytes: Uint8Array, position: number): Promise<void> {
    return this.#run('write', (fd, done) => {
      let written = 0;
      const more = (): void => {
        fs.write(fd, bytes, written, bytes.length - written, position + written, (error, count) => {
          written += count;
          if (error !== null || written === bytes.length) done(error);
          else more();
        });
      };
      if (bytes.length === 0) process.nextTick(done, null);
      else more();
    });
  }

  writeSync(bytes: Uint8Array, position: number): void {
    if (this.#fd < 0) throw new VfsError('CLOSED', this.path, 'write');
    try {
      writeFully(this.#fd, bytes, position);
    } catch (error) {
      throw asVfsError(error, this.path, 'write');
    }
  }

  dataSync(): Promise<void> {
    return this.#run('fdatasync', fs.fdatasync);
  }

  truncate(length: number): Promise<void> {
    return this.#run('truncate', (fd, done) => {
      fs.ftruncate(fd, length, done);
    });
  }

  size(): Promise<number> {
    return this.#call('stat', (fd, done) => {
      fs.fstat(fd, (error, stats) => {
        // On failure there are no stats, whatever the type says; `done` ignores the value then.
        done(error, error === null ? stats.size : 0);
      });
    });
  }

  async close(): Promise<void> {
    if (this.#fd < 0) return;
    const fd = this.#fd;
    this.#fd = -1;
    if (this.#calls > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
    await settled('close', this.path, (done) => {
      fs.close(fd, (error) => {
        done(error ?? null);
      });
    });
  }

  #run(operation: string, start: (fd: number, done: fs.NoParamCallback) => void): Promise<void> {
    return this.#call<undefined>(operation, (fd, done) => {
      start(fd, (error) => {
        done(error, undefined);
      });
    });
  }

  #call<T>(operation: string, start: (fd: number, done: Callback<T>) => void): Promise<T> {
    const fd = this.#fd;
    if (fd < 0) return Promise.reject(new VfsError('CLOSED', this.path, operation));
    this.#calls += 1;
    return new Promise((resolve, reject) => {
      start(fd, (error, value) => {
        this.#calls -= 1;
        if (this.#calls === 0) this.#idle?.();
        if (error === null) resolve(value);
        else reject(asVfsError(error, this.path, operation));
      });
    });
  }
}

export class NodeVfs implements Vfs {
  async open(path: string, mode: OpenMode): Promise<VfsFile> {
    const fd = await promised<number>('open', path, (done) => {
      fs.open(path, openFlags(mode), 0o644, done);
    });
    return new NodeFile(path, fd);
  }

  async mkdir(path: string): Promise<void> {
    await promised<string | undefined>('mkdir', path, (done) => {
      fs.mkdir(path, { recursive: true }, done);
    });
  }

  async list(path: string): Promise<string[]> {
    const names = await promised<string[]>('list', path, (done) => {
      fs.readdir(path, done);
    });
    return names.sort();
  }

  async sizeOf(path: string): Promise<number | undefined> {
    try {
      const stats = await promised<fs.Stats>('stat', path, (done) => {
        fs.stat(path, done);
      });
      return stats.size;
    } catch (error) {
      if (error instanceof VfsError && error.code === 'NOT_FOUND') return undefined;
      throw error;
    }
  }

  rename(from: string, to: string): Promise<void> {
    return settled('rename', from, (done) => {
      fs.rename(from, to, done);
    });
  }

  unlink(path: string): Promise<void> {
    return settled('unlink', path, (done) => {
      fs.unlink(path, done);
    });
  }

  async syncDir(path: string): Promise<void> {
    const fd = await promised<number>('syncDir', path, (done) => {
      fs.open(path, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY, done);
    });
    try {
      await settled('syncDir', path, (done) => {
        fs.fsync(fd, done);
      });
    } finally {
      await settled('syncDir', path, (done) => {
        fs.close(fd, (error) => {
          done(error ?? null);
        });
      });
    }
  }

  async freeBytes(path: string): Promise<number> {
    const stats = await promised<fs.StatsFs>('statfs', path, (done) => {
      fs.statfs(path, done);
    });
    return stats.bavail * stats.bsize;
  }

  lock(path: string): Promise<VfsLock> {
    return new Promise((resolve) => {
      resolve(takeLock(path));
    });
  }
}
