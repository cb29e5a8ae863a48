/**
 * The hash trees of the partitions that a store is a primary of (Merkle trees, as in Dynamo, section 4.7), for finding what two replicas differ in.
 *
 * A leaf is the XOR, over the keys in its range of tokens, of a 64-bit hash of the key's token and its object's digest (the canonical clock: see
 * versioning/digest.ts). So a write changes it by its old hash and its new one, in any order and without reading anything else. An inner node is
 * the XOR of its leaves, computed when asked for. XOR is weaker than a hash of hashes only against somebody who chooses what is hashed and knows
 * the key of the hash (Bellare and Micciancio, 1997); it is drawn from the topology's token seed, which clients do not see.
 *
 * Which entries are in the hash: every one that the store holds, expired values and tombstones too, until they are collected. Whoever collects takes
 * an entry out by `replace(key, before, undefined)`: tombstones when their partition's generation makes them collectable on every replica, not when
 * this store gets round to it, so that replicas which collect at different times do not differ.
 *
 * Invariants:
 * - A leaf that is not flagged is exactly the XOR over the content of the store after its last write.
 * - A flagged leaf is *unknown*: it equals nothing, and counts as neither equal nor different. UNBUILT ones are to be computed by a scan; DAMAGED
 *   ones lie where the store has lost what it held, and stay unknown until that is there again: damage never looks like agreement.
 */

import type { ByteString } from '../../base/bytes.ts';
import type { Hash64, HashKey } from '../../base/hash.ts';
import { halfSipHash64Bytes } from '../../base/hash.ts';
import type { PartitionId } from '../../base/ids.ts';
import { partitionOfDiskKey, type TokenSpace } from '../ring/token.ts';
import { readU32, writeU32 } from '../versioning/fields.ts';
import { AT_DIGEST } from '../versioning/layout.ts';
import { FANOUT, LEAVES, leafOfDiskKey } from './tree-shape.ts';

/** A node of a tree as it is compared. */
export interface NodeHash {
  readonly hi: number;
  readonly lo: number;
  /** False: there is nothing to compare. */
  readonly known: boolean;
}

/** Why a leaf is unknown, as bits. */
export const UNBUILT = 1;
export const DAMAGED = 2;

const WORDS = 2 * LEAVES;
/** What tells the key of this hash from the one of the tokens. */
const TWEAK = 0x6d65726b;

export class HashTrees {
  /** The partitions, ascending. */
  readonly partitions: readonly PartitionId[];
  /** Two words a leaf, high one first, LEAVES of them a partition, in the order of `partitions`. */
  readonly words: Uint32Array;
  /** One byte a leaf: why it is unknown; 0 where it is known. */
  readonly flags: Uint8Array;
  readonly space: TokenSpace;
  /** Raised when a leaf is flagged: what was computed before says nothing of it. By place. */
  readonly #marks: Uint32Array;
  readonly #places: ReadonlyMap<number, number>;
  readonly #key: HashKey;
  readonly #bytes = new Uint8Array(16);
  readonly #hash: Hash64 = { hi: 0, lo: 0 };
  #unknown: number;

  /** All leaves are UNBUILT at first. */
  constructor(space: TokenSpace, partitions: readonly PartitionId[]) {
    this.space = space;
    this.partitions = [...partitions].sort((a, b) => a - b);
    this.#places = new Map(this.partitions.map((partition, place) => [partition, place]));
    this.#key = { k0: (space.key.k0 ^ TWEAK) >>> 0, k1: (space.key.k1 ^ TWEAK) >>> 0 };
    this.words = new Uint32Array(this.partitions.length * WORDS);
    this.flags = new Uint8Array(this.partitions.length * LEAVES).fill(UNBUILT);
    this.#marks = new Uint32Array(this.partitions.length);
    this.#unknown = this.flags.length;
  }

  /** Leaves that are unknown now. */
  get unknown(): number {
    return this.#unknown;
  }

  /** The partition's place among `partitions`; -1 where this store is no primary of it. */
  placeOf(partition: number): number {
    return this.#places.get(partition) ?? -1;
  }

  /** A copy changed: `before` and `after` are encoded objects, undefined where there is none. */
  replace(diskKey: ByteString, before: Uint8Array | undefined, after: Uint8Array | undefined): void {
    const place = this.placeOf(partitionOfDiskKey({ tokenSpace: this.space }, diskKey));
    if (place < 0) return;
    const word = place * WORDS + 2 * leafOfDiskKey(this.space, diskKey);
    if (before !== undefined) this.#toggle(this.words, word, diskKey, before);
    if (after !== undefined) this.#toggle(this.words, word, diskKey, after);
  }

  /** XORs one entry into the leaves of a scan: two words a leaf, of the entry's partition only. */
  addTo(leaves: Uint32Array, diskKey: ByteString, object: Uint8Array): void {
    this.#toggle(leaves, 2 * leafOfDiskKey(this.space, diskKey), diskKey, object);
  }

  /** The node at `level` (0: root, 1: inner, 2: leaf) and `index` of a partition, unknown where this store does not hold it. */
  node(partition: number, level: number, index: number): NodeHash {
    const place = this.placeOf(partition);
    if (place < 0) return UNKNOWN_NODE;
    const span = level === 0 ? LEAVES : level === 1 ? LEAVES / FANOUT : 1;
    const first = place * LEAVES + index * span;
    let hi = 0;
    let lo = 0;
    let flags = 0;
    for (let leaf = first; leaf < first + span; leaf += 1) {
      hi ^= this.words[2 * leaf] ?? 0;
      lo ^= this.words[2 * leaf + 1] ?? 0;
      flags |= this.flags[leaf] ?? 0;
    }
    return { hi: hi >>> 0, lo: lo >>> 0, known: flags === 0 };
  }

  /** Leaves `first` to `last` are to be computed anew. */
  forget(partition: number, first: number, last: number): void {
    const place = this.placeOf(partition);
    if (place < 0) return;
    this.#marks[place] = (this.#marks[place] ?? 0) + 1;
    for (let leaf = place * LEAVES + first; leaf <= place * LEAVES + last; leaf += 1) {
      if (this.flags[leaf] === 0) this.#unknown += 1;
      this.flags[leaf] = (this.flags[leaf] ?? 0) | UNBUILT;
    }
  }

  /** The first run of neighbouring leaves that are to be computed and not damaged, from a partition's place on; undefined: there is none. */
  nextUnbuilt(fromPlace = 0): { readonly partition: PartitionId; readonly first: number; readonly last: number } | undefined {
    for (let place = fromPlace; place < this.partitions.length && this.#unknown > 0; place += 1) {
      const base = place * LEAVES;
      let first = 0;
      while (first < LEAVES && this.flags[base + first] !== UNBUILT) first += 1;
      if (first === LEAVES) continue;
      let last = first;
      while (last + 1 < LEAVES && this.flags[base + last + 1] === UNBUILT) last += 1;
      return { partition: this.partitions[place] as PartitionId, first, last };
    }
    return undefined;
  }

  /** Takes over where the store has lost content now, a byte a leaf: what is no longer damaged is to be computed. */
  setDamaged(damaged: Uint8Array): void {
    for (let leaf = 0; leaf < damaged.length; leaf += 1) {
      const was = this.flags[leaf] ?? 0;
      const is = damaged[leaf] !== 0;
      if (is === ((was & DAMAGED) !== 0)) continue;
      if (was === 0) this.#unknown += 1;
      this.flags[leaf] = is ? was | DAMAGED : UNBUILT;
      const place = Math.floor(leaf / LEAVES);
      this.#marks[place] = (this.#marks[place] ?? 0) + 1;
    }
  }

  /** What a scan must remember of the moment it began: the partition's leaves, and its marks. */
  beginScan(partition: number): { readonly words: Uint32Array; readonly mark: number } {
    const place = this.placeOf(partition);
    return { words: this.words.slice(place * WORDS, (place + 1) * WORDS), mark: this.#marks[place] ?? 0 };
  }

  /**
   * Leaves `first` to `last` were scanned whole, as they were when `begun` was taken. Whatever was written since has changed the leaf in the same
   * way, so that what differs is what was wrong then.
   *
   * @returns how many leaves that were said to be known were wrong
   */
  endScan(
    partition: number,
    begun: { readonly words: Uint32Array; readonly mark: number },
    found: Uint32Array,
    first: number,
    last: number,
  ): number {
    const place = this.placeOf(partition);
    let wrong = 0;
    for (let leaf = first; leaf <= last; leaf += 1) {
      const at = place * LEAVES + leaf;
      const hi = (begun.words[2 * leaf] ?? 0) ^ (found[2 * leaf] ?? 0);
      const lo = (begun.words[2 * leaf + 1] ?? 0) ^ (found[2 * leaf + 1] ?? 0);
      if ((hi !== 0 || lo !== 0) && this.flags[at] === 0) wrong += 1;
      this.words[2 * at] = (this.words[2 * at] ?? 0) ^ hi;
      this.words[2 * at + 1] = (this.words[2 * at + 1] ?? 0) ^ lo;
      if (this.flags[at] !== 0 && this.#marks[place] === begun.mark) {
        this.flags[at] = 0;
        this.#unknown -= 1;
      }
    }
    return wrong;
  }

  /** XORs other trees of the same partitions in: a checkpoint into the changes since. Its flags come with `adoptFlags`, when nothing is missing. */
  absorb(words: Uint32Array): void {
    for (let at = 0; at < words.length; at += 1) this.words[at] = (this.words[at] ?? 0) ^ (words[at] ?? 0);
  }

  /** Leaves are unknown where `flags` says so, or where damage was met meanwhile. */
  adoptFlags(flags: Uint8Array): void {
    this.#unknown = 0;
    for (let leaf = 0; leaf < flags.length; leaf += 1) {
      this.flags[leaf] = (flags[leaf] ?? 0) | ((this.flags[leaf] ?? 0) & DAMAGED);
      if (this.flags[leaf] !== 0) this.#unknown += 1;
    }
  }

  #toggle(words: Uint32Array, word: number, diskKey: ByteString, object: Uint8Array): void {
    const bytes = this.#bytes;
    for (let i = 0; i < 8; i += 1) bytes[i] = diskKey.charCodeAt(i);
    writeU32(bytes, 8, readU32(object, AT_DIGEST));
    writeU32(bytes, 12, readU32(object, AT_DIGEST + 4));
    halfSipHash64Bytes(this.#key, bytes, 0, 16, this.#hash);
    words[word] = (words[word] ?? 0) ^ this.#hash.hi;
    words[word + 1] = (words[word + 1] ?? 0) ^ this.#hash.lo;
  }
}

export const UNKNOWN_NODE: NodeHash = { hi: 0, lo: 0, known: false };

/** Whether both are known, and differ. */
export function differ(a: NodeHash, b: NodeHash): boolean {
  return a.known && b.known && (a.hi !== b.hi || a.lo !== b.lo);
}
