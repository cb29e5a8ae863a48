/** What will happen in a simulation of detectors, in order of time: plain data, because millions of entries pass through it. */

import type { Gossip } from '../../src/cluster/membership/gossip.ts';
import { Heap } from '../world/heap.ts';

export interface Happening {
  atMs: number;
  /** Those of one time happen in the order in which they were added. */
  order: number;
  readonly node: number;
  /** The sender of a message; -1 for a tick. */
  readonly from: number;
  readonly reply: boolean;
  /** Undefined for a tick. */
  readonly gossip: Gossip | Uint8Array | undefined;
  /** The time that a tick was set for, in the node's own milliseconds. */
  readonly dueMs: number;
}

export class Agenda {
  readonly #heap = new Heap<Happening>(({ atMs }) => atMs);

  add(happening: Happening): void {
    this.#heap.push(happening);
  }

  /** The time of the next one; Infinity where there is none. */
  peekMs(): number {
    return this.#heap.peek()?.atMs ?? Infinity;
  }

  pop(): Happening | undefined {
    return this.#heap.pop();
  }
}
