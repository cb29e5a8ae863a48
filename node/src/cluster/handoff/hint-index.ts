/**
 * What a store holds of hints, by partition and slot: counts and bytes, never keys, so that it is bounded by the ring however many hints there are.
 *
 * Invariants: a slot without hints and without debt is not in the index; `bytes` never passes the limit by what `admits` let in.
 */

import type { PartitionId } from '../../base/ids.ts';

/** The backlog of one slot of a partition. */
export interface Backlog {
  readonly partition: PartitionId;
  readonly slot: number;
  /** Keys with a hint. */
  readonly count: number;
  /** Of their keys and objects. */
  readonly bytes: number;
  /** Since when there have been hints without a break, wall-clock milliseconds. */
  readonly sinceMs: number;
  /** Why it became repair debt; undefined while it is none. */
  readonly debt: string | undefined;
}

type Entry = { -readonly [K in keyof Backlog]: Backlog[K] };

export class HintIndex {
  readonly limitBytes: number;
  readonly #entries = new Map<number, Entry>();
  readonly #n: number;
  #bytes = 0;
  #count = 0;

  /** @param n the cluster's N */
  constructor(n: number, limitBytes: number) {
    this.#n = n;
    this.limitBytes = limitBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get count(): number {
    return this.#count;
  }

  /** There is neither a hint nor a debt. */
  get isEmpty(): boolean {
    return this.#entries.size === 0;
  }

  /** Whether `bytes` more may be taken. */
  admits(bytes: number): boolean {
    return this.#bytes + bytes <= this.limitBytes;
  }

  backlogs(): IterableIterator<Backlog> {
    return this.#entries.values();
  }

  of(partition: PartitionId, slot: number): Backlog | undefined {
    return this.#entries.get(partition * this.#n + slot);
  }

  /** A hint for a key that had none. */
  added(partition: PartitionId, slot: number, bytes: number, atMs: number): void {
    const entry = this.#entry(partition, slot, atMs);
    if (entry.count === 0 || atMs < entry.sinceMs) entry.sinceMs = atMs;
    entry.count += 1;
    this.#count += 1;
    this.#grow(entry, bytes);
  }

  /** A hint of a key was merged with another: its size changed by so many bytes. */
  grown(partition: PartitionId, slot: number, bytes: number): void {
    const entry = this.#entries.get(partition * this.#n + slot);
    if (entry !== undefined) this.#grow(entry, bytes);
  }

  dropped(partition: PartitionId, slot: number, bytes: number): void {
    const entry = this.#entries.get(partition * this.#n + slot);
    if (entry === undefined) return;
    entry.count -= 1;
    this.#count -= 1;
    this.#grow(entry, -bytes);
    this.#forget(entry);
  }

  /** What a look at the slot's hints themselves has found: after damage, what was counted may be gone. */
  recounted(partition: PartitionId, slot: number, count: number, bytes: number): void {
    const entry = this.#entries.get(partition * this.#n + slot);
    if (entry === undefined) return;
    this.#count += count - entry.count;
    entry.count = count;
    this.#grow(entry, bytes - entry.bytes);
    this.#forget(entry);
  }

  /** Forgets everything: a count begins anew. */
  clear(): void {
    this.#entries.clear();
    this.#bytes = 0;
    this.#count = 0;
  }

  owe(partition: PartitionId, slot: number, reason: string, atMs: number): void {
    this.#entry(partition, slot, atMs).debt = reason;
  }

  paid(partition: PartitionId, slot: number): void {
    const entry = this.#entries.get(partition * this.#n + slot);
    if (entry === undefined) return;
    entry.debt = undefined;
    this.#forget(entry);
  }

  #entry(partition: PartitionId, slot: number, atMs: number): Entry {
    const at = partition * this.#n + slot;
    let entry = this.#entries.get(at);
    if (entry === undefined) {
      entry = { partition, slot, count: 0, bytes: 0, sinceMs: atMs, debt: undefined };
      this.#entries.set(at, entry);
    }
    return entry;
  }

  #grow(entry: Entry, bytes: number): void {
    entry.bytes += bytes;
    this.#bytes += bytes;
  }

  #forget(entry: Entry): void {
    if (entry.count === 0 && entry.debt === undefined) this.#entries.delete(entry.partition * this.#n + entry.slot);
  }
}
