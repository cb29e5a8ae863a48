/**
 * A lock that dies with the process: an exclusive transaction that SQLite holds open on an otherwise empty file (an advisory lock of the
 * system underneath). A file with a process id would lie after a crash in a container, where ids repeat.
 *
 * SQLite also refuses a second holder within one process. Nothing else may open the file while it is held: closing any descriptor of it
 * would drop the system's lock.
 */

import { DatabaseSync } from 'node:sqlite';

import { VfsError, type VfsLock } from '../env/vfs.ts';
import { asVfsError } from './file-errors.ts';

/** SQLITE_BUSY and SQLITE_LOCKED: another holds it. SQLITE_NOTADB: the file is not ours to lock. */
const BUSY = 5;
const LOCKED = 6;

function sqliteCode(error: unknown): number {
  return typeof error === 'object' && error !== null && 'errcode' in error && typeof error.errcode === 'number' ? error.errcode & 0xff : 0;
}

export function takeLock(path: string): VfsLock {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path, { timeout: 0 });
    database.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    database?.close();
    const code = sqliteCode(error);
    if (code === BUSY || code === LOCKED) throw new VfsError('LOCKED', path, 'lock', { cause: error });
    throw asVfsError(error, path, 'lock');
  }
  const held = database;
  return {
    release: (): Promise<void> => {
      if (held.isOpen) held.close();
      return Promise.resolve();
    },
  };
}
