/**
 * The store's identity on disk: read once, rewritten whole at every change.
 *
 * Invariants: a change counts once `change` has resolved (written beside, fsynced, renamed over, directory fsynced); changes made while a
 * write is under way go together into the next one; a failed write is never continued: the next one makes a new file.
 */

import { CoterieError, isCoterieError } from '../base/errors.ts';
import type { Vfs } from '../env/vfs.ts';
import { isVfsError } from '../env/vfs.ts';
import { decodeIdentity, encodeIdentity, type StoreIdentity } from '../cluster/membership/identity.ts';
import { readWhole, replaceWhole } from './whole-file.ts';

const NAME = 'identity';

/** @returns undefined where there is none. @throws CoterieError DATA_DAMAGED, DATA_DIR_NEWER, DISK_FAILED */
export async function readIdentity(vfs: Vfs, directory: string): Promise<StoreIdentity | undefined> {
  const path = `${directory}/${NAME}`;
  try {
    const bytes = await readWhole(vfs, path);
    return bytes === undefined ? undefined : decodeIdentity(bytes, path);
  } catch (error) {
    throw isVfsError(error) ? failed('read', error) : error;
  }
}

export class IdentityFile {
  readonly #vfs: Vfs;
  readonly #directory: string;
  #current: StoreIdentity;
  #onDisk: StoreIdentity;
  /** Changes made, and how many of them are durable. */
  #changes = 0;
  #durable = 0;
  #writing: Promise<void> | undefined;
  #failing = false;

  /** @param identity what the file holds now; written by the first change, if it is new */
  constructor(vfs: Vfs, directory: string, identity: StoreIdentity) {
    this.#vfs = vfs;
    this.#directory = directory;
    this.#current = identity;
    this.#onDisk = identity;
  }

  /** With the changes that are not durable yet. */
  get current(): StoreIdentity {
    return this.#current;
  }

  /** Only what is durable: all that others may be told. */
  get durable(): StoreIdentity {
    return this.#onDisk;
  }

  /**
   * Applies a change at once and resolves when it is durable.
   *
   * @throws CoterieError DISK_FULL, DISK_FAILED; it stands in memory all the same, and goes to the disk with a later change
   */
  async change(change: (identity: StoreIdentity) => StoreIdentity): Promise<void> {
    this.#current = change(this.#current);
    this.#changes += 1;
    const wanted = this.#changes;
    // The write that is under way may have begun before this change.
    while (this.#durable < wanted) await (this.#writing ??= this.#write());
  }

  /** The latest write failed. */
  get failing(): boolean {
    return this.#failing;
  }

  /** Applies a change that may be lost by a crash: it becomes durable with the next `change`. */
  note(change: (identity: StoreIdentity) => StoreIdentity): void {
    this.#current = change(this.#current);
  }

  async #write(): Promise<void> {
    const changes = this.#changes;
    const identity = this.#current;
    try {
      await replaceWhole(this.#vfs, this.#directory, NAME, encodeIdentity(identity));
      this.#durable = changes;
      this.#onDisk = identity;
      this.#failing = false;
    } catch (error) {
      this.#failing = true;
      throw failed('written', error);
    } finally {
      this.#writing = undefined;
    }
  }
}

/** A client may see the text, since writes wait for leases: the path is in the cause, for the log. */
function failed(what: 'read' | 'written', error: unknown): CoterieError {
  if (isCoterieError(error)) return error;
  const full = isVfsError(error) && error.code === 'NO_SPACE';
  const why = full ? ': the disk is full' : '';
  return new CoterieError(full ? 'DISK_FULL' : 'DISK_FAILED', `the identity file cannot be ${what}${why}`, {
    outcome: 'none',
    cause: error,
  });
}
