/** A disk with other files: what the mutants of the storage seam are made from. */

import type { Vfs, VfsFile } from '../../src/env/vfs.ts';

/** The file's calls as an object whose parts can be replaced. */
export function bound(file: VfsFile): VfsFile {
  return {
    path: file.path,
    read: (into, position) => file.read(into, position),
    readSync: (into, position) => file.readSync(into, position),
    write: (bytes, position) => file.write(bytes, position),
    writeSync: (bytes, position) => {
      file.writeSync(bytes, position);
    },
    dataSync: () => file.dataSync(),
    truncate: (length) => file.truncate(length),
    size: () => file.size(),
    close: () => file.close(),
  };
}

/** The same disk, each file that is opened passed through `wrap`. */
export function wrapFiles(vfs: Vfs, wrap: (file: VfsFile) => VfsFile | Promise<VfsFile>): Vfs {
  return {
    open: async (path, mode) => wrap(await vfs.open(path, mode)),
    mkdir: (path) => vfs.mkdir(path),
    list: (path) => vfs.list(path),
    sizeOf: (path) => vfs.sizeOf(path),
    rename: (from, to) => vfs.rename(from, to),
    unlink: (path) => vfs.unlink(path),
    syncDir: (path) => vfs.syncDir(path),
    freeBytes: (path) => vfs.freeBytes(path),
    lock: (path) => vfs.lock(path),
  };
}
