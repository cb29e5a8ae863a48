/**
 * The current version, its manifest on disk, and the life of table files.
 *
 * Invariants:
 * - A change becomes visible only after its manifest is durable: written to a new file, synced, renamed over the old one, directory synced.
 *   Changes run one at a time.
 * - A table's file is removed only when no version that anybody holds lists it, and never while the manifest on disk may.
 * - When rename or the sync behind it fails, it is unknown which manifest the disk has: nothing is removed any more and the set has failed.
 */

import { asCoterieError, CoterieError } from '../../base/errors.ts';
import type { Vfs, VfsFile } from '../../env/vfs.ts';
import { isVfsError } from '../../env/vfs.ts';
import { TableFile } from '../sstable/table-file.ts';
import type { TableMeta } from '../sstable/table-meta.ts';
import { tableName } from '../sstable/table-meta.ts';
import type { ManifestState } from './codec.ts';
import { encodeManifest } from './codec.ts';
import type { TableRef } from './version.ts';
import { Version } from './version.ts';

export const MANIFEST_NAME = 'MANIFEST';
export const MANIFEST_NEW_NAME = 'MANIFEST.new';

export class VersionSet {
  current: Version;
  state: ManifestState;
  failure: CoterieError | undefined;
  readonly #vfs: Vfs;
  readonly #directory: string;
  readonly #forget: (file: TableFile) => Promise<void>;
  readonly #unused = (file: TableFile): void => {
    this.#remove(file);
  };
  readonly #files: Map<number, TableFile> = new Map();
  #nextNumber: number;
  #turn: Promise<void> = Promise.resolve();
  #removals: Promise<void> = Promise.resolve();
  #closed = false;
  switches = 0;

  /** @param forget closes what readers have of a file that is about to be removed */
  constructor(vfs: Vfs, directory: string, state: ManifestState, nextNumber: number, forget: (file: TableFile) => Promise<void>) {
    this.#vfs = vfs;
    this.#directory = directory;
    this.#forget = forget;
    this.#nextNumber = nextNumber;
    this.state = state;
    this.current = this.#versionOf(state.levels);
    this.retain(this.current);
  }

  nextNumber(): number {
    const number = this.#nextNumber;
    this.#nextNumber += 1;
    return number;
  }

  retain(version: Version): void {
    version.references += 1;
    if (version.references > 1) return;
    for (const level of version.levels) for (const { file } of level) file.retain();
  }

  release(version: Version): void {
    version.references -= 1;
    if (version.references > 0) return;
    for (const level of version.levels) for (const { file } of level) file.release();
  }

  #remove(file: TableFile): void {
    if (this.#closed || this.failure !== undefined) return;
    this.#files.delete(file.number);
    const path = `${this.#directory}/${tableName(file.number)}`;
    this.#removals = this.#removals.then(async () => {
      await this.#forget(file);
      await this.#vfs.unlink(path).catch(() => undefined);
    });
  }

  /** Resolves when files let go of so far are gone. */
  removed(): Promise<void> {
    return this.#removals;
  }

  /**
   * Applies a change; `change` sees the state at its turn. `installed` runs in the same turn in which the new version becomes current.
   *
   * @throws VfsError when the new manifest could not be written: nothing has changed, and it may be tried again
   * @throws CoterieError DISK_FAILED when it is unknown whether it has
   */
  async apply(change: (state: ManifestState) => Omit<ManifestState, 'nextNumber'>, installed?: () => void): Promise<void> {
    const before = this.#turn;
    let finish: () => void = () => undefined;
    this.#turn = new Promise((resolve) => {
      finish = resolve;
    });
    await before;
    try {
      if (this.failure !== undefined) throw this.failure;
      const state: ManifestState = { ...change(this.state), nextNumber: this.#nextNumber };
      await this.#write(state);
      this.state = state;
      const old = this.current;
      this.current = this.#versionOf(state.levels);
      this.retain(this.current);
      this.switches += 1;
      installed?.();
      this.release(old);
    } finally {
      finish();
    }
  }

  /** Removes nothing any more. */
  async close(): Promise<void> {
    await this.#turn;
    this.#closed = true;
    await this.#removals;
  }

  async #write(state: ManifestState): Promise<void> {
    const path = `${this.#directory}/${MANIFEST_NEW_NAME}`;
    await this.#vfs.unlink(path).catch((error: unknown) => {
      if (!isVfsError(error) || error.code !== 'NOT_FOUND') throw error;
    });
    const file: VfsFile = await this.#vfs.open(path, 'create');
    try {
      await file.write(encodeManifest(state), 0);
      await file.dataSync();
    } finally {
      await file.close().catch(() => undefined);
    }
    try {
      await this.#vfs.rename(path, `${this.#directory}/${MANIFEST_NAME}`);
      await this.#vfs.syncDir(this.#directory);
    } catch (error) {
      this.failure = new CoterieError('DISK_FAILED', 'the manifest could not be switched; the node must be restarted', {
        outcome: 'unknown',
        cause: asCoterieError(error),
      });
      throw this.failure;
    }
  }

  #versionOf(levels: readonly (readonly TableMeta[])[]): Version {
    return new Version(levels.map((level) => level.map((meta): TableRef => ({ meta, file: this.#fileOf(meta) }))));
  }

  #fileOf(meta: TableMeta): TableFile {
    let file = this.#files.get(meta.number);
    if (file === undefined) {
      file = new TableFile(meta.number, meta.bytes, this.#unused);
      this.#files.set(meta.number, file);
    }
    return file;
  }
}
