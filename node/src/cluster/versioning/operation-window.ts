/**
 * Until when an encoded object is needed for its operation records: a retry of one of them must find it, even where the value itself is deleted or
 * has expired.
 */

import { ATTEMPT_WINDOW_MS } from './attempt.ts';
import { readU32, readU48 } from './fields.ts';
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
    // No client's body has that hash: attempt.ts.
    const isAttempt = readU32(bytes, at + OPERATION_ID_BYTES) === 0 && readU32(bytes, at + OPERATION_ID_BYTES + 4) === 0;
    untilMs = Math.max(untilMs, readU48(bytes, at + MS_IN_RECORD) + (isAttempt ? ATTEMPT_WINDOW_MS : OPERATION_WINDOW_MS));
  }
  return untilMs;
}
