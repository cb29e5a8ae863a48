/**
 * How a blank or rewound store earns its place in quorums: by copying its partitions from the other primaries.
 *
 * A *walk* is a copy, in token order, of everything that one other store (the source) holds of the partitions it shares with this one. A walk
 * is *full* when its source was synchronised all the way.
 *
 * The rule, per partition: full walks of min(N-1, N-W+1) other primaries, W being the lowest W of any bucket; or, where that many synchronised
 * stores do not exist (a new cluster), walks of all N-1 others. Every acknowledged write is on W primaries, so among N-W+1 others (or all of them) at
 * least one has it besides this store.
 */

import type { ByteString } from '../../base/bytes.ts';
import { fromHex, toByteString } from '../../base/bytes.ts';
import { type StoreId, storeId } from '../../base/ids.ts';

/** One walk. */
export interface Walk {
  /** The source's store: the walk of a slot whose store was replaced begins anew. */
  readonly storeId: StoreId;
  /** Disk key, hexadecimal, up to which (exclusive) everything was copied. */
  readonly cursor: string;
  readonly done: boolean;
  /** The source was synchronised in every answer so far. */
  readonly full: boolean;
}

/** All walks by the source's member name. */
export interface CopyProgress {
  readonly sources: Readonly<Record<string, Walk>>;
}

export interface Neighbours {
  /** This member's index. */
  readonly self: number;
  readonly names: readonly string[];
  /** Replica lists of the partitions that this member is a primary of. */
  readonly partitions: readonly (readonly number[])[];
  readonly n: number;
  /** The lowest W of any bucket. */
  readonly w: number;
}

export interface SynchronisationState {
  readonly synchronised: boolean;
  readonly partitionsDone: number;
  /** Member names still to be walked, or to be walked again because they were not synchronised then. Sorted. */
  readonly missing: readonly string[];
}

/** Whether the walks done suffice. */
export function judgeProgress(progress: CopyProgress, near: Neighbours): SynchronisationState {
  const fullNeeded = Math.min(near.n - 1, near.n - near.w + 1);
  const missing = new Set<string>();
  let partitionsDone = 0;
  for (const replicas of near.partitions) {
    let full = 0;
    let walked = 0;
    for (const member of replicas) {
      const walk = member === near.self ? undefined : progress.sources[near.names[member] ?? ''];
      if (walk?.done !== true) continue;
      walked += 1;
      if (walk.full) full += 1;
    }
    if (full >= fullNeeded || walked >= near.n - 1) {
      partitionsDone += 1;
      continue;
    }
    for (const member of replicas) {
      const name = near.names[member] ?? '';
      const walk = progress.sources[name];
      if (member !== near.self && (walk?.done !== true || !walk.full)) missing.add(name);
    }
  }
  return { synchronised: partitionsDone === near.partitions.length, partitionsDone, missing: [...missing].sort() };
}

/** The walk of `source` to go on with: the one begun, or a new one where its store changed or it was done but not full. */
export function resumeWalk(progress: CopyProgress, source: string, store: StoreId): Walk {
  const walk = progress.sources[source];
  if (walk === undefined || walk.storeId !== store || (walk.done && !walk.full)) {
    return { storeId: store, cursor: '', done: false, full: true };
  }
  return walk;
}

/** The progress after `source` answered everything from the walk's cursor up to `next` (`undefined`: to the end). */
export function advanceWalk(
  progress: CopyProgress,
  source: string,
  walk: Walk,
  next: string | undefined,
  sourceSynchronised: boolean,
): CopyProgress {
  const cursor = next ?? walk.cursor;
  const moved: Walk = { ...walk, cursor, done: next === undefined, full: walk.full && sourceSynchronised };
  return { sources: { ...progress.sources, [source]: moved } };
}

/** The walk's cursor as a disk key. */
export function walkPosition(walk: Walk): ByteString {
  return toByteString(fromHex(walk.cursor) ?? new Uint8Array(0));
}

export function parseProgress(value: unknown, damaged: (what: string) => Error): CopyProgress {
  if (typeof value !== 'object' || value === null || !('sources' in value)) throw damaged('progress is missing');
  const sources: Record<string, Walk> = {};
  for (const [name, walk] of Object.entries(value.sources as Record<string, Partial<Record<keyof Walk, unknown>>>)) {
    const { cursor, done, full } = walk;
    if (typeof cursor !== 'string' || fromHex(cursor) === undefined || typeof done !== 'boolean' || typeof full !== 'boolean') {
      throw damaged('a walk is broken');
    }
    sources[name] = { storeId: storeId(String(walk.storeId)), cursor, done, full };
  }
  return { sources };
}
