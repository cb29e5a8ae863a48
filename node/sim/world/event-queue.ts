/**
 * The queue of what will happen: a binary heap ordered by (virtual time, order of scheduling), so that ties are broken the same way in
 * every run.
 */

export interface QueuedEvent<Owner> {
  atUs: number;
  order: number;
  readonly owner: Owner;
  readonly run: () => void;
  cancelled: boolean;
}

function before<Owner>(a: QueuedEvent<Owner>, b: QueuedEvent<Owner>): boolean {
  return a.atUs < b.atUs || (a.atUs === b.atUs && a.order < b.order);
}

export class EventQueue<Owner> {
  readonly #heap: QueuedEvent<Owner>[] = [];
  #order = 0;

  get size(): number {
    return this.#heap.length;
  }

  push(atUs: number, owner: Owner, run: () => void): QueuedEvent<Owner> {
    const event: QueuedEvent<Owner> = { atUs, order: 0, owner, run, cancelled: false };
    this.insert(event);
    return event;
  }

  /** Puts `event`, which is not in the queue, in its place, after those of the same time. */
  insert(event: QueuedEvent<Owner>): void {
    event.order = this.#order;
    this.#order += 1;
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above];
      if (parent === undefined || !before(event, parent)) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = event;
  }

  /** The next event that has not been cancelled. */
  pop(): QueuedEvent<Owner> | undefined {
    for (;;) {
      const next = this.#take();
      if (next === undefined || !next.cancelled) return next;
    }
  }

  #take(): QueuedEvent<Owner> | undefined {
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
