/**
 * The newest writes, in memory: records in slabs (see wal/frame.ts), and an index from key to the newest record of that key. Every record
 * links to the key's previous one, so that snapshots see what was there when they were taken.
 *
 * Invariants: slabs only grow, and what is written in them never changes (but links and heads before their frame is complete); the
 * index never loses a key. A reference is `slab number << 17 | offset / 8`; 0 is none, for a frame's head stands there.
 */

import { Buffer } from 'node:buffer';
import type { ByteString } from '../../base/bytes.ts';
import { KeyTable } from '../../base/key-table.ts';
import { CoterieError } from '../../base/errors.ts';
import type { Entry } from '../entry.ts';
import { KIND_REMOVAL, KIND_TOMBSTONE } from '../entry.ts';
import type { KeyRange } from '../key-range.ts';
import { contains } from '../key-range.ts';
import {
  FLAG_NO_END,
  FRAME_BATCH,
  FRAME_DROP,
  FRAME_HEAD_BYTES,
  FRAME_MARK,
  recordBytes,
  RECORD_HEAD_BYTES,
  sealFrame,
} from '../wal/frame.ts';
import type { KeyHash } from '../sstable/bloom.ts';
import { hashKey } from '../sstable/bloom.ts';
import type { WriteBatch } from '../write-batch.ts';
import type { Slab, SlabPool } from './slab.ts';
import { SLAB_BYTES } from './slab.ts';
import { SortedKeys } from './sorted-keys.ts';

const REF_SHIFT = 17;
const REF_MASK = (1 << REF_SHIFT) - 1;
/** What a key costs in the index beside its bytes: slots, places in two arrays and a string's head. */
const INDEX_ENTRY_BYTES = 64;
const SHORT_TEXT = 48;
/** Keys that a new memtable has room for. */
const KEYS_LEAST = 1024;
const SLABS_MOST = 1 << 14;

/** Keys dropped by a batch of this sequence: older records of them, here and below, are no longer there. */
export interface DroppedRange extends KeyRange {
  readonly order: number;
}

/** `removed`: the key is known not to be there, whatever older data says. */
export type Lookup = Entry | 'removed' | undefined;

interface SlabView {
  readonly slab: Slab;
  readonly bytes: Buffer;
  readonly words: Uint32Array;
  readonly floats: Float64Array;
}

export class Memtable {
  readonly sorted: SortedKeys;
  readonly drops: DroppedRange[] = [];
  /** The slabs in order; one of more than SLAB_BYTES stands once. */
  readonly slabs: Slab[] = [];
  /** The sequence before its first batch. */
  readonly base: number;
  /** Bytes of the index beside the slabs. */
  indexBytes = 0;
  /** Entries that a collection policy could be interested in were written. */
  collectable = false;
  records = 0;
  lastSequence: number;
  readonly #pool: SlabPool;
  readonly #index = new KeyTable();
  /** Of each key, by its number, the reference of its newest record. */
  #newest: Uint32Array = new Uint32Array(KEYS_LEAST);
  /** A bit for each hash that a key here has: most keys that are not here are told so without the index. */
  readonly #present: Uint8Array;
  readonly #hash: KeyHash = { h1: 0, h2: 0 };
  /** Indexed by slab number; a large slab takes one place for each SLAB_BYTES of it, each viewing the rest. */
  readonly #views: SlabView[] = [];
  /** Of all slabs, whole. */
  #slabBytes = 0;
  #current: SlabView | undefined;
  #currentNumber = 0;
  #leases = 1;

  constructor(pool: SlabPool, base: number) {
    this.#pool = pool;
    this.#present = new Uint8Array(pool.presenceBytes);
    this.base = base;
    this.lastSequence = base;
    this.sorted = new SortedKeys(this.#index.keys);
  }

  /** Every key of which there is a record, in the order they came. Only read them. */
  get keys(): readonly ByteString[] {
    return this.#index.keys;
  }

  get isEmpty(): boolean {
    return this.records === 0;
  }

  /** Slabs in use and index, in bytes: what counts against the budget. */
  get bytes(): number {
    const last = this.#current?.slab;
    if (last === undefined) return this.indexBytes;
    return this.#slabBytes - last.bytes.length + last.used + this.indexBytes;
  }

  /** Keeps the memory until the matching `release`. */
  lease(): void {
    this.#leases += 1;
  }

  release(): void {
    this.#leases -= 1;
    if (this.#leases > 0) return;
    this.#pool.giveBack(this.slabs);
    this.slabs.length = 0;
    this.#slabBytes = 0;
    this.#views.length = 0;
    this.#current = undefined;
    this.#index.clear();
  }

  /** @throws CoterieError PAIR_TOO_LARGE before any effect */
  append(batch: WriteBatch, sequence: number, synced: number): void {
    const count = batch.keys.length;
    let length = FRAME_HEAD_BYTES;
    for (let i = 0; i < count; i += 1) {
      length += recordBytes((batch.keys[i] as ByteString).length, (batch.values[i] as Uint8Array).length);
    }
    const view = this.#room(length);
    const frameAt = view.slab.used;
    let at = frameAt + FRAME_HEAD_BYTES;
    const order = sequence - this.base;
    for (let i = 0; i < count; i += 1) {
      const key = batch.keys[i] as ByteString;
      const value = batch.values[i] as Uint8Array;
      at = this.#enter(
        view,
        at,
        key,
        hashKey(key, this.#hash),
        value,
        batch.kinds[i] as number,
        order,
        batch.expiries[i] as number,
        batch.gcTags[i] as number,
      );
    }
    this.#seal(view, frameAt, length, count, sequence, synced);
  }

  /** A batch of one entry, of a key with this hash. @throws CoterieError PAIR_TOO_LARGE before any effect */
  put(
    key: ByteString,
    hash: KeyHash,
    value: Uint8Array,
    kind: number,
    expireAtMs: number,
    gcTag: number,
    sequence: number,
    synced: number,
  ): void {
    const length = FRAME_HEAD_BYTES + recordBytes(key.length, value.length);
    const view = this.#room(length);
    const frameAt = view.slab.used;
    this.#enter(view, frameAt + FRAME_HEAD_BYTES, key, hash, value, kind, sequence - this.base, expireAtMs, gcTag);
    this.#seal(view, frameAt, length, 1, sequence, synced);
  }

  drop(range: KeyRange, sequence: number, synced: number): void {
    const end = Buffer.from(range.to ?? '', 'latin1');
    const length = FRAME_HEAD_BYTES + recordBytes(range.from.length, end.length);
    const view = this.#room(length);
    const frameAt = view.slab.used;
    const order = sequence - this.base;
    this.#record(view, frameAt + FRAME_HEAD_BYTES, range.from, end, 0, range.to === undefined ? FLAG_NO_END : 0, order, 0, 0, 0);
    sealFrame(view.bytes, view.words, frameAt, length, FRAME_DROP, 1, sequence, synced);
    view.slab.used = frameAt + length;
    this.drops.push({ from: range.from, to: range.to, order });
    this.lastSequence = sequence;
    this.records += 1;
  }

  /** A frame that only carries the synced length. */
  mark(sequence: number, synced: number): void {
    const view = this.#room(FRAME_HEAD_BYTES);
    const frameAt = view.slab.used;
    sealFrame(view.bytes, view.words, frameAt, FRAME_HEAD_BYTES, FRAME_MARK, 0, sequence, synced);
    view.slab.used = frameAt + FRAME_HEAD_BYTES;
  }

  /** False where `get` of the key with this hash answers undefined, whatever the sequence. */
  mayHave({ h1 }: KeyHash): boolean {
    const present = this.#present;
    return ((present[(h1 >>> 3) & (present.length - 1)] as number) & (1 << (h1 & 7))) !== 0 || this.drops.length > 0;
  }

  /** Whether there is any record of the key. */
  has(key: ByteString): boolean {
    return this.#index.find(key, hashKey(key, this.#hash).h1) >= 0;
  }

  /** The key as of sequence `upTo`. The entry's value is a view, until the turn ends or the memtable is released: slabs are reused. */
  get(key: ByteString, upTo: number, hash: KeyHash = hashKey(key, this.#hash)): Lookup {
    const number = this.#index.find(key, hash.h1);
    let reference = number < 0 ? 0 : (this.#newest[number] as number);
    const newest = upTo - this.base;
    while (reference !== 0) {
      const view = this.#views[reference >>> REF_SHIFT] as SlabView;
      const offset: number = (reference & REF_MASK) << 3;
      const word: number = offset >>> 2;
      const order = view.words[word + 3] as number;
      if (order <= newest) {
        if (this.drops.length > 0 && this.#droppedSince(key, order, newest)) return 'removed';
        return this.#entry(view, offset);
      }
      reference = view.words[word] as number;
    }
    if (this.drops.length > 0 && this.#droppedSince(key, -1, newest)) return 'removed';
    return undefined;
  }

  #droppedSince(key: ByteString, order: number, newest: number): boolean {
    for (const drop of this.drops) if (drop.order > order && drop.order <= newest && contains(drop, key)) return true;
    return false;
  }

  #entry(view: SlabView, offset: number): Entry | 'removed' {
    const word = offset >>> 2;
    const meta = view.words[word + 2] as number;
    const kind = (meta >>> 16) & 0xff;
    if (kind === KIND_REMOVAL) return 'removed';
    const from = offset + RECORD_HEAD_BYTES + (meta & 0xffff);
    const value = view.bytes.subarray(from, from + (view.words[word + 1] as number));
    const float = offset >>> 3;
    return {
      kind: kind === KIND_TOMBSTONE ? 'tombstone' : 'value',
      expireAtMs: view.floats[float + 2] as number,
      gcTag: view.floats[float + 3] as number,
      value,
    };
  }

  /** Writes an entry's record and puts it into the index; answers where the next record goes. */
  #enter(
    view: SlabView,
    at: number,
    key: ByteString,
    { h1 }: KeyHash,
    value: Uint8Array,
    kind: number,
    order: number,
    expireAtMs: number,
    gcTag: number,
  ): number {
    let number = this.#index.find(key, h1);
    const previous = number < 0 ? 0 : (this.#newest[number] as number);
    const next = this.#record(view, at, key, value, kind, 0, order, expireAtMs, gcTag, previous);
    if (number < 0) number = this.#newKey(key, h1);
    if (expireAtMs !== 0 || kind === KIND_TOMBSTONE) this.collectable = true;
    this.#newest[number] = this.#reference(at);
    return next;
  }

  #newKey(key: ByteString, h1: number): number {
    this.indexBytes += key.length + INDEX_ENTRY_BYTES;
    const present = this.#present;
    const place = (h1 >>> 3) & (present.length - 1);
    present[place] = (present[place] as number) | (1 << (h1 & 7));
    const number = this.#index.add(key, h1);
    if (number === this.#newest.length) {
      const larger = new Uint32Array(2 * number);
      larger.set(this.#newest);
      this.#newest = larger;
    }
    return number;
  }

  #seal(view: SlabView, at: number, length: number, count: number, sequence: number, synced: number): void {
    sealFrame(view.bytes, view.words, at, length, FRAME_BATCH, count, sequence, synced);
    view.slab.used = at + length;
    this.lastSequence = sequence;
    this.records += count;
  }

  #record(
    view: SlabView,
    at: number,
    key: ByteString,
    value: Uint8Array,
    kind: number,
    flags: number,
    order: number,
    expireAtMs: number,
    gcTag: number,
    link: number,
  ): number {
    const { bytes, words, floats } = view;
    const word = at >>> 2;
    const keyLength = key.length;
    words[word] = link;
    words[word + 1] = value.length;
    words[word + 2] = keyLength | (kind << 16) | (flags << 24);
    words[word + 3] = order;
    floats[(at >>> 3) + 2] = expireAtMs;
    floats[(at >>> 3) + 3] = gcTag;
    let position = at + RECORD_HEAD_BYTES;
    if (keyLength <= SHORT_TEXT) {
      for (let i = 0; i < keyLength; i += 1) bytes[position + i] = key.charCodeAt(i);
    } else {
      bytes.write(key, position, 'latin1');
    }
    position += keyLength;
    bytes.set(value, position);
    position += value.length;
    const next = at + recordBytes(keyLength, value.length);
    while (position < next) {
      bytes[position] = 0;
      position += 1;
    }
    return next;
  }

  #reference(at: number): number {
    return (this.#currentNumber + (at >>> 20)) * (1 << REF_SHIFT) + ((at & (SLAB_BYTES - 1)) >>> 3);
  }

  #room(length: number): SlabView {
    const current = this.#current;
    if (current !== undefined && current.slab.used + length <= current.slab.bytes.length) return current;
    if (this.#views.length + Math.ceil(length / SLAB_BYTES) > SLABS_MOST) {
      throw new CoterieError('PAIR_TOO_LARGE', 'the batch is too large', { outcome: 'none' });
    }
    const slab = this.#pool.take(length);
    this.slabs.push(slab);
    this.#slabBytes += slab.bytes.length;
    const number = this.#views.length;
    for (let at = 0; at < slab.bytes.length; at += SLAB_BYTES) {
      this.#views.push(
        at === 0
          ? { slab, bytes: slab.bytes, words: slab.words, floats: slab.floats }
          : { slab, bytes: slab.bytes.subarray(at), words: slab.words.subarray(at >>> 2), floats: slab.floats.subarray(at >>> 3) },
      );
    }
    const view = this.#views[number] as SlabView;
    this.#current = view;
    this.#currentNumber = number;
    return view;
  }
}
