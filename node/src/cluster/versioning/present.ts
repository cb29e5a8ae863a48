/**
 * What a client sees of an object: its live values, newest first, without the expired ones, and each client operation once.
 *
 * Hidden siblings stay in the object: the context that goes out with the answer covers them, so the next write removes them.
 */

import type { HybridTime } from './hlc.ts';
import { compareTime } from './hlc.ts';
import type { KvObject, OperationRecord, Sibling } from './object.ts';
import { areTwins, operationOf, wasReplaced } from './operation.ts';

/** A value as a client sees it. */
export interface PresentedVersion {
  readonly value: Uint8Array;
  /** Wall-clock milliseconds; 0 for never. */
  readonly expireAtMs: number;
  readonly time: HybridTime;
}

/** Whether a value with this expiry is gone at `nowMs`. */
export function isExpired(expireAtMs: number, nowMs: number): boolean {
  return expireAtMs !== 0 && expireAtMs <= nowMs;
}

/** Whether `sibling` is live in its dot but its client operation was replaced through another dot (operation.ts). */
export function isReplaced(object: KvObject, sibling: Sibling): boolean {
  const record = operationOf(object, sibling);
  return record !== undefined && wasReplaced(object, sibling, record);
}

/** The expiry of an operation shown once: the one that was edited last, so that no twin outlives it. */
function laterEdit(a: PresentedSibling, b: Sibling): number {
  const order = compareTime(b.edit, a.edit) || b.expireAtMs - a.expireAtMs;
  return order > 0 ? b.expireAtMs : a.expireAtMs;
}

interface PresentedSibling {
  readonly value: Uint8Array;
  readonly time: HybridTime;
  readonly record: OperationRecord | undefined;
  edit: HybridTime;
  expireAtMs: number;
}

function collapse(object: KvObject): PresentedSibling[] {
  const shown: PresentedSibling[] = [];
  for (const sibling of object.siblings) {
    const record = operationOf(object, sibling);
    if (record !== undefined && wasReplaced(object, sibling, record)) continue;
    const twin = record === undefined ? undefined : shown.find((other) => other.record !== undefined && areTwins(other.record, record));
    if (twin === undefined) {
      shown.push({ value: sibling.value, time: sibling.time, record, edit: sibling.edit, expireAtMs: sibling.expireAtMs });
    } else {
      twin.expireAtMs = laterEdit(twin, sibling);
      if (compareTime(sibling.edit, twin.edit) > 0) twin.edit = sibling.edit;
    }
  }
  return shown;
}

/** The live versions at wall-clock `nowMs`, newest first. Values are those of the object, not copied. */
export function present(object: KvObject, nowMs: number): readonly PresentedVersion[] {
  if (object.operations.length === 0) {
    return object.siblings.filter((sibling) => !isExpired(sibling.expireAtMs, nowMs)).map(versionOf);
  }
  return collapse(object)
    .filter((shown) => !isExpired(shown.expireAtMs, nowMs))
    .map(versionOf);
}

function versionOf(shown: PresentedVersion): PresentedVersion {
  return { value: shown.value, expireAtMs: shown.expireAtMs, time: shown.time };
}
