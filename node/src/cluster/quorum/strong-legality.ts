/**
 * What may be asked of a strong bucket. Whatever would weaken it is refused by name; each refusal says why, and what to do instead.
 *
 * Invariant: an operation that passed these checks has R and W of at least the bucket's, so that every R meets every W.
 */

import { CoterieError } from '../../base/errors.ts';
import type { BucketDefinition } from '../ring/topology.ts';
import type { QuorumKind } from './legality.ts';

/** What a request may ask for besides the key and the value; all of it is refused. */
export interface Weakening {
  readonly context: boolean;
  /** A TTL or an instant, or to keep the one that is there. */
  readonly expiry: boolean;
}

/** Whether the R or W that a request names is too low for a bucket that needs `least`. */
export type RefusesBelow = (asked: number, least: number) => boolean;

/**
 * The R of a read of a strong bucket.
 *
 * @throws CoterieError QUORUM_INVALID, UNSUPPORTED
 */
export function strongReadQuorum(
  bucket: BucketDefinition,
  n: number,
  asked: number | undefined,
  kind: QuorumKind | undefined,
  below: RefusesBelow,
): number {
  if (kind === 'sloppy') throw refusal(bucket, 'quorum=sloppy is not offered there: only primaries count in a linearizable read or write');
  return quorumOf(bucket, 'r', bucket.R, n, asked, below);
}

/**
 * The W of a write to a strong bucket.
 *
 * @throws CoterieError QUORUM_INVALID, UNSUPPORTED
 */
export function strongWriteQuorum(
  bucket: BucketDefinition,
  n: number,
  asked: number | undefined,
  kind: QuorumKind | undefined,
  below: RefusesBelow,
): number {
  if (kind === 'sloppy') throw refusal(bucket, 'quorum=sloppy is not offered there: only primaries count in a linearizable read or write');
  return quorumOf(bucket, 'w', bucket.W, n, asked, below);
}

/** @throws CoterieError UNSUPPORTED */
export function refuseWeakening(bucket: BucketDefinition, { context, expiry }: Weakening): void {
  if (context) {
    throw refusal(bucket, 'contexts are not offered there: a key has one value, and a write replaces it whatever the client has read');
  }
  if (expiry) {
    throw refusal(bucket, 'TTLs and KEEPTTL are not offered there: when a value expires is a matter of clocks, and linearizability is not');
  }
}

/** EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT and PERSIST. */
export function expireRefusal(bucket: BucketDefinition): CoterieError {
  return refusal(
    bucket,
    'EXPIRE and its kin, and PERSIST, are not offered there: values do not expire, because that would be a matter of clocks',
  );
}

function quorumOf(
  bucket: BucketDefinition,
  name: 'r' | 'w',
  least: number,
  n: number,
  asked: number | undefined,
  below: RefusesBelow,
): number {
  if (asked === undefined) return least;
  if (!Number.isInteger(asked) || asked < 1 || asked > n) {
    const message = `${name} must be a whole number from 1 to ${String(n)} (the cluster's N), not ${String(asked)}`;
    throw new CoterieError('QUORUM_INVALID', message, { outcome: 'none' });
  }
  if (below(asked, least)) {
    const message = `bucket ${bucket.name} is strong: ${name} may not be below the bucket's ${String(least)}, and ${String(asked)} is`;
    throw new CoterieError('QUORUM_INVALID', message, { outcome: 'none' });
  }
  return asked;
}

function refusal(bucket: BucketDefinition, why: string): CoterieError {
  return new CoterieError('UNSUPPORTED', `bucket ${bucket.name} is strong: ${why}`, { outcome: 'none' });
}
