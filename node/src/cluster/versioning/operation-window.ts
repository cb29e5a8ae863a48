/**
 * Until when an encoded object is needed for its operation records: a retry of one of them must find it, even where the value itself is deleted or
 * has expired.
 */

import { ATTEMPT_WINDOW_MS, attemptBodyAt } from './attempt.ts';
import { readU48 } from './fields.ts';
import { AT_OPERATIONS, OPERATION_BYTES, readLayout } from './layout.ts';
import { BODY_HASH_BYTES, OPERATION_ID_BYTES, OPERATION_WINDOW_MS } from './object.ts';

/** Where a record's time stands: behind the id and the body's hash. */
const MS_IN_RECORD: number = OPERATION_ID_BYTES + BODY_HASH_BYTES;

/** Wall-clock milliseconds; 0 where the object has no records. */
export function rememberedUntilMs(bytes: Uint8Array): number {
  const count = bytes[AT_OPERATIONS] ?? 0;
  const layout = count === 0 ? undefined : readLayout(bytes);
  if (layout === undefined) return 0;
  let untilMs = 0;
  for (let i = 0, at = layout.operationsAt; i < count; i += 1, at += OPERATION_BYTES) {
    const isAttempt = attemptBodyAt(bytes, at + OPERATION_ID_BYTES) !== undefined;
    untilMs = Math.max(untilMs, readU48(bytes, at + MS_IN_RECORD) + (isAttempt ? ATTEMPT_WINDOW_MS : OPERATION_WINDOW_MS));
  }
  return untilMs;
}
