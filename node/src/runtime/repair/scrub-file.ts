/** The scrub's progress on disk, rewritten whole. A failure loses progress, and nothing else. */

import { toByteString } from '../../base/bytes.ts';
import type { Vfs } from '../../env/vfs.ts';
import { isVfsError } from '../../env/vfs.ts';
import { decodeScrub, encodeScrub, type ScrubProgress } from '../../cluster/repair/scrub-progress.ts';

const NAME = 'scrub';
const BESIDE = 'scrub.new';

export class ScrubFile {
  readonly #vfs: Vfs;
  readonly #directory: string;

  constructor(vfs: Vfs, directory: string) {
    this.#vfs = vfs;
    this.#directory = directory;
  }

  /** Undefined where there is none that can be used. */
  async read(): Promise<ScrubProgress | undefined> {
    try {
      const file = await this.#vfs.open(`${this.#directory}/${NAME}`, 'read');
      try {
        const bytes = new Uint8Array(await file.size());
        return decodeScrub(toByteString(bytes, 0, await file.read(bytes, 0)));
      } finally {
        await file.close();
      }
    } catch (error) {
      if (!isVfsError(error)) throw error;
      return undefined;
    }
  }

  /** @throws VfsError */
  async write(progress: ScrubProgress): Promise<void> {
    const beside = `${this.#directory}/${BESIDE}`;
    if ((await this.#vfs.sizeOf(beside)) !== undefined) await this.#vfs.unlink(beside);
    const file = await this.#vfs.open(beside, 'create');
    try {
      await file.write(encodeScrub(progress), 0);
      await file.dataSync();
    } finally {
      await file.close();
    }
    await this.#vfs.rename(beside, `${this.#directory}/${NAME}`);
    await this.#vfs.syncDir(this.#directory);
  }
}
