/**
 * One partition compared between this store and one other replica: from the root down to the leaves that differ, from their lists of keys and
 * digests to the objects that differ, which then travel, both ways where need be, and are merged.
 *
 * It can be given up at any moment and begun anew: what was moved does not differ any more. What it holds is bounded by one page of a leaf's keys.
 *
 * Invariants:
 * - One question at a time is under way.
 * - `done` or `fail` is called once. `done('equal')` and `done('repaired')` only if nothing was unknown: all that differed when it was looked at has
 *   been merged on both sides.
 * - Only keys whose digests differ, or that one side lacks, are moved.
 */

import type { ByteString } from '../../base/bytes.ts';
import type { ErrorCode } from '../../base/errors.ts';
import { unreachable } from '../../base/errors.ts';
import type { PartitionId } from '../../base/ids.ts';
import type { TokenSpace } from '../ring/token.ts';
import { differ, type NodeHash } from './hash-trees.ts';
import { FANOUT, leafRange, LEAVES } from './tree-shape.ts';

/** A key that a replica holds, by its disk key, and the digest of its object. */
export interface LeafItem {
  readonly key: ByteString;
  readonly digest: ByteString;
}

export type ComparisonEvent =
  /** With the other replica's root. */
  | { readonly kind: 'start'; readonly root: NodeHash }
  /** The other's nodes, in the order asked. */
  | { readonly kind: 'nodes'; readonly hashes: readonly NodeHash[] }
  /** What both hold from where was asked up to `end` (exclusive; undefined: to where was asked), in the order of keys. */
  | {
      readonly kind: 'items';
      readonly own: readonly LeafItem[];
      readonly theirs: readonly LeafItem[];
      readonly end: ByteString | undefined;
    }
  /** What was to be moved is merged, durably. */
  | { readonly kind: 'moved' }
  | { readonly kind: 'failed'; readonly code: ErrorCode };

export type ComparisonResult =
  | 'equal'
  | 'repaired'
  /** Some of it could not be compared: the other replica, or this one, does not know what it holds there. */
  | 'unknown';

export interface ComparisonOut {
  /** This store's node. */
  own(level: number, index: number): NodeHash;
  askNodes(level: number, indexes: readonly number[]): void;
  /** Ask the other for a page of its items from `from` on, below `to`, and read the same of this store. */
  askItems(from: ByteString, to: ByteString | undefined): void;
  /** Merge the other's objects of `fetch` here, and this store's of `send` there. */
  move(fetch: readonly ByteString[], send: readonly ByteString[]): void;
  done(result: ComparisonResult): void;
  fail(code: ErrorCode): void;
}

export interface ComparisonState {
  readonly partition: PartitionId;
  readonly space: TokenSpace;
  /** Inner nodes to be looked into, and the one whose leaves were asked for. */
  inner: number[];
  leaves: number[];
  asked: readonly number[];
  level: number;
  range: { readonly from: ByteString; readonly to: ByteString | undefined } | undefined;
  fetch: ByteString[];
  send: ByteString[];
  unknown: boolean;
  /** Keys moved, counted once for each direction. */
  moved: number;
  /** Leaves whose items were listed. */
  listed: number;
  ended: boolean;
}

/** Keys moved at a time, in each direction. */
export const MOVE_KEYS = 64;

export function newComparison(space: TokenSpace, partition: PartitionId): ComparisonState {
  return {
    partition,
    space,
    inner: [],
    leaves: [],
    asked: [],
    level: 0,
    range: undefined,
    fetch: [],
    send: [],
    unknown: false,
    moved: 0,
    listed: 0,
    ended: false,
  };
}

export function comparisonStep(state: ComparisonState, event: ComparisonEvent, out: ComparisonOut): void {
  if (state.ended) return;
  switch (event.kind) {
    case 'start': {
      const own = out.own(0, 0);
      if (own.known && event.root.known && !differ(own, event.root)) break;
      ask(state, 1, sequence(0, FANOUT), out);
      return;
    }
    case 'nodes':
      compareNodes(state, event.hashes, out);
      break;
    case 'items':
      compareItems(state, event.own, event.theirs);
      state.range = event.end === undefined || state.range === undefined ? undefined : { from: event.end, to: state.range.to };
      break;
    case 'moved':
      break;
    case 'failed':
      state.ended = true;
      out.fail(event.code);
      return;
    default:
      unreachable(event);
  }
  advance(state, out);
}

function sequence(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, at) => first + at);
}

function ask(state: ComparisonState, level: number, indexes: readonly number[], out: ComparisonOut): void {
  state.level = level;
  state.asked = indexes;
  out.askNodes(level, indexes);
}

function compareNodes(state: ComparisonState, hashes: readonly NodeHash[], out: ComparisonOut): void {
  let unknown = 0;
  for (const [at, index] of state.asked.entries()) {
    const theirs = hashes[at];
    const own = out.own(state.level, index);
    const known = theirs?.known === true && own.known;
    if (!known) unknown += 1;
    if (known && !differ(own, theirs)) continue;
    if (state.level === 1) state.inner.push(index);
    else if (known) state.leaves.push(index);
    else state.unknown = true;
  }
  // One of the two knows nothing at all: it is not asked for each of its leaves.
  if (state.level !== 1 || unknown < state.asked.length) return;
  state.inner = [];
  state.unknown = true;
}

function compareItems(state: ComparisonState, own: readonly LeafItem[], theirs: readonly LeafItem[]): void {
  let mine = 0;
  let other = 0;
  while (mine < own.length || other < theirs.length) {
    const a = own[mine];
    const b = theirs[other];
    if (b === undefined || (a !== undefined && a.key < b.key)) {
      if (a !== undefined) state.send.push(a.key);
      mine += 1;
    } else if (a === undefined || b.key < a.key) {
      state.fetch.push(b.key);
      other += 1;
    } else {
      if (a.digest !== b.digest) {
        // Neither digest tells which holds more: both merge.
        state.fetch.push(b.key);
        state.send.push(a.key);
      }
      mine += 1;
      other += 1;
    }
  }
}

function advance(state: ComparisonState, out: ComparisonOut): void {
  if (state.fetch.length > 0 || state.send.length > 0) {
    const fetch = state.fetch.splice(0, MOVE_KEYS);
    // First what comes, so that what goes is merged already.
    const send = fetch.length > 0 ? [] : state.send.splice(0, MOVE_KEYS);
    state.moved += fetch.length + send.length;
    out.move(fetch, send);
    return;
  }
  if (state.range !== undefined) {
    out.askItems(state.range.from, state.range.to);
    return;
  }
  const first = state.leaves.shift();
  if (first !== undefined) {
    let last = first;
    // Neighbours are one range.
    while (state.leaves[0] === last + 1) last = state.leaves.shift() ?? last;
    state.listed += last - first + 1;
    state.range = leafRange(state.space, state.partition, first, last);
    out.askItems(state.range.from, state.range.to);
    return;
  }
  const inner = state.inner.shift();
  if (inner !== undefined) {
    const span = LEAVES / FANOUT;
    ask(state, 2, sequence(inner * span, span), out);
    return;
  }
  state.ended = true;
  out.done(state.unknown ? 'unknown' : state.moved > 0 ? 'repaired' : 'equal');
}
