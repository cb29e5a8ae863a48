/**
 * Opening a store's directory: the lock, the identity, the engine.
 *
 *   <directory>/LOCK       held while a process uses the directory
 *   <directory>/identity   see cluster/membership/identity.ts
 *   <directory>/data/      the engine's
 *   <directory>/scrub      how far rereading has come, see cluster/repair/scrub-progress.ts
 *   <directory>/trees-<n>  hash trees as of the engine's write n, see cluster/repair/tree-codec.ts
 *
 * Invariants: an identity is durable before the engine makes anything; a directory of another cluster, member or format is refused untouched;
 * data without an identity is refused, and an identity whose data is gone becomes a new store in the same slot.
 */

import { toHex } from '../base/bytes.ts';
import { CoterieError } from '../base/errors.ts';
import { type StoreId, storeId } from '../base/ids.ts';
import { isVfsError, type Vfs, type VfsLock } from '../env/vfs.ts';
import { newIdentity, type StoreIdentity } from '../cluster/membership/identity.ts';
import { readIdentity } from './identity-file.ts';
import type { NodeOptions } from './options.ts';

export function dataDirectory(directory: string): string {
  return `${directory}/data`;
}

/** @throws CoterieError DATA_DIR_IN_USE, DISK_FAILED */
export async function lockDirectory(vfs: Vfs, directory: string): Promise<VfsLock> {
  try {
    await makeDirectory(vfs, directory);
    return await vfs.lock(`${directory}/LOCK`);
  } catch (error) {
    if (isVfsError(error) && error.code === 'LOCKED') {
      throw new CoterieError('DATA_DIR_IN_USE', `${directory} is in use by another process`, { cause: error });
    }
    const code = isVfsError(error) && error.code === 'NO_SPACE' ? 'DISK_FULL' : 'DISK_FAILED';
    throw new CoterieError(code, `cannot use the directory ${directory}`, { cause: error });
  }
}

/** Makes the directory so that it survives a loss of power, with the missing ones above it. */
async function makeDirectory(vfs: Vfs, directory: string): Promise<void> {
  // Its own entry is synced in any case: an earlier start may have made it and been cut off.
  const unsynced = [parentOf(directory)];
  for (let path = parentOf(directory); !(await exists(vfs, path)); path = parentOf(path)) unsynced.push(parentOf(path));
  await vfs.mkdir(directory);
  for (const path of unsynced) await vfs.syncDir(path);
}

function parentOf(path: string): string {
  const at = path.lastIndexOf('/');
  return at > 0 ? path.slice(0, at) : at === 0 ? '/' : '.';
}

async function exists(vfs: Vfs, directory: string): Promise<boolean> {
  try {
    await vfs.list(directory);
    return true;
  } catch (error) {
    if (isVfsError(error) && error.code === 'NOT_FOUND') return false;
    throw error;
  }
}

export interface FoundIdentity {
  readonly identity: StoreIdentity;
  /** The store that was in this directory, if its data is lost. */
  readonly lost: StoreId | undefined;
}

/**
 * The identity in the directory, or a new one.
 *
 * @throws CoterieError DATA_DIR_FOREIGN, DATA_DIR_NEWER, DATA_DAMAGED, PEER_REMOVED
 */
export async function findIdentity(options: NodeOptions, newStoreId: (drawn: StoreId) => StoreId): Promise<FoundIdentity> {
  const { directory, topology, name, env } = options;
  const found = await readIdentity(env.vfs, directory);
  const hasData = await holdsAnything(env.vfs, dataDirectory(directory));
  const fresh = (): StoreIdentity => {
    const slot = topology.members.find((member) => member.name === name);
    const id = slot?.storeId ?? newStoreId(storeId(toHex(env.random.bytes(16))));
    // Where every key has one replica, there is nobody to copy from.
    return { ...newIdentity(topology.clusterId, id, name), synchronised: topology.N === 1 };
  };
  if (found === undefined) {
    if (!hasData) return { identity: fresh(), lost: undefined };
    throw new CoterieError(
      'DATA_DAMAGED',
      `${directory} holds data but no identity file: restore the file, or empty the directory to let the store synchronise anew`,
    );
  }
  if (found.clusterId !== topology.clusterId) {
    throw new CoterieError('DATA_DIR_FOREIGN', `${directory} belongs to cluster ${found.clusterId}, not ${topology.clusterId}`);
  }
  if (found.member !== name) throw new CoterieError('DATA_DIR_FOREIGN', `${directory} belongs to member ${found.member}, not ${name}`);
  if (found.retired) {
    throw new CoterieError(
      'PEER_REMOVED',
      `store ${found.storeId} in ${directory} was replaced in its slot: empty the directory to join as a new store`,
    );
  }
  if (found.dataMade && !hasData) {
    const identity = { ...fresh(), peers: found.peers, removed: [...found.removed, found.storeId] };
    return { identity, lost: found.storeId };
  }
  const expected = topology.members.find((member) => member.name === name)?.storeId;
  if (expected !== undefined && expected !== found.storeId) {
    throw new CoterieError('DATA_DIR_FOREIGN', `${directory} is store ${found.storeId}; the topology expects ${expected} as ${name}`);
  }
  return { identity: found, lost: undefined };
}

async function holdsAnything(vfs: Vfs, directory: string): Promise<boolean> {
  try {
    const names = await vfs.list(directory);
    return names.some((name) => name !== 'LOCK' && !name.startsWith('LOCK-'));
  } catch (error) {
    if (isVfsError(error) && error.code === 'NOT_FOUND') return false;
    throw new CoterieError('DISK_FAILED', `cannot read ${directory}`, { cause: error });
  }
}
