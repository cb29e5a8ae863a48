/**
 * A group of writes that takes effect as one: after a crash all of it is there or none. Within a batch the last write to a key wins.
 * Values are borrowed until `Engine.write` returns.
 */

import type { ByteString } from '../base/bytes.ts';
import { CoterieError } from '../base/errors.ts';
import { KIND_REMOVAL, KIND_TOMBSTONE, KIND_VALUE, MAX_KEY_BYTES, MAX_VALUE_BYTES } from './entry.ts';

export interface PutMeta {
  /** The entry is a logical delete kept as data; see entry.ts. */
  readonly tombstone?: boolean;
  /** Wall-clock milliseconds since 1970; 0 (the default): never expires. */
  readonly expireAtMs?: number;
  /** 0 (the default) to 2^53-1. */
  readonly gcTag?: number;
}

const NOTHING = new Uint8Array(0);

/** @throws CoterieError KEY_EMPTY, KEY_TOO_LONG, PAIR_TOO_LARGE, SETTING_INVALID */
export function checkEntry(key: ByteString, value: Uint8Array, expireAtMs: number, gcTag: number): void {
  if (key.length === 0) throw new CoterieError('KEY_EMPTY', 'a key has at least one byte', { outcome: 'none' });
  if (key.length > MAX_KEY_BYTES) {
    throw new CoterieError('KEY_TOO_LONG', `a key has at most ${String(MAX_KEY_BYTES)} bytes`, { outcome: 'none' });
  }
  if (value.length > MAX_VALUE_BYTES) {
    throw new CoterieError('PAIR_TOO_LARGE', `a value has at most ${String(MAX_VALUE_BYTES)} bytes`, { outcome: 'none' });
  }
  if (!Number.isSafeInteger(expireAtMs) || expireAtMs < 0 || !Number.isSafeInteger(gcTag) || gcTag < 0) {
    throw new CoterieError('SETTING_INVALID', 'expiry and tag are whole numbers from 0 to 2^53-1', { outcome: 'none' });
  }
}

export class WriteBatch {
  readonly keys: ByteString[] = [];
  readonly values: Uint8Array[] = [];
  /** KIND_VALUE, KIND_TOMBSTONE or KIND_REMOVAL. */
  readonly kinds: number[] = [];
  readonly expiries: number[] = [];
  readonly gcTags: number[] = [];
  /** Bytes of keys and values. */
  bytes = 0;

  get length(): number {
    return this.keys.length;
  }

  /** @throws CoterieError KEY_EMPTY, KEY_TOO_LONG, PAIR_TOO_LARGE, SETTING_INVALID */
  put(key: ByteString, value: Uint8Array, meta?: PutMeta): this {
    if (meta === undefined) return this.#add(key, value, KIND_VALUE, 0, 0);
    const { expireAtMs = 0, gcTag = 0 } = meta;
    return this.#add(key, value, meta.tombstone === true ? KIND_TOMBSTONE : KIND_VALUE, expireAtMs, gcTag);
  }

  /** Removes the key physically: nothing of it is answered afterwards. */
  delete(key: ByteString, gcTag = 0): this {
    return this.#add(key, NOTHING, KIND_REMOVAL, 0, gcTag);
  }

  clear(): this {
    this.keys.length = 0;
    this.values.length = 0;
    this.kinds.length = 0;
    this.expiries.length = 0;
    this.gcTags.length = 0;
    this.bytes = 0;
    return this;
  }

  #add(key: ByteString, value: Uint8Array, kind: number, expireAtMs: number, gcTag: number): this {
    checkEntry(key, value, expireAtMs, gcTag);
    this.keys.push(key);
    this.values.push(value);
    this.kinds.push(kind);
    this.expiries.push(expireAtMs);
    this.gcTags.push(gcTag);
    this.bytes += key.length + value.length;
    return this;
  }
}
