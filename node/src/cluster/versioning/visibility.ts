/**
 * Which siblings a client is shown: a client operation that minted several dots (operation.ts) once, as its newest, and not at all once it was
 * replaced in one of them.
 *
 * This follows from the operation records, of which copies in one state may know different ones: a client's context tells of a dot without its
 * record, and records leave with age. So what is not shown is marked on the encoded siblings, under the digest (layout.ts): copies that would
 * show different values differ, and repair brings the records of each to the other.
 */

import type { KvObject, OperationRecord, Sibling } from './object.ts';
import { areTwins, operationOf, wasReplaced } from './operation.ts';

/** In place of a sibling's number: none, its client operation was replaced. */
export const HIDDEN = -1;

/** Whether `sibling` is live in its dot but its client operation was replaced through another dot. */
export function isReplaced(object: KvObject, sibling: Sibling): boolean {
  const record = operationOf(object, sibling);
  return record !== undefined && wasReplaced(object, sibling, record);
}

/**
 * Of each sibling the number of the one as which it is shown: its own, that of a newer twin, or HIDDEN. `undefined` where each is shown as itself,
 * as nearly always.
 */
export function shownAs(object: KvObject): readonly number[] | undefined {
  const { siblings, operations } = object;
  const [newest] = siblings;
  if (newest === undefined || operations.length < 2) return undefined;
  // The usual case is a single blind value, which only a marked record can hide.
  if (siblings.length === 1 && newest.blind && !operations.some((record) => record.replaced)) return undefined;
  const shown: { readonly record: OperationRecord; readonly at: number }[] = [];
  const numbers = siblings.map((sibling, at) => {
    const record = operationOf(object, sibling);
    if (record === undefined) return at;
    if (wasReplaced(object, sibling, record)) return HIDDEN;
    const twin = shown.find((newer) => areTwins(newer.record, record));
    if (twin === undefined) shown.push({ record, at });
    return twin?.at ?? at;
  });
  return numbers.every((number, at) => number === at) ? undefined : numbers;
}
