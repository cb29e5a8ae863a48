/** What will happen in a simulation of detectors, in order of time: a binary heap of plain data, because millions of entries pass through it. */

import type { Gossip } from '../../src/cluster/membership/gossip.ts';

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

function before(a: Happening, b: Happening): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

export class Agenda {
  readonly #heap: Happening[] = [];
  #order = 0;

  add(happening: Happening): void {
    happening.order = this.#order;
    this.#order += 1;
    const heap = this.#heap;
    let at = heap.length;
    heap.push(happening);
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above];
      if (parent === undefined || !before(happening, parent)) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = happening;
  }

  /** The time of the next one; Infinity where there is none. */
  peekMs(): number {
    return this.#heap[0]?.atMs ?? Infinity;
  }

  pop(): Happening | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      const leftChild = heap[left];
      if (leftChild === undefined) break;
      const rightChild = heap[left + 1];
      const useRight = rightChild !== undefined && before(rightChild, leftChild);
      const child = useRight ? rightChild : leftChild;
      if (!before(child, last)) break;
      heap[at] = child;
      at = useRight ? left + 1 : left;
    }
    heap[at] = last;
    return top;
  }
}
