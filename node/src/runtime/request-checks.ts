/** What a request must satisfy before anything is done for it. Each failure says what is allowed. */

import type { ByteString } from '../base/bytes.ts';
import { CoterieError } from '../base/errors.ts';
import type { NodeLimits } from './options.ts';

export const MOST_TIMEOUT_MS = 60_000;
/** The highest millisecond that an object holds: 48 bits. */
const MOST_EXPIRY_MS = 2 ** 48 - 1;
export const MOST_SCAN_COUNT = 10_000;

/** @throws CoterieError KEY_EMPTY, KEY_TOO_LONG */
export function checkKey(key: ByteString, limits: NodeLimits): void {
  if (key.length === 0) throw new CoterieError('KEY_EMPTY', 'a key has at least one byte', { outcome: 'none' });
  if (key.length > limits.keyBytes) {
    throw new CoterieError('KEY_TOO_LONG', `a key has at most ${String(limits.keyBytes)} bytes, not ${String(key.length)}`, {
      outcome: 'none',
    });
  }
}

/** @throws CoterieError PAIR_TOO_LARGE */
export function checkPair(key: ByteString, value: Uint8Array, limits: NodeLimits): void {
  const bytes = key.length + value.length;
  if (bytes <= limits.pairBytes) return;
  throw new CoterieError('PAIR_TOO_LARGE', `key and value have at most ${String(limits.pairBytes)} bytes together, not ${String(bytes)}`, {
    outcome: 'none',
  });
}

/** @throws CoterieError TIMEOUT_INVALID */
export function timeoutOf(asked: number | undefined, limits: NodeLimits): number {
  if (asked === undefined) return limits.timeoutMs;
  if (Number.isInteger(asked) && asked >= 1 && asked <= MOST_TIMEOUT_MS) return asked;
  const message = `a timeout is a whole number of milliseconds from 1 to ${String(MOST_TIMEOUT_MS)}, not ${String(asked)}`;
  throw new CoterieError('TIMEOUT_INVALID', message, { outcome: 'none' });
}

/** @throws CoterieError EXPIRY_INVALID */
export function checkExpiry(atMs: number): void {
  if (Number.isInteger(atMs) && atMs >= 0 && atMs <= MOST_EXPIRY_MS) return;
  const message = `an expiry is a whole number of milliseconds since 1970, below 2^48, not ${String(atMs)}`;
  throw new CoterieError('EXPIRY_INVALID', message, { outcome: 'none' });
}

/** @throws CoterieError REQUEST_INVALID */
export function checkCount(count: number): void {
  if (Number.isInteger(count) && count >= 1 && count <= MOST_SCAN_COUNT) return;
  throw new CoterieError('REQUEST_INVALID', `a count is a whole number from 1 to ${String(MOST_SCAN_COUNT)}, not ${String(count)}`);
}
