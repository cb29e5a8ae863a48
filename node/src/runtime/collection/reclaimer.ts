/**
 * Gives back the space of what is collected: compacts the tables that hold some of it, a while after the last floor, so that the floors of many
 * partitions share one rewrite.
 *
 * Invariant: only partitions whose floor every primary has are handed in, and only what lies below that floor goes.
 */

import type { CoterieError } from '../../base/errors.ts';
import type { PartitionId } from '../../base/ids.ts';
import type { Timer } from '../../env/clock.ts';
import type { CollectableRange } from '../../storage/engine.ts';
import { type Floor, floorTag } from '../../cluster/collection/generation-table.ts';
import { partitionRange } from '../../cluster/ring/token.ts';
import type { NodeCore } from '../core.ts';

export class Reclaimer {
  readonly #core: NodeCore;
  readonly #delayMs: number;
  /** Floors whose space is still to be reclaimed. */
  #waiting = new Map<PartitionId, Floor>();
  #timer: Timer | undefined;
  #running = false;
  #stopped = false;

  constructor(core: NodeCore, delayMs: number) {
    this.#core = core;
    this.#delayMs = delayMs;
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  /** Partitions whose space is to be reclaimed. */
  get waiting(): number {
    return this.#waiting.size;
  }

  add(partition: PartitionId, floor: Floor): void {
    this.#waiting.set(partition, floor);
    this.#later();
  }

  #later(): void {
    if (this.#stopped || this.#running || this.#waiting.size === 0) return;
    this.#timer ??= this.#core.clock.after(this.#delayMs, () => {
      this.#timer = undefined;
      this.#reclaim();
    });
  }

  #reclaim(): void {
    const taken = this.#waiting;
    this.#waiting = new Map();
    this.#running = true;
    const { store, topology, warn } = this.#core;
    const collectable = [...taken].sort(([a], [b]) => a - b).map(([partition, floor]) => rangeOf(topology, partition, floor));
    store.engine.compact({ collectable }).then(
      () => {
        this.#running = false;
        this.#later();
      },
      (error: unknown) => {
        this.#running = false;
        if (this.#stopped) return;
        const { code, message } = error as CoterieError;
        warn('reclaim-failed', { code, message });
        // Floors that came meanwhile are higher.
        for (const [partition, floor] of taken) if (!this.#waiting.has(partition)) this.#waiting.set(partition, floor);
        this.#later();
      },
    );
  }
}

function rangeOf(topology: NodeCore['topology'], partition: PartitionId, floor: Floor): CollectableRange {
  const { from, to } = partitionRange(topology, partition);
  const range = { from, gcTag: floorTag(floor.generation), expiredByMs: floor.expiredByMs };
  return to === undefined ? range : { ...range, to };
}
