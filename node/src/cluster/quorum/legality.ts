/**
 * Which quorums may be asked for. N, R and W are the Dynamo paper's: replicas, answers a read waits for, durable acknowledgements a write
 * waits for.
 *
 * Invariant: an operation that passed these checks has 1 <= R, W <= N. (Strong buckets, in which only primaries count: strong-legality.ts.)
 */

import { CoterieError } from '../../base/errors.ts';
import type { BucketDefinition } from '../ring/topology.ts';

/** Whether only primaries count, or fallbacks that stand in for unhealthy ones too. */
export type QuorumKind = 'strict' | 'sloppy';

/** The kind of an operation's quorum in an eventual bucket: sloppy unless the request says otherwise. */
export function quorumKind(asked: QuorumKind | undefined): QuorumKind {
  return asked ?? 'sloppy';
}

/**
 * The R of a read.
 *
 * @param asked what the request names; the bucket's when undefined
 * @throws CoterieError QUORUM_INVALID
 */
export function readQuorum(bucket: BucketDefinition, n: number, asked: number | undefined): number {
  const r = asked ?? bucket.R;
  if (asked !== undefined) checkRange('r', asked, n);
  return r;
}

/**
 * The W of a write.
 *
 * @param asked what the request names; the bucket's when undefined
 * @throws CoterieError QUORUM_INVALID
 */
export function writeQuorum(bucket: BucketDefinition, n: number, asked: number | undefined): number {
  const w = asked ?? bucket.W;
  if (asked !== undefined) checkRange('w', asked, n);
  return w;
}

function checkRange(name: 'r' | 'w', value: number, n: number): void {
  if (Number.isInteger(value) && value >= 1 && value <= n) return;
  throw new CoterieError('QUORUM_INVALID', `${name} must be a whole number from 1 to ${String(n)} (the cluster's N), not ${String(value)}`);
}

/**
 * The answers needed so that at least one comes from a store of any set of `w`: N-W+1.
 */
export function overlapping(n: number, w: number): number {
  return n - w + 1;
}
