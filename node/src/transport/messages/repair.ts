/** Comparing and refilling replicas (proto/repair.proto). */

import { type ByteString, fromByteString, toByteString } from '../../base/bytes.ts';
import { CoterieError } from '../../base/errors.ts';
import { coterie, decodeWire } from '../wire.ts';
import { diskKey, madeUnder } from './replica.ts';

const { TreeRootsRequest, TreeNodesRequest, TreeHashes, LeafItemsRequest, LeafItemsReply, FetchRequest, FetchReply, MissedRequest } =
  coterie.repair;

const HASH_BYTES = 8;
/** Bounds on what one request may ask for. */
export const MOST_ROOTS = 4096;
export const MOST_NODES = 256;
export const MOST_ITEMS = 4096;
export const MOST_FETCHED = 256;

/** One node of a hash tree, as in cluster/repair/hash-trees.ts. */
export interface WireHash {
  readonly hi: number;
  readonly lo: number;
  readonly known: boolean;
}

export interface HashesAnswer {
  readonly hashes: readonly WireHash[];
  readonly sound: boolean;
}

export interface NodesQuestion {
  readonly partition: number;
  readonly level: number;
  readonly indexes: readonly number[];
}

export interface ItemsQuestion {
  readonly partition: number;
  /** Disk key, inclusive. */
  readonly from: ByteString;
  /** Exclusive; `''` for the partition's end. */
  readonly to: ByteString;
  readonly limit: number;
}

export interface WireItem {
  readonly key: ByteString;
  readonly digest: ByteString;
}

export interface ItemsAnswer {
  readonly items: readonly WireItem[];
  /** Complete up to here, exclusive; `''` for all that was asked. */
  readonly end: ByteString;
}

export interface FetchedEntry {
  readonly key: ByteString;
  /** Decoded, it aliases the payload. */
  readonly object: Uint8Array;
}

export interface FetchAnswer {
  readonly objects: readonly FetchedEntry[];
  readonly looked: number;
  /** The oldest generation of their partitions when they were read. */
  readonly generation: number;
}

const NOTHING = new Uint8Array(0);

function bounded<T>(list: readonly T[], most: number, what: string): readonly T[] {
  if (list.length > most) throw new CoterieError('FRAME_INVALID', `at most ${String(most)} ${what} may be asked for at once`);
  return list;
}

export function encodeRootsQuestion(partitions: readonly number[]): Uint8Array {
  return TreeRootsRequest.encode({ partitions: [...partitions] }).finish();
}

/** @throws CoterieError FRAME_INVALID */
export function decodeRootsQuestion(payload: Uint8Array): readonly number[] {
  return bounded(decodeWire(TreeRootsRequest, payload).partitions, MOST_ROOTS, 'roots');
}

export function encodeNodesQuestion({ partition, level, indexes }: NodesQuestion): Uint8Array {
  return TreeNodesRequest.encode({ partition, level, indexes: [...indexes] }).finish();
}

/** @throws CoterieError FRAME_INVALID */
export function decodeNodesQuestion(payload: Uint8Array): NodesQuestion {
  const { partition, level, indexes } = decodeWire(TreeNodesRequest, payload);
  if (level > 2 || indexes.some((index) => index >= MOST_NODES)) throw new CoterieError('FRAME_INVALID', 'a tree has no such node');
  return { partition, level, indexes: bounded(indexes, MOST_NODES, 'nodes') };
}

export function encodeHashes({ hashes, sound }: HashesAnswer): Uint8Array {
  const bytes = new Uint8Array(hashes.length * HASH_BYTES);
  const view = new DataView(bytes.buffer);
  for (const [at, { hi, lo }] of hashes.entries()) {
    view.setUint32(at * HASH_BYTES, hi);
    view.setUint32(at * HASH_BYTES + 4, lo);
  }
  return TreeHashes.encode({ hashes: bytes, known: Uint8Array.from(hashes, ({ known }) => (known ? 1 : 0)), sound }).finish();
}

/** @throws CoterieError FRAME_INVALID where there are not `count` */
export function decodeHashes(payload: Uint8Array, count: number): HashesAnswer {
  const { hashes, known, sound } = decodeWire(TreeHashes, payload);
  if (known.length !== count || hashes.length !== count * HASH_BYTES) {
    throw new CoterieError('FRAME_INVALID', 'an answer has a hash for each node asked for');
  }
  const view = new DataView(hashes.buffer, hashes.byteOffset, hashes.length);
  const list = Array.from(known, (one, at) => ({
    hi: view.getUint32(at * HASH_BYTES),
    lo: view.getUint32(at * HASH_BYTES + 4),
    known: one === 1,
  }));
  return { hashes: list, sound };
}

export function encodeItemsQuestion({ partition, from, to, limit }: ItemsQuestion): Uint8Array {
  return LeafItemsRequest.encode({ partition, from: fromByteString(from), to: fromByteString(to), limit }).finish();
}

/** @throws CoterieError FRAME_INVALID */
export function decodeItemsQuestion(payload: Uint8Array): ItemsQuestion {
  const { partition, from, to, limit } = decodeWire(LeafItemsRequest, payload);
  return { partition, from: toByteString(from), to: toByteString(to), limit: Math.min(Math.max(1, limit), MOST_ITEMS) };
}

export function encodeItems({ items, end }: ItemsAnswer): Uint8Array {
  const list = items.map(({ key, digest }) => ({ key: fromByteString(key), digest: fromByteString(digest) }));
  return LeafItemsReply.encode({ items: list, end: fromByteString(end) }).finish();
}

/** @throws CoterieError FRAME_INVALID */
export function decodeItems(payload: Uint8Array): ItemsAnswer {
  const { items, end } = decodeWire(LeafItemsReply, payload);
  const list = items.map(({ key, digest }) => ({ key: diskKey(key ?? NOTHING), digest: toByteString(digest ?? NOTHING) }));
  for (let at = 1; at < list.length; at += 1) {
    if ((list[at]?.key ?? '') <= (list[at - 1]?.key ?? '')) {
      throw new CoterieError('FRAME_INVALID', 'items come in the order of their keys');
    }
  }
  return { items: list, end: toByteString(end) };
}

export function encodeFetchQuestion(keys: readonly ByteString[]): Uint8Array {
  return FetchRequest.encode({ keys: keys.map(fromByteString) }).finish();
}

/** @throws CoterieError FRAME_INVALID */
export function decodeFetchQuestion(payload: Uint8Array): readonly ByteString[] {
  return bounded(decodeWire(FetchRequest, payload).keys, MOST_FETCHED, 'objects').map(diskKey);
}

export function encodeFetchAnswer({ objects, looked, generation }: FetchAnswer): Uint8Array {
  return FetchReply.encode({
    objects: objects.map(({ key, object }) => ({ key: fromByteString(key), object })),
    looked,
    generation,
  }).finish();
}

/** @throws CoterieError FRAME_INVALID */
export function decodeFetchAnswer(payload: Uint8Array): FetchAnswer {
  const { objects, looked, generation } = decodeWire(FetchReply, payload);
  const list = objects.map(({ key, object }) => ({ key: diskKey(key ?? NOTHING), object: object ?? NOTHING }));
  return { objects: list, looked, generation: madeUnder(generation) };
}

/** A primary that has missed writes. */
export interface Missed {
  readonly partition: number;
  /** Its position in the partition's replica list. */
  readonly slot: number;
}

export function encodeMissed({ partition, slot }: Missed): Uint8Array {
  return MissedRequest.encode({ partition, slot }).finish();
}

/** @throws CoterieError FRAME_INVALID */
export function decodeMissed(payload: Uint8Array): Missed {
  const { partition, slot } = decodeWire(MissedRequest, payload);
  return { partition, slot };
}
