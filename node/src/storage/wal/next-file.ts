/**
 * The file of the segment to come, made while the present one fills. Its name in the directory and its room on the disk take two syncs, for which
 * every write would have to wait where one segment ends and the next begins.
 *
 * Until it is a segment's, it holds zeros and no header: nothing, to a reader. One that could not be made is not missed: the log makes another
 * when it needs it.
 */

import type { Vfs, VfsFile } from '../../env/vfs.ts';
import { logName } from '../sstable/table-meta.ts';
import { ZEROS } from './reserve.ts';

interface MadeFile {
  readonly file: VfsFile;
  /** How many zeros it holds, which are on the disk like its name. */
  readonly zeros: number;
}

export interface NextFile {
  readonly number: number;
  /** `undefined` where it could not be made. */
  readonly made: Promise<MadeFile | undefined>;
}

export class NextFiles {
  readonly #vfs: Vfs;
  readonly #directory: string;
  readonly #nextNumber: () => number;
  #next: NextFile | undefined;
  #dropping: Promise<void> = Promise.resolve();

  constructor({ vfs, directory }: { readonly vfs: Vfs; readonly directory: string }, nextNumber: () => number) {
    this.#vfs = vfs;
    this.#directory = directory;
    this.#nextNumber = nextNumber;
  }

  /** Begins to make the next file, with `zeros` of room, at most as many as `reserve` writes at a time. Once: until it is taken. */
  make(zeros: number): void {
    if (this.#next !== undefined) return;
    const number = this.#nextNumber();
    this.#next = { number, made: this.#make(`${this.#directory}/${logName(number)}`, zeros) };
  }

  /**
   * The file that was made, for the segment after number `last`. Only one of a higher number may follow: of what is below the newest segment's, the
   * manifest may say that it is no more needed; and a rewrite raises a segment's number.
   */
  take(last: number): NextFile | undefined {
    const next = this.#next;
    this.#next = undefined;
    if (next === undefined || next.number > last) return next;
    this.drop(next);
    return undefined;
  }

  /** Removes one that no segment will write to. */
  drop(next: NextFile): void {
    this.#dropping = Promise.all([this.#dropping, this.#remove(next)]).then(() => undefined);
  }

  async close(): Promise<void> {
    if (this.#next !== undefined) this.drop(this.#next);
    this.#next = undefined;
    await this.#dropping;
  }

  async #make(path: string, zeros: number): Promise<MadeFile | undefined> {
    let file: VfsFile | undefined;
    try {
      file = await this.#vfs.open(path, 'create');
      if (zeros > 0) await file.write(ZEROS.subarray(0, zeros), 0);
      await file.dataSync();
      await this.#vfs.syncDir(this.#directory);
      return { file, zeros };
    } catch {
      if (file !== undefined) await this.#discard(file);
      return undefined;
    }
  }

  async #remove({ made }: NextFile): Promise<void> {
    const next = await made;
    if (next !== undefined) await this.#discard(next.file);
  }

  async #discard(file: VfsFile): Promise<void> {
    await file.close().catch(() => undefined);
    await this.#vfs.unlink(file.path).catch(() => undefined);
  }
}
