/**
 * Single entries of tables in memory, for point reads. Keys that begin with a hash are hot one by one: a block of which one entry is hot
 * takes several times the memory of that entry, and holds cold ones with the rest.
 *
 * A log-structured cache (Yang et al., "Segcache", NSDI 2021): entries are copied to the end of the newest segment, and the oldest segment
 * is evicted whole, but for entries that were hit since they came: these are copied to the end once more. What is written again takes the place
 * of what was there, if it fits and nobody reads it.
 *
 * Invariants: for a key it holds what the newest table that knows the key has, or nothing; so a memtable's keys are renewed here before it goes to
 * a table, and memtables are asked first. What was found can be read until the turn of the loop ends: segments go only in `trim`, which runs between turns,
 * and an entry found since the last turn that was told of is never written over. Their memory is used again.
 */

import { Buffer } from 'node:buffer';
import type { ByteString } from '../../base/bytes.ts';
import { KeyTable } from '../../base/key-table.ts';
import type { Entry, EntryKind } from '../entry.ts';
import type { KeyHash } from '../sstable/bloom.ts';
import { hashKey } from '../sstable/bloom.ts';

const SEGMENT_LEAST_BYTES = 4096;
const SEGMENT_MOST_BYTES = 64 * 1024;
/** The budget has room for so many segments at least, where it is not tiny. */
const SEGMENTS_LEAST = 32;
/** What an entry costs beside its value and key: places in two tables, the object, the view of its value, the head of its key. */
const ENTRY_OVERHEAD_BYTES = 256;
/** Segments of which one `trim` keeps what was hit; it bounds what a trim copies. */
const SPARED_SEGMENTS = 4;
const IDLE_SEGMENTS = 2;
class CachedEntry implements Entry {
  readonly key: ByteString;
  readonly hash: number;
  /** The key's number. */
  readonly number: number;
  kind: EntryKind;
  expireAtMs: number;
  gcTag: number;
  value: Buffer;
  /** Hit or written since it came to its segment. */
  referenced = false;
  /** The turn in which it was found last. */
  foundIn = -1;

  constructor(key: ByteString, hash: number, number: number, entry: Entry, value: Buffer) {
    this.key = key;
    this.hash = hash;
    this.number = number;
    this.kind = entry.kind;
    this.expireAtMs = entry.expireAtMs;
    this.gcTag = entry.gcTag;
    this.value = value;
  }
}

interface Segment {
  readonly memory: Buffer;
  used: number;
  /** In the order they came; those forgotten since are no longer in the index. */
  readonly entries: CachedEntry[];
}

export class EntryCache {
  readonly #index = new KeyTable();
  /** By the numbers of their keys. */
  readonly #cached: (CachedEntry | undefined)[] = [];
  readonly #hash: KeyHash = { h1: 0, h2: 0 };
  #turn = 0;
  /** Oldest first; entries come to the last. */
  #segments: Segment[] = [];
  readonly #idle: Buffer[] = [];
  readonly #segmentBytes: number;
  readonly #entryBytes: number;
  readonly #poison: boolean;
  #bytes = 0;
  hits = 0;

  /**
   * @param budget bytes that it may be given at most
   * @param poison overwrite the memory of what was evicted, so that whoever still reads it is found out
   */
  constructor(budget: number, poison: boolean) {
    let segmentBytes = SEGMENT_LEAST_BYTES;
    while (segmentBytes < SEGMENT_MOST_BYTES && segmentBytes * 2 * SEGMENTS_LEAST <= budget) segmentBytes *= 2;
    this.#segmentBytes = segmentBytes;
    this.#entryBytes = budget < segmentBytes ? -1 : segmentBytes / 4;
    this.#poison = poison;
  }

  /** Bytes of segments and of what their entries cost beside. */
  get bytes(): number {
    return this.#bytes + this.#idle.length * this.#segmentBytes;
  }

  get size(): number {
    return this.#index.size;
  }

  /** A turn of the loop begins: nobody reads what was found in those before it. */
  turnBegins(): void {
    this.#turn += 1;
  }

  /** The entry, by its key and that key's hash; its value aliases the cache until the end of the turn. */
  get(key: ByteString, { h1 }: KeyHash): Entry | undefined {
    const cached = this.#find(key, h1);
    if (cached === undefined) return undefined;
    cached.referenced = true;
    cached.foundIn = this.#turn;
    this.hits += 1;
    return cached;
  }

  /** Keeps a copy, unless the value is so large that its block serves as well. */
  put(key: ByteString, entry: Entry): void {
    if (entry.value.length > this.#entryBytes) return;
    const hash = hashKey(key, this.#hash);
    this.forget(key, hash);
    this.#keep(key, hash.h1, entry);
  }

  has(key: ByteString, { h1 }: KeyHash): boolean {
    return this.#find(key, h1) !== undefined;
  }

  /** A table is to have this of the key: it takes the place of what is cached, if anything is. */
  renew(key: ByteString, { h1 }: KeyHash, entry: Entry): void {
    const cached = this.#find(key, h1);
    if (cached === undefined) return;
    const { value } = entry;
    if (cached.foundIn !== this.#turn && value.length <= cached.value.length) {
      if (value.length < cached.value.length) cached.value = cached.value.subarray(0, value.length);
      cached.value.set(value);
      cached.kind = entry.kind;
      cached.expireAtMs = entry.expireAtMs;
      cached.gcTag = entry.gcTag;
      cached.referenced = true;
      return;
    }
    this.#remove(cached);
    if (value.length <= this.#entryBytes) this.#keep(key, h1, entry).referenced = true;
  }

  /** Nothing is known of the key any more. */
  forget(key: ByteString, { h1 }: KeyHash): void {
    const cached = this.#find(key, h1);
    if (cached !== undefined) this.#remove(cached);
  }

  /** Forgets everything. Its memory is not used again: whoever found an entry in this turn may still read it. */
  clear(): void {
    this.#index.clear();
    this.#cached.length = 0;
    this.#segments = [];
    this.#bytes = 0;
  }

  /** Evicts down to `budget` bytes. */
  trim(budget: number): void {
    let spared = SPARED_SEGMENTS;
    while (this.bytes > budget) {
      const oldest = this.#segments.shift();
      if (oldest === undefined) {
        this.#idle.length = 0;
        return;
      }
      this.#bytes -= this.#segmentBytes;
      for (const entry of oldest.entries) {
        this.#bytes -= ENTRY_OVERHEAD_BYTES + entry.key.length;
        if (this.#cached[entry.number] !== entry) continue;
        if (entry.referenced && spared > 0) {
          entry.referenced = false;
          entry.value = this.#copied(entry.value);
          this.#append(entry);
        } else {
          this.#remove(entry);
        }
      }
      spared -= 1;
      if (this.#poison) oldest.memory.fill(0xa5);
      if (this.#idle.length < IDLE_SEGMENTS) this.#idle.push(oldest.memory);
    }
  }

  #find(key: ByteString, hash: number): CachedEntry | undefined {
    const number = this.#index.find(key, hash);
    return number < 0 ? undefined : this.#cached[number];
  }

  #keep(key: ByteString, hash: number, entry: Entry): CachedEntry {
    const value = this.#copied(entry.value);
    const number = this.#index.add(key, hash);
    const cached = new CachedEntry(key, hash, number, entry, value);
    this.#cached[number] = cached;
    this.#append(cached);
    return cached;
  }

  #remove(entry: CachedEntry): void {
    this.#index.remove(entry.key, entry.hash);
    this.#cached[entry.number] = undefined;
  }

  /** A copy at the end of the newest segment, which `#append` then adds its entry to. */
  #copied(value: Uint8Array): Buffer {
    const length = value.length;
    let segment = this.#segments.at(-1);
    if (segment === undefined || segment.used + length > this.#segmentBytes) {
      segment = { memory: this.#idle.pop() ?? Buffer.allocUnsafeSlow(this.#segmentBytes), used: 0, entries: [] };
      this.#segments.push(segment);
      this.#bytes += this.#segmentBytes;
    }
    const from = segment.used;
    segment.used += length;
    segment.memory.set(value, from);
    return segment.memory.subarray(from, from + length);
  }

  #append(entry: CachedEntry): void {
    this.#segments.at(-1)?.entries.push(entry);
    this.#bytes += ENTRY_OVERHEAD_BYTES + entry.key.length;
  }
}
