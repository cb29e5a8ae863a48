/**
 * Merging objects: the join of a semilattice. Each component joins on its own, and each join commutes, associates and is idempotent:
 *   - seen events: pointwise maximum of the clocks and the maximum of the floors, which is the union of two downward-closed sets;
 *   - a dot's state: the higher of unseen < live (with its edit register, higher edit wins) < dead;
 *   - `blindFloor`: the maximum. Afterwards blind siblings below it are dead. That rule only raises states, raises more when given more, and
 *     adds nothing when repeated (it is a closure operator), so applying it after each join keeps the laws;
 *   - operation records: the newest of the union (operation.ts). No rule that reads them raises a state here: they are evicted, and a
 *     rule that reads what may be forgotten would make the result depend on the order of merges. They act when an object is shown
 *     (present.ts) and when a coordinator writes (update.ts).
 *
 * What an object holds is thereby a function of the events it has seen: equal clocks mean equal states, also across contexts, which carry
 * the blind floor. Operation records alone come only with objects: a replica that heard of a write through a client's context lacks its
 * record until the replicas next exchange the key. Where that shows, their digests differ (visibility.ts).
 */

import { compareTime } from './hlc.ts';
import { containsOperations, mergeOperations } from './operation.ts';
import type { ClockEntry, Knowledge, KvObject, Sibling, WriteOrder } from './object.ts';
import { compareOrder, counterOf, covers } from './object.ts';

/** The knowledge of both: what either has seen. */
export function mergeKnowledge(a: Knowledge, b: Knowledge): Knowledge {
  const floorMs = Math.max(a.floorMs, b.floorMs);
  const clock: ClockEntry[] = [];
  let i = 0;
  let j = 0;
  for (;;) {
    const mine = a.clock[i];
    const theirs = b.clock[j];
    let entry: ClockEntry;
    if (mine === undefined) {
      if (theirs === undefined) break;
      entry = theirs;
      j += 1;
    } else if (theirs === undefined || mine.actor < theirs.actor) {
      entry = mine;
      i += 1;
    } else if (theirs.actor < mine.actor) {
      entry = theirs;
      j += 1;
    } else {
      entry = theirs.counter > mine.counter ? theirs : mine;
      i += 1;
      j += 1;
    }
    if (entry.ms > floorMs) clock.push(entry);
  }
  return { clock, floorMs };
}

/** Whether `a`'s edit register is at least `b`'s; both belong to the same dot. */
function editAtLeast(a: Sibling, b: Sibling): boolean {
  return (compareTime(a.edit, b.edit) || a.expireAtMs - b.expireAtMs) >= 0;
}

/** Whether a blind sibling has lost against the highest blind write. */
export function outranked(sibling: Sibling, floor: WriteOrder | undefined): boolean {
  return sibling.blind && floor !== undefined && compareOrder(sibling, floor) < 0;
}

function mergeSiblings(a: KvObject, b: KvObject, floor: WriteOrder | undefined): Sibling[] {
  const siblings: Sibling[] = [];
  let i = 0;
  let j = 0;
  for (;;) {
    const mine = a.siblings[i];
    const theirs = b.siblings[j];
    if (mine === undefined && theirs === undefined) return siblings;
    const order = mine === undefined ? -1 : theirs === undefined ? 1 : compareOrder(mine, theirs);
    let live: Sibling | undefined;
    if (order > 0) {
      i += 1;
      if (mine !== undefined && !covers(b, mine, mine.time.ms)) live = mine;
    } else if (order < 0) {
      j += 1;
      if (theirs !== undefined && !covers(a, theirs, theirs.time.ms)) live = theirs;
    } else {
      i += 1;
      j += 1;
      if (mine !== undefined && theirs !== undefined) live = editAtLeast(mine, theirs) ? mine : theirs;
    }
    if (live !== undefined && !outranked(live, floor)) siblings.push(live);
  }
}

/** The higher of two blind floors. */
export function higherOrder(a: WriteOrder | undefined, b: WriteOrder | undefined): WriteOrder | undefined {
  if (a === undefined) return b;
  return b === undefined || compareOrder(a, b) >= 0 ? a : b;
}

/** The least object that has seen what `a` and `b` have seen. Commutes, associates, idempotent. */
export function merge(a: KvObject, b: KvObject): KvObject {
  const { clock, floorMs } = mergeKnowledge(a, b);
  const blindFloor = higherOrder(a.blindFloor, b.blindFloor);
  return { clock, floorMs, blindFloor, siblings: mergeSiblings(a, b, blindFloor), operations: mergeOperations(a.operations, b.operations) };
}

/** Whether `a`'s state is at most `b`'s, operation records aside: merging `a` into `b` would change nothing else. */
function within(a: KvObject, b: KvObject): boolean {
  if (a.floorMs > b.floorMs) return false;
  for (const entry of a.clock) {
    if (entry.ms > b.floorMs && counterOf(b.clock, entry.actor) < entry.counter) return false;
  }
  if (a.blindFloor !== undefined && (b.blindFloor === undefined || compareOrder(a.blindFloor, b.blindFloor) > 0)) return false;
  // `b` has now seen all that `a` has. A live dot of `b` must not be dead, nor edited later, in `a`.
  for (const theirs of b.siblings) {
    if (!covers(a, theirs, theirs.time.ms)) continue;
    const mine = a.siblings.find((sibling) => compareOrder(sibling, theirs) === 0);
    if (mine === undefined || !editAtLeast(theirs, mine)) return false;
  }
  return true;
}

export type Comparison = 'equal' | 'dominates' | 'dominated' | 'concurrent';

/** How `a`'s state relates to `b`'s, operation records aside: `dominates` when `a` holds everything of `b` and more. */
export function compare(a: KvObject, b: KvObject): Comparison {
  const below = within(a, b);
  const above = within(b, a);
  return below ? (above ? 'equal' : 'dominated') : above ? 'dominates' : 'concurrent';
}

/** Whether merging `b` into `a` would change nothing at all: neither state nor operation records. */
export function absorbs(a: KvObject, b: KvObject): boolean {
  return within(b, a) && containsOperations(a.operations, b.operations);
}
