/** Arguments that several commands read alike. */

import type { PutExpiry } from '../../runtime/kv.ts';
import { notAnInteger, ReplyError, syntaxError } from './reply-error.ts';
import type { RequestParser } from './parser.ts';

const INTEGER = /^(?:0|-?[1-9][0-9]{0,18})$/;
const INT64_MAX = 2n ** 63n - 1n;

/**
 * A whole number as Redis reads it: 64 bits with a sign, no leading zeros or spaces. Above 2^53 it is not exact, which is as good as out of
 * range for every use here.
 *
 * @throws ReplyError
 */
export function integerAt(request: RequestParser, index: number): number {
  const text = request.text(index);
  if (!INTEGER.test(text)) throw notAnInteger();
  const value = Number(text);
  if (!Number.isSafeInteger(value)) {
    const exact = BigInt(text);
    if (exact > INT64_MAX || exact < -INT64_MAX - 1n) throw notAnInteger();
  }
  return value;
}

/** Units of an instant or a span, as the option's name says. */
export type ExpiryUnit = 'EX' | 'PX' | 'EXAT' | 'PXAT';

/** The latest instant that a stored value can hold as its expiry: 48 bits of milliseconds. */
const LATEST_MS = 2 ** 48 - 1;

/** @throws ReplyError where the instant is not positive or not below 2^48 */
export function expiryInstant(unit: ExpiryUnit, value: number, nowMs: number, name: string): number {
  const scaled = unit === 'EX' || unit === 'EXAT' ? value * 1000 : value;
  const instant = unit === 'EX' || unit === 'PX' ? nowMs + scaled : scaled;
  if (value <= 0 || instant > LATEST_MS) throw new ReplyError(`ERR invalid expire time in '${name}' command`);
  return instant;
}

const NEVER: PutExpiry = {};
const KEEP: PutExpiry = { keepTtl: true };

/** The options that say when a value expires; read one after the other, since Redis allows any order. */
export class ExpiryOptions {
  #unit: ExpiryUnit | undefined;
  #index = 0;
  #keep = false;

  /** Whether the argument at `index` was such an option; answers how many arguments it took, 0 if it was none. */
  take(request: RequestParser, option: string, index: number): number {
    switch (option) {
      case 'EX':
      case 'PX':
      case 'EXAT':
      case 'PXAT':
        if ((this.#unit ?? option) !== option || this.#keep || index + 1 >= request.argc) throw syntaxError();
        this.#unit = option;
        this.#index = index + 1;
        return 2;
      case 'KEEPTTL':
        if (this.#unit !== undefined) throw syntaxError();
        this.#keep = true;
        return 1;
      default:
        return 0;
    }
  }

  finish(request: RequestParser, nowMs: number, name: string): PutExpiry {
    if (this.#unit === undefined) return this.#keep ? KEEP : NEVER;
    return { expireAtMs: expiryInstant(this.#unit, integerAt(request, this.#index), nowMs, name) };
  }
}

/** A small whole number in digits; 0, which no bound of R, W or time lets pass, for anything else. */
export function smallNumber(text: string): number {
  return /^[0-9]{1,9}$/.test(text) ? Number(text) : 0;
}
