/** The queue of what will happen, in order of virtual time. */

import { Heap } from './heap.ts';

export interface QueuedEvent<Owner> {
  atUs: number;
  order: number;
  readonly owner: Owner;
  readonly run: () => void;
  cancelled: boolean;
}

export class EventQueue<Owner> {
  readonly #heap = new Heap<QueuedEvent<Owner>>(({ atUs }) => atUs);

  get size(): number {
    return this.#heap.size;
  }

  push(atUs: number, owner: Owner, run: () => void): QueuedEvent<Owner> {
    const event: QueuedEvent<Owner> = { atUs, order: 0, owner, run, cancelled: false };
    this.insert(event);
    return event;
  }

  /** Puts `event`, which is not in the queue, in its place, after those of the same time. */
  insert(event: QueuedEvent<Owner>): void {
    this.#heap.push(event);
  }

  /** The next event that has not been cancelled. */
  pop(): QueuedEvent<Owner> | undefined {
    for (;;) {
      const next = this.#heap.pop();
      if (next === undefined || !next.cancelled) return next;
    }
  }
}
