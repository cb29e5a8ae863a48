/**
 * A binary heap of what happens at a time: the earliest comes out first, and of one time the one that was put in first, so that ties are broken the
 * same way in every run.
 */

export interface Timed {
  /** Given by the heap. */
  order: number;
}

export class Heap<T extends Timed> {
  readonly #items: T[] = [];
  readonly #timeOf: (item: T) => number;
  #order = 0;

  constructor(timeOf: (item: T) => number) {
    this.#timeOf = timeOf;
  }

  get size(): number {
    return this.#items.length;
  }

  /** The earliest, which stays. */
  peek(): T | undefined {
    return this.#items[0];
  }

  /** Puts an item in its place, after those of the same time. */
  push(item: T): void {
    item.order = this.#order;
    this.#order += 1;
    const items = this.#items;
    let at = items.length;
    items.push(item);
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = items[above];
      if (parent === undefined || !this.#before(item, parent)) break;
      items[at] = parent;
      at = above;
    }
    items[at] = item;
  }

  /** Takes the earliest out. */
  pop(): T | undefined {
    const items = this.#items;
    const top = items[0];
    const last = items.pop();
    if (top === undefined || last === undefined || items.length === 0) return top;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      const leftChild = items[left];
      if (leftChild === undefined) break;
      const rightChild = items[left + 1];
      const useRight = rightChild !== undefined && this.#before(rightChild, leftChild);
      const child = useRight ? rightChild : leftChild;
      if (!this.#before(child, last)) break;
      items[at] = child;
      at = useRight ? left + 1 : left;
    }
    items[at] = last;
    return top;
  }

  #before(a: T, b: T): boolean {
    const first = this.#timeOf(a);
    const second = this.#timeOf(b);
    return first < second || (first === second && a.order < b.order);
  }
}
