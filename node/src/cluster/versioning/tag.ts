/**
 * Tags: the order of the writes of a strong key (Attiya, Bar-Noy, Dolev 1995; with several writers, Lynch and Shvartsman 1997).
 *
 *   tag = u64 counter | 20 actor | u64 operation number
 *
 * As a byte string, so that tags compare with `<`: by counter, then actor, then number. The *counter* is above that of every write that was
 * complete before this one began. The *actor* and the *operation number*, which are a dot of the coordinator's leases, make a tag unlike
 * every other one: two writes that chose the same counter at the same time, even at one coordinator, are still told apart.
 */

import { type ByteString, toByteString, writeByteString } from '../../base/bytes.ts';
import { readU64, writeU64 } from './fields.ts';
import type { Dot } from './object.ts';
import { ACTOR_BYTES } from './object.ts';

/** TAG_BYTES bytes, or NO_TAG. */
export type Tag = ByteString;

export const TAG_BYTES: number = 8 + ACTOR_BYTES + 8;

/** Of a key that was never written: below every tag. */
export const NO_TAG: Tag = '';

/** @param counter 1 to 2^53-1 @param dot who writes, and its number among all that this actor does */
export function makeTag(counter: number, dot: Dot): Tag {
  const bytes = new Uint8Array(TAG_BYTES);
  writeU64(bytes, 0, counter);
  writeByteString(dot.actor, bytes, 8);
  writeU64(bytes, 8 + ACTOR_BYTES, dot.counter);
  return toByteString(bytes);
}

/** 0 for NO_TAG. */
export function counterOf(tag: Tag): number {
  let counter = 0;
  for (let i = 0; i < 8 && i < tag.length; i += 1) counter = counter * 256 + tag.charCodeAt(i);
  return counter;
}

/** Whether the bytes at `at` are a tag whose numbers are in range. */
export function isTagAt(bytes: Uint8Array, at: number): boolean {
  const counter = readU64(bytes, at);
  const number = readU64(bytes, at + 8 + ACTOR_BYTES);
  return counter >= 1 && counter <= Number.MAX_SAFE_INTEGER && number >= 1 && number <= Number.MAX_SAFE_INTEGER;
}

/** Whether a byte string is a tag, or NO_TAG. */
export function isTag(text: ByteString): boolean {
  if (text === NO_TAG) return true;
  if (text.length !== TAG_BYTES) return false;
  const bytes = new Uint8Array(TAG_BYTES);
  writeByteString(text, bytes, 0);
  return isTagAt(bytes, 0);
}
