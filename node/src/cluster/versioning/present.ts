/**
 * What a client sees of an object: its live values, newest first, without the expired ones, and each client operation once.
 *
 * Hidden siblings stay in the object: the context that goes out with the answer covers them, so the next write removes them.
 */

import type { HybridTime } from './hlc.ts';
import { compareTime } from './hlc.ts';
import type { KvObject } from './object.ts';
import { shownAs } from './visibility.ts';

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

/** The values of `object` once each operation is shown once: with the expiry that was edited last, so that no twin outlives it. */
function collapse(object: KvObject, numbers: readonly number[]): PresentedVersion[] {
  const shown: PresentedVersion[] = [];
  object.siblings.forEach((sibling, at) => {
    if (numbers[at] !== at) return;
    let last = sibling;
    for (const [other, twin] of object.siblings.entries()) {
      if (numbers[other] === at && (compareTime(twin.edit, last.edit) || twin.expireAtMs - last.expireAtMs) > 0) last = twin;
    }
    shown.push({ value: sibling.value, expireAtMs: last.expireAtMs, time: sibling.time });
  });
  return shown;
}

/** The live versions at wall-clock `nowMs`, newest first. Values are those of the object, not copied. */
export function present(object: KvObject, nowMs: number): readonly PresentedVersion[] {
  return live(object, nowMs).map(({ value, expireAtMs, time }) => ({ value, expireAtMs, time }));
}

/** The same, with whatever else the object knows of them: for those who write. */
export function live(object: KvObject, nowMs: number): readonly PresentedVersion[] {
  const numbers = shownAs(object);
  const shown: readonly PresentedVersion[] = numbers === undefined ? object.siblings : collapse(object, numbers);
  const isLive = ({ expireAtMs }: PresentedVersion): boolean => !isExpired(expireAtMs, nowMs);
  return shown.every(isLive) ? shown : shown.filter(isLive);
}
