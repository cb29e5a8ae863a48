/**
 * Small files that are read once and rewritten whole: written beside, fsynced, renamed over, the directory fsynced.
 *
 * Invariant: whatever happens, the name holds either what it held or what was written; a failed write is never continued, the next one makes a new
 * file.
 */

import type { Vfs, VfsFile } from '../env/vfs.ts';
import { isVfsError } from '../env/vfs.ts';

/** @returns undefined where there is none. @throws VfsError */
export async function readWhole(vfs: Vfs, path: string): Promise<Uint8Array | undefined> {
  let file: VfsFile;
  try {
    file = await vfs.open(path, 'read');
  } catch (error) {
    if (isVfsError(error) && error.code === 'NOT_FOUND') return undefined;
    throw error;
  }
  try {
    const bytes = new Uint8Array(await file.size());
    const read = await file.read(bytes, 0);
    return bytes.subarray(0, read);
  } finally {
    await file.close();
  }
}

/** Resolves when it is durable. @throws VfsError */
export async function replaceWhole(vfs: Vfs, directory: string, name: string, bytes: Uint8Array): Promise<void> {
  const beside = `${directory}/${name}.new`;
  if ((await vfs.sizeOf(beside)) !== undefined) await vfs.unlink(beside);
  const file = await vfs.open(beside, 'create');
  try {
    await file.write(bytes, 0);
    await file.dataSync();
  } finally {
    await file.close();
  }
  await vfs.rename(beside, `${directory}/${name}`);
  await vfs.syncDir(directory);
}
