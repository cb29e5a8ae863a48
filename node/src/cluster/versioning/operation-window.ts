/**
 * Until when an encoded object is needed for its operation records: a retry of one of them must find it, even where the value itself is deleted or
 * has expired.
 */

import { readU48 } from './fields.ts';
import { AT_OPERATIONS, readLayout } from './layout.ts';
import { OPERATION_WINDOW_MS } from './object.ts';

/** Where a record's time stands: behind the id and the body's hash. */
const MS_IN_RECORD = 24;

/** Wall-clock milliseconds; 0 where the object has no records. */
export function rememberedUntilMs(bytes: Uint8Array): number {
  if (bytes[AT_OPERATIONS] === 0) return 0;
  const layout = readLayout(bytes);
  // Records stand newest first.
  return layout === undefined ? 0 : readU48(bytes, layout.operationsAt + MS_IN_RECORD) + OPERATION_WINDOW_MS;
}
