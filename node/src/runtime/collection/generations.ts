/**
 * The generations of this store (rules: cluster/collection/generation-table.ts), on disk and in force, and the operations that began under them.
 *
 *   <directory>/generations   see cluster/collection/table-codec.ts
 *
 * Invariants: a generation, and what is refused by it, is in force only when it is durable, a floor at once (to call gone what is gone harms nobody);
 * an operation that brings objects to a replica is counted from its beginning until nothing of it is under way any more, under the generation in which
 * it began; hints made under an older generation than the one that is on its way to the disk are refused already (round.ts, `raise`).
 */

import { CoterieError, isCoterieError } from '../../base/errors.ts';
import type { PartitionId } from '../../base/ids.ts';
import type { Vfs } from '../../env/vfs.ts';
import { isVfsError } from '../../env/vfs.ts';
import { type Floor, GenerationTable, type Settled, type Tagged } from '../../cluster/collection/generation-table.ts';
import { Pending } from '../../cluster/collection/pending.ts';
import { decodeTable, encodeTable } from '../../cluster/collection/table-codec.ts';
import { readWhole, replaceWhole } from '../whole-file.ts';

const NAME = 'generations';

export interface GenerationsParts {
  readonly vfs: Vfs;
  readonly directory: string;
  readonly partitions: number;
  /** Whether what was made under `generation` may enter where less than `least` is refused: policies.ts. */
  readonly admits: (generation: number, least: number) => boolean;
}

/** A partition's generation, and the one below which its messages are refused, as a peer has them. */
export interface Adopted {
  readonly partition: PartitionId;
  readonly generation: number;
  readonly least: number;
}

/**
 * What the directory holds, twice: the one is in force, the other goes ahead of it to the disk.
 *
 * @param fresh the store is a new one: what another left in the directory is not its own
 * @throws CoterieError DATA_DAMAGED, DATA_DIR_NEWER, DATA_DIR_FOREIGN, DISK_FAILED
 */
export async function openGenerations(parts: GenerationsParts, fresh: boolean): Promise<Generations> {
  const { vfs, directory, partitions } = parts;
  const path = `${directory}/${NAME}`;
  const read = (bytes: Uint8Array | undefined): GenerationTable =>
    bytes === undefined || fresh ? new GenerationTable(partitions) : decodeTable(bytes, partitions, path);
  try {
    const bytes = await readWhole(vfs, path);
    return new Generations(parts, read(bytes), read(bytes));
  } catch (error) {
    throw isVfsError(error) ? failed('read', error) : error;
  }
}

export class Generations {
  readonly #parts: GenerationsParts;
  readonly #table: GenerationTable;
  /** With the changes that are on their way to the disk. */
  readonly #ahead: GenerationTable;
  readonly pending: Pending;
  /** Operations under way, by partition: under the present generation, and under older ones. */
  readonly #present: Uint32Array;
  readonly #older: Uint32Array;
  /** Partitions that nothing may enter now. */
  readonly #closed = new Set<PartitionId>();
  #changes = 0;
  #durable = 0;
  #writing: Promise<void> | undefined;

  constructor(parts: GenerationsParts, table: GenerationTable, ahead: GenerationTable) {
    this.#parts = parts;
    this.#table = table;
    this.#ahead = ahead;
    this.pending = new Pending(parts.partitions);
    this.#present = new Uint32Array(parts.partitions);
    this.#older = new Uint32Array(parts.partitions);
  }

  of(partition: PartitionId): number {
    return this.#table.generationOf(partition);
  }

  floorOf(partition: PartitionId): Floor {
    return this.#table.floorOf(partition);
  }

  isCollected(partition: PartitionId, entry: Tagged): boolean {
    return this.#table.isCollected(partition, entry);
  }

  settledOf(partition: PartitionId): Settled {
    return this.#table.settledOf(partition);
  }

  isBehind(partition: PartitionId, peer: Settled): boolean {
    return this.#table.isBehind(partition, peer);
  }

  /** Whether what was made under `generation` may still enter the partition. */
  admits(partition: PartitionId, generation: number): boolean {
    if (this.#closed.size > 0 && this.#closed.has(partition)) return false;
    return this.#parts.admits(generation, this.#table.leastOf(partition));
  }

  /** Whether a hint made under `generation` may be kept here. */
  admitsHint(partition: PartitionId, generation: number): boolean {
    return this.#parts.admits(generation, this.#ahead.generationOf(partition));
  }

  /** An operation on the partition begins; answers the generation that its messages carry. */
  begin(partition: PartitionId): number {
    this.#present[partition] = (this.#present[partition] ?? 0) + 1;
    return this.of(partition);
  }

  /** Nothing of the operation is under way any more. */
  end(partition: PartitionId, generation: number): void {
    const counts = generation === this.of(partition) ? this.#present : this.#older;
    counts[partition] = (counts[partition] ?? 1) - 1;
  }

  /** Operations under way that began under an older generation. */
  olderOperations(partition: PartitionId): number {
    return this.#older[partition] ?? 0;
  }

  /** Goes to higher generations; resolves when they are in force. @throws CoterieError DISK_FULL, DISK_FAILED */
  async raise(changes: readonly { readonly partition: PartitionId; readonly to: number }[]): Promise<void> {
    await this.#write(
      changes.map(({ partition, to }) => (): void => {
        this.#ahead.raise(partition, to);
      }),
    );
    for (const { partition, to } of changes) this.#raised(partition, to);
  }

  #raised(partition: PartitionId, to: number): void {
    if (to <= this.of(partition)) return;
    this.#table.raise(partition, to);
    this.pending.raised(partition);
    this.#older[partition] = (this.#older[partition] ?? 0) + (this.#present[partition] ?? 0);
    this.#present[partition] = 0;
  }

  /** Refuses what was made under less than the present generation; resolves when that is in force. @throws CoterieError DISK_FULL, DISK_FAILED */
  async seal(partitions: readonly PartitionId[]): Promise<void> {
    const changes = partitions.map((partition) => ({ partition, least: this.of(partition) }));
    await this.#write(
      changes.map(({ partition, least }) => (): void => {
        this.#ahead.seal(partition, least);
      }),
    );
    for (const { partition, least } of changes) this.#table.seal(partition, least);
  }

  /** Takes over what a peer has, where it is more; resolves when that is in force. @throws CoterieError DISK_FULL, DISK_FAILED */
  async adopt(changes: readonly Adopted[]): Promise<void> {
    await this.#write(
      changes.map(({ partition, generation, least }) => (): void => {
        this.#ahead.raise(partition, generation);
        this.#ahead.seal(partition, least);
      }),
    );
    for (const { partition, generation, least } of changes) {
      this.#raised(partition, generation);
      this.#table.seal(partition, least);
    }
  }

  /** Refuses everything until `reopen`. */
  close(partitions: readonly PartitionId[]): void {
    for (const partition of partitions) this.#closed.add(partition);
  }

  reopen(partitions: readonly PartitionId[]): void {
    for (const partition of partitions) this.#closed.delete(partition);
  }

  /** Takes floors; resolves when they are durable. @throws CoterieError DISK_FULL, DISK_FAILED */
  async collect(floors: readonly { readonly partition: PartitionId; readonly floor: Floor }[]): Promise<void> {
    for (const { partition, floor } of floors) {
      if (!this.#table.collect(partition, floor)) continue;
      this.pending.collected(partition);
      this.collected(partition);
    }
    await this.#write(
      floors.map(({ partition, floor }) => (): void => {
        this.#ahead.collect(partition, floor);
      }),
    );
  }

  /** Runs in the turn in which entries of the partition become collected, or are taken away. */
  collected: (partition: PartitionId) => void = () => undefined;

  async #write(changes: readonly (() => void)[]): Promise<void> {
    for (const change of changes) change();
    this.#changes += 1;
    const wanted = this.#changes;
    // The write that is under way may have begun before this change.
    while (this.#durable < wanted) await (this.#writing ??= this.#replace());
  }

  async #replace(): Promise<void> {
    const changes = this.#changes;
    const { vfs, directory } = this.#parts;
    try {
      await replaceWhole(vfs, directory, NAME, encodeTable(this.#ahead));
      this.#durable = changes;
    } catch (error) {
      throw failed('written', error);
    } finally {
      this.#writing = undefined;
    }
  }
}

function failed(what: 'read' | 'written', error: unknown): CoterieError {
  if (isCoterieError(error)) return error;
  const full = isVfsError(error) && error.code === 'NO_SPACE';
  return new CoterieError(full ? 'DISK_FULL' : 'DISK_FAILED', `the file of generations cannot be ${what}`, {
    outcome: 'none',
    cause: error,
  });
}
