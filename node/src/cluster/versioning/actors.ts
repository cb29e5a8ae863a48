/**
 * Actors as byte strings out of encoded objects. A cluster has few actors and every object names some, so a small direct-mapped memo answers
 * most of them without making a string; equal actors are then often the same string, which compares at once. It changes no result.
 */

import { toByteString } from '../../base/bytes.ts';
import type { Actor } from './object.ts';
import { ACTOR_BYTES } from './object.ts';

const SLOTS = 256;
const memo: Actor[] = [];
for (let slot = 0; slot < SLOTS; slot += 1) memo.push('');

function isAt(actor: Actor, bytes: Uint8Array, at: number): boolean {
  if (actor.length !== ACTOR_BYTES) return false;
  for (let i = 0; i < ACTOR_BYTES; i += 1) if (actor.charCodeAt(i) !== bytes[at + i]) return false;
  return true;
}

/** The actor whose 20 bytes stand in `bytes` at `at`. */
export function readActor(bytes: Uint8Array, at: number): Actor {
  const slot = ((bytes[at] ?? 0) ^ ((bytes[at + 7] ?? 0) * 5) ^ ((bytes[at + 19] ?? 0) * 11)) & (SLOTS - 1);
  const known = memo[slot] ?? '';
  if (isAt(known, bytes, at)) return known;
  const actor = toByteString(bytes, at, at + ACTOR_BYTES);
  memo[slot] = actor;
  return actor;
}
