/**
 * Single entries of tables in memory, for point reads. Keys that begin with a hash are hot one by one: a block of which one entry is hot
 * takes several times the memory of that entry, and holds cold ones with the rest.
 *
 * A log-structured cache (Yang et al., "Segcache", NSDI 2021): entries are copied to the end of the newest segment, and the oldest segment
 * is evicted whole, but for entries that were hit since they came: these are copied to the end once more.
 *
 * Invariants: for a key it holds what the newest table that knows the key has, or nothing; so whoever writes a key forgets it here, and
 * memtables are asked first. Segments go only in `trim`, which runs between turns of the loop: within a turn, what was found can be read.
 * Their memory is used again.
 */

import { Buffer } from 'node:buffer';
import type { ByteString } from '../../base/bytes.ts';
import type { Entry, EntryKind } from '../entry.ts';
import type { KeyHash } from '../sstable/bloom.ts';
import { hashKey } from '../sstable/bloom.ts';

const SEGMENT_LEAST_BYTES = 4096;
const SEGMENT_MOST_BYTES = 64 * 1024;
/** The budget has room for so many segments at least, where it is not tiny. */
const SEGMENTS_LEAST = 32;
/** What an entry costs beside its value and key: a Map slot, the object, the view of its value, the head of its key. */
const ENTRY_OVERHEAD_BYTES = 256;
/** Segments of which one `trim` keeps what was hit; it bounds what a trim copies. */
const SPARED_SEGMENTS = 4;
const IDLE_SEGMENTS = 2;
/** The places of the presence counts: one for each so many bytes of the budget. */
const PRESENCE_BYTES = 256;
const PRESENCE_MOST = 1 << 20;

class CachedEntry implements Entry {
  readonly key: ByteString;
  readonly kind: EntryKind;
  readonly expireAtMs: number;
  readonly gcTag: number;
  /** Its place in the presence counts. */
  readonly place: number;
  value: Buffer;
  /** Hit since it came to its segment. */
  referenced = false;

  constructor(key: ByteString, entry: Entry, place: number, value: Buffer) {
    this.key = key;
    this.place = place;
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
  readonly #index: Map<ByteString, CachedEntry> = new Map();
  /** How many keys of the index fall on each place by their hash, up to 255: most keys that are not here are told so without the index. */
  readonly #presence: Uint8Array;
  readonly #hash: KeyHash = { h1: 0, h2: 0 };
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
    let places = 256;
    while (places < PRESENCE_MOST && places * PRESENCE_BYTES < budget) places *= 2;
    this.#presence = new Uint8Array(places);
  }

  /** Bytes of segments and of what their entries cost beside. */
  get bytes(): number {
    return this.#bytes + this.#idle.length * this.#segmentBytes;
  }

  get size(): number {
    return this.#index.size;
  }

  /** The entry, by its key and that key's hash; its value aliases the cache until the end of the turn. */
  get(key: ByteString, hash: KeyHash): Entry | undefined {
    if (this.#presence[hash.h1 & (this.#presence.length - 1)] === 0) return undefined;
    const cached = this.#index.get(key);
    if (cached === undefined) return undefined;
    cached.referenced = true;
    this.hits += 1;
    return cached;
  }

  /** Keeps a copy, unless the value is so large that its block serves as well. */
  put(key: ByteString, entry: Entry): void {
    if (entry.value.length > this.#entryBytes) return;
    const place = hashKey(key, this.#hash).h1 & (this.#presence.length - 1);
    const cached = new CachedEntry(key, entry, place, this.#copied(entry.value));
    this.forget(key);
    this.#index.set(key, cached);
    const count = this.#presence[place] as number;
    if (count < 255) this.#presence[place] = count + 1;
    this.#append(cached);
  }

  /** The key is being written: who has it keeps the new entry, because it is wanted again when its memtable has gone to a table. */
  renew(key: ByteString, entry: Entry): void {
    if (this.#index.size === 0) return;
    const cached = this.#index.get(key);
    if (cached === undefined) return;
    if (entry.value.length > this.#entryBytes) {
      this.#remove(cached);
      return;
    }
    const renewed = new CachedEntry(key, entry, cached.place, this.#copied(entry.value));
    this.#index.set(key, renewed);
    this.#append(renewed);
  }

  /** The key is being written: what tables have for it is no longer the newest. */
  forget(key: ByteString): void {
    if (this.#index.size === 0) return;
    const cached = this.#index.get(key);
    if (cached !== undefined) this.#remove(cached);
  }

  /** Forgets everything. Its memory is not used again: whoever found an entry in this turn may still read it. */
  clear(): void {
    this.#index.clear();
    this.#presence.fill(0);
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
        if (this.#index.get(entry.key) !== entry) continue;
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

  #remove(entry: CachedEntry): void {
    this.#index.delete(entry.key);
    const count = this.#presence[entry.place] as number;
    // A full count has lost track, and stays.
    if (count < 255) this.#presence[entry.place] = count - 1;
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
