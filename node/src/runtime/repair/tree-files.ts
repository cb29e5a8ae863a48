/**
 * The store's checkpoints of its hash trees on disk: `trees-<sequence>`, written whole, and removed when the tables hold more than they do.
 *
 * Invariant: a file has its name only when it is on the disk whole.
 */

import { crc32 } from 'node:zlib';

import type { StoreId } from '../../base/ids.ts';
import { isVfsError, type Vfs } from '../../env/vfs.ts';
import type { HashTrees } from '../../cluster/repair/hash-trees.ts';
import { decodeTrees, encodeTrees, type TreeCheckpoint } from '../../cluster/repair/tree-codec.ts';

const NAME = /^trees-(\d{1,16})$/;
const BESIDE = 'trees.new';

export class TreeFiles {
  readonly #vfs: Vfs;
  readonly #directory: string;
  readonly #store: StoreId;
  readonly #trees: HashTrees;
  readonly #sequences = new Set<number>();

  constructor(vfs: Vfs, directory: string, store: StoreId, trees: HashTrees) {
    this.#vfs = vfs;
    this.#directory = directory;
    this.#store = store;
    this.#trees = trees;
  }

  /**
   * The newest checkpoint of a write from `least` to `most` that can be read. All others are removed: what claims to be later than the store
   * would seem to be true once the store has come there by another way.
   *
   * @throws VfsError
   */
  async open(least: number, most: number): Promise<TreeCheckpoint | undefined> {
    const names = await this.#vfs.list(this.#directory);
    const sequences = names.flatMap((name) => {
      const number = NAME.exec(name)?.[1];
      return number === undefined ? [] : [Number(number)];
    });
    sequences.sort((a, b) => b - a);
    let found: TreeCheckpoint | undefined;
    let removed = false;
    for (const sequence of sequences) {
      if (found === undefined && sequence >= least && sequence <= most) found = await this.#read(sequence);
      if (found?.sequence === sequence) this.#sequences.add(sequence);
      else {
        await this.#vfs.unlink(this.#path(sequence));
        removed = true;
      }
    }
    if (removed) await this.#vfs.syncDir(this.#directory);
    return found;
  }

  /** @throws VfsError */
  async write(checkpoint: TreeCheckpoint): Promise<void> {
    if (this.#sequences.has(checkpoint.sequence)) return;
    const beside = `${this.#directory}/${BESIDE}`;
    if ((await this.#vfs.sizeOf(beside)) !== undefined) await this.#vfs.unlink(beside);
    const file = await this.#vfs.open(beside, 'create');
    try {
      await file.write(encodeTrees(this.#trees, checkpoint, this.#store, crc32), 0);
      await file.dataSync();
    } finally {
      await file.close();
    }
    await this.#vfs.rename(beside, this.#path(checkpoint.sequence));
    await this.#vfs.syncDir(this.#directory);
    this.#sequences.add(checkpoint.sequence);
  }

  /** The tables hold everything up to `sequence`: older checkpoints are of no use. @throws VfsError */
  async removeBelow(sequence: number): Promise<void> {
    for (const each of [...this.#sequences]) {
      if (each >= sequence) continue;
      try {
        await this.#vfs.unlink(this.#path(each));
      } catch (error) {
        // Another call may have been quicker.
        if (!isVfsError(error) || error.code !== 'NOT_FOUND') throw error;
      }
      this.#sequences.delete(each);
    }
  }

  /** When it resolves, none is left on the disk. @throws VfsError */
  async removeAll(): Promise<void> {
    await this.removeBelow(Infinity);
    await this.#vfs.syncDir(this.#directory);
  }

  async #read(sequence: number): Promise<TreeCheckpoint | undefined> {
    const file = await this.#vfs.open(this.#path(sequence), 'read');
    try {
      const bytes = new Uint8Array(await file.size());
      const read = await file.read(bytes, 0);
      const checkpoint = decodeTrees(bytes.subarray(0, read), this.#trees, this.#store, crc32);
      return checkpoint?.sequence === sequence ? checkpoint : undefined;
    } finally {
      await file.close();
    }
  }

  #path(sequence: number): string {
    return `${this.#directory}/trees-${String(sequence)}`;
  }
}
