/**
 * Operation records: which client operation minted which dot, so that a retry through any coordinator finishes the same write.
 *
 * An object keeps the newest MAX_OPERATIONS records of clients' operation ids, none older than OPERATION_WINDOW_MS before the newest of them, and
 * likewise MAX_ATTEMPTS of attempts within ATTEMPT_WINDOW_MS (attempt.ts). Invariant: keeping is the same before and after a union,
 * `keep(keep(A) + B) = keep(A + B)`, so that merges associate: a record pushed out of A by newer ones of its kind is pushed out of every set that
 * contains A.
 *
 * Two coordinators that did not know of each other may each mint a dot for one operation: *twins*, equal in id and body hash. A twin that
 * was replaced makes the operation as a whole replaced: the other twin is not shown and leaves at the next write. Of writes with a context every
 * dead twin was replaced. A dead blind twin may have lost to its own twin; so there the record says whether somebody's context had seen it.
 */

import type { ByteString } from '../../base/bytes.ts';
import { ATTEMPT_WINDOW_MS, isAttempt, MAX_ATTEMPTS } from './attempt.ts';
import type { Dot, Knowledge, KvObject, OperationRecord, Sibling } from './object.ts';
import { covers, MAX_OPERATIONS, OPERATION_WINDOW_MS, sameDot } from './object.ts';

/** Negative when `a` is the newer record: the order in which records are kept. */
export function compareRecords(a: OperationRecord, b: OperationRecord): number {
  return b.ms - a.ms || b.counter - a.counter || (a.actor > b.actor ? -1 : a.actor < b.actor ? 1 : 0);
}

/** Takes records from the newest on, and says which of them are kept. */
export class Keeping {
  #operations = 0;
  #attempts = 0;
  /** The oldest that is kept of each kind. */
  #operationsSinceMs = 0;
  #attemptsSinceMs = 0;

  keeps(record: OperationRecord): boolean {
    const { ms } = record;
    if (isAttempt(record)) {
      if (this.#attempts === 0) this.#attemptsSinceMs = ms - ATTEMPT_WINDOW_MS;
      if (this.#attempts === MAX_ATTEMPTS || ms < this.#attemptsSinceMs) return false;
      this.#attempts += 1;
    } else {
      if (this.#operations === 0) this.#operationsSinceMs = ms - OPERATION_WINDOW_MS;
      if (this.#operations === MAX_OPERATIONS || ms < this.#operationsSinceMs) return false;
      this.#operations += 1;
    }
    return true;
  }
}

/** The records of both that are kept. */
export function mergeOperations(a: readonly OperationRecord[], b: readonly OperationRecord[]): readonly OperationRecord[] {
  if (b.length === 0) return a;
  if (a.length === 0) return b;
  const merged: OperationRecord[] = [];
  const keeping = new Keeping();
  for (let i = 0, j = 0; ;) {
    const mine = a[i];
    const theirs = b[j];
    const order = mine === undefined ? 1 : theirs === undefined ? -1 : compareRecords(mine, theirs);
    const next = order < 0 || (order === 0 && mine?.replaced === true) ? mine : theirs;
    if (next === undefined) return merged;
    if (order <= 0) i += 1;
    if (order >= 0) j += 1;
    if (keeping.keeps(next)) merged.push(next);
  }
}

/** Whether merging `b` into `a` would change nothing. */
export function containsOperations(a: readonly OperationRecord[], b: readonly OperationRecord[]): boolean {
  if (hasAll(a, b)) return true;
  const merged = mergeOperations(a, b);
  return merged.length === a.length && merged.every((record, at) => record === a[at] || sameRecord(record, a[at]));
}

/** Nearly always it is so, and then nothing need be merged. */
function hasAll(a: readonly OperationRecord[], b: readonly OperationRecord[]): boolean {
  let at = 0;
  for (const record of b) {
    while (at < a.length && !sameRecord(record, a[at])) at += 1;
    if (at === a.length) return false;
  }
  return true;
}

function sameRecord(a: OperationRecord, b: OperationRecord | undefined): boolean {
  return b !== undefined && sameDot(a, b) && a.replaced === b.replaced;
}

/** The record of `id` whose body is `bodyHash`, else any record of `id`, else `undefined`. */
export function findOperation(object: KvObject, id: ByteString, bodyHash: ByteString): OperationRecord | undefined {
  let found: OperationRecord | undefined;
  for (const record of object.operations) {
    if (record.id !== id) continue;
    if (record.bodyHash === bodyHash) return record;
    found = record;
  }
  return found;
}

/** The record of the operation that minted `dot`, while it is remembered. */
export function operationOf(object: KvObject, dot: Dot): OperationRecord | undefined {
  return object.operations.length === 0 ? undefined : object.operations.find((record) => sameDot(record, dot));
}

/** Whether two records are of one client operation. */
export function areTwins(a: OperationRecord, b: OperationRecord): boolean {
  return a.id === b.id && a.bodyHash === b.bodyHash;
}

/** Whether the operation of the live `sibling`, minted as `record`, was replaced in another of its dots. Every recorded dot is seen. */
export function wasReplaced(object: KvObject, sibling: Sibling, record: OperationRecord): boolean {
  return object.operations.some(
    (twin) =>
      areTwins(twin, record) &&
      !sameDot(twin, record) &&
      (twin.replaced || (!sibling.blind && !object.siblings.some((other) => sameDot(other, twin)))),
  );
}

/** The records once a write has replaced what its context had seen. */
export function replacedBy(operations: readonly OperationRecord[], context: Knowledge): readonly OperationRecord[] {
  const isNew = (record: OperationRecord): boolean => !record.replaced && covers(context, record, record.ms);
  return operations.some(isNew) ? operations.map((record) => (isNew(record) ? { ...record, replaced: true } : record)) : operations;
}
