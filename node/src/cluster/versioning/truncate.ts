/**
 * Truncation: forgetting the oldest clock entries of a key that many actors wrote (Dynamo, section 4.4), without the false conflicts that
 * Dynamo's own rule makes (riak_kv #1864). The forgotten entries leave a floor in their place: every event of their time or earlier counts
 * as seen, so an old replica, hint or backup that still holds one of their values cannot bring it back, nor make it a sibling.
 *
 * The floor also claims events of that age that nobody here has seen. That is safe under two conditions, both the caller's to know:
 *   1. every current primary holds exactly this clock, so none holds an unseen event of that age;
 *   2. no fallback, hint or stream holds an undelivered one.
 * New events are later than the floor. On a copy that holds the clock by construction: the newest entry always stays above the floor, and a
 * write is never stamped before the newest entry of the copy it is made on (update.ts). On a fallback that holds nothing yet by age: only
 * entries that were TRUNCATE_MIN_AGE_MS old when the first of the two conditions was asked about go, and nodes whose clocks differ by more than
 * MAX_AHEAD_MS refuse each other.
 */

import type { KvObject } from './object.ts';

/** How old an entry must be before it may go unless settings say otherwise, in milliseconds: far more than two clocks that accept each other can differ. */
export const TRUNCATE_MIN_AGE_MS = 60_000;

/** `object` with at most `keep` (>= 1) clock entries where times permit: entries of the newest millisecond, or later than `upToMs`, stay. */
export function truncateClock(object: KvObject, keep: number, upToMs: number): KvObject {
  const surplus = object.clock.length - keep;
  if (surplus <= 0) return object;
  const times = object.clock.map((entry) => entry.ms).sort((a, b) => a - b);
  const newest = times[times.length - 1] ?? 0;
  let last = surplus - 1;
  while (last >= 0 && (times[last] === newest || (times[last] ?? 0) > upToMs)) last -= 1;
  const floorMs = times[last];
  if (floorMs === undefined || floorMs <= object.floorMs) return object;
  return { ...object, floorMs, clock: object.clock.filter((entry) => entry.ms > floorMs) };
}
