/** The bounds of keys and pairs, checked where a client's bytes come in, before any effect. */

import { CoterieError } from '../base/errors.ts';
import type { KvLimits } from '../runtime/kv.ts';

/** @throws CoterieError KEY_EMPTY, KEY_TOO_LONG */
export function checkKey(keyBytes: number, limits: KvLimits): void {
  if (keyBytes === 0) throw new CoterieError('KEY_EMPTY', `a key has 1 to ${limits.keyBytes} bytes; this one is empty`);
  if (keyBytes > limits.keyBytes) {
    throw new CoterieError('KEY_TOO_LONG', `a key has 1 to ${limits.keyBytes} bytes; this one has ${keyBytes}`);
  }
}

/** @throws CoterieError KEY_EMPTY, KEY_TOO_LONG, PAIR_TOO_LARGE */
export function checkPair(keyBytes: number, valueBytes: number, limits: KvLimits): void {
  checkKey(keyBytes, limits);
  if (keyBytes + valueBytes > limits.pairBytes) throw pairTooLarge(keyBytes + valueBytes, limits);
}

export function pairTooLarge(bytes: number, limits: KvLimits): CoterieError {
  return new CoterieError('PAIR_TOO_LARGE', `key and value together have at most ${limits.pairBytes} bytes; these have ${bytes}`);
}
