/**
 * The bug "EXPIRE overwrites a newer value": a coordinator that has missed the latest value changes the expiry of what it has by writing it anew, so
 * that it is the newest.
 */

import type { KvObject } from '../../src/cluster/versioning/object.ts';
import { present } from '../../src/cluster/versioning/present.ts';
import type { Mutation } from '../../src/cluster/versioning/update.ts';

export function expireAsWrite(mutation: Mutation, seen: KvObject, nowMs: number): Mutation {
  if (mutation.kind !== 'expire') return mutation;
  const [newest] = present(seen, nowMs);
  if (newest === undefined) return mutation;
  return { kind: 'put', value: newest.value, expireAtMs: mutation.atMs, keepTtl: false, operation: mutation.operation };
}
