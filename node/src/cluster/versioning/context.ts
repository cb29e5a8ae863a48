/**
 * Contexts: what a client has seen of a key, handed out with every answer and brought back with a write, which then replaces exactly that.
 *
 *   token = u8 version (1) | 8 binding | u48 truncation floor | blind | u16 entries | entry* | u32 CRC-32
 *   blind = u48 ms | u16 logical | u64 counter | 20 actor      the blind floor; all zeros for none
 *   entry = 20 actor | u64 counter | u48 ms                    strictly ascending by actor
 *
 * The blind floor is part of it because whoever has seen a blind write has seen that it outranks older ones: without it, a write with the
 * context could stand beside a blind one that had lost already. Equal clocks then mean equal states.
 *
 * The binding is a hash of cluster, bucket and key, so that a token used elsewhere is refused instead of burying versions there. The checksum
 * catches accidents. Neither is a signature: who may write the key may also make up a context for it, and harms only that key.
 */

import type { ByteString } from '../../base/bytes.ts';
import { writeByteString } from '../../base/bytes.ts';
import { CoterieError } from '../../base/errors.ts';
import type { Checksum, Hash64 } from '../../base/hash.ts';
import { halfSipHash64Bytes } from '../../base/hash.ts';
import type { ClusterId } from '../../base/ids.ts';
import { readActor } from './actors.ts';
import { type Allocate, decodeObject } from './codec.ts';
import { readU16, readU32, readU48, readU64, writeU16, writeU32, writeU48, writeU64 } from './fields.ts';
import { AT_FLOOR_MS, ENTRY_BYTES, FLAG_BLIND, HEADER_BYTES, MAGIC, ORDER_BYTES, readLayout } from './layout.ts';
import type { ClockEntry, Knowledge, KvObject, WriteOrder } from './object.ts';
import { ACTOR_BYTES, covers } from './object.ts';

/** What a client has seen of a key. */
export interface Context extends Knowledge {
  readonly blindFloor: WriteOrder | undefined;
}

/** Where a context belongs; a token of another place is refused as foreign. */
export interface ContextPlace {
  readonly clusterId: ClusterId;
  /** 0 to 65,535. */
  readonly bucketId: number;
  readonly key: ByteString;
}

const VERSION = 1;
const AT_BINDING = 1;
const AT_FLOOR = 9;
const AT_BLIND = 15;
const AT_COUNT = 51;
const AT_ENTRIES = 53;
const CRC_BYTES = 4;
/** More entries than any object that a write can leave, with room for merged ones. */
const MAX_ENTRIES = 4096;
const KEY = { k0: 0x636f6e74, k1: 0x65787431 } as const;
const scratch: Hash64 = { hi: 0, lo: 0 };
/** Where the name of a place is put together. */
const named = new Uint8Array(512);
const allocateFresh: Allocate = (size) => new Uint8Array(size);

/** What a client that is shown `object` has seen. */
export function contextOf(object: KvObject): Context {
  return { clock: object.clock, floorMs: object.floorMs, blindFloor: object.blindFloor };
}

function bind({ clusterId, bucketId, key }: ContextPlace): Hash64 {
  const size = clusterId.length + 2 + key.length;
  // Strings that are joined must first be made one before their characters can be read, which costs more than the hash.
  const bytes = size <= named.length ? named : new Uint8Array(size);
  // The parts before the key have fixed widths, so no two places make one text.
  const keyAt = writeU16(bytes, writeByteString(clusterId, bytes, 0), bucketId);
  return halfSipHash64Bytes(KEY, bytes, 0, writeByteString(key, bytes, keyAt), scratch);
}

/**
 * The token of `context` for `place`.
 *
 * @param allocate gives zeros
 */
export function encodeContext(context: Context, place: ContextPlace, checksum: Checksum, allocate: Allocate = allocateFresh): Uint8Array {
  const { clock, floorMs, blindFloor } = context;
  const end = AT_ENTRIES + clock.length * ENTRY_BYTES;
  const token = allocate(end + CRC_BYTES);
  token[0] = VERSION;
  const { hi, lo } = bind(place);
  writeU32(token, AT_BINDING, hi);
  writeU32(token, AT_BINDING + 4, lo);
  writeU48(token, AT_FLOOR, floorMs);
  if (blindFloor !== undefined) {
    writeU48(token, AT_BLIND, blindFloor.time.ms);
    writeU16(token, AT_BLIND + 6, blindFloor.time.logical);
    writeU64(token, AT_BLIND + 8, blindFloor.counter);
    writeByteString(blindFloor.actor, token, AT_BLIND + 16);
  }
  let at = writeU16(token, AT_COUNT, clock.length);
  for (const entry of clock) {
    at = writeByteString(entry.actor, token, at);
    at = writeU64(token, at, entry.counter);
    at = writeU48(token, at, entry.ms);
  }
  writeU32(token, end, checksum(token.subarray(0, end)));
  return token;
}

/** Whether every actor in the table of an encoded object has a clock entry: then the table is the clock. */
function tableIsClock(bytes: Uint8Array, actors: number): boolean {
  for (let i = 0, at = HEADER_BYTES + ACTOR_BYTES; i < actors; i += 1, at += ENTRY_BYTES) if (readU64(bytes, at) === 0) return false;
  return true;
}

/**
 * The token of what a client has seen to whom the encoded object in `bytes` is shown. A single blind value, the common case, is copied field by
 * field, without decoding; as in peek.ts, the checksum is not verified then.
 *
 * @param allocate gives zeros
 * @throws CoterieError DATA_DAMAGED
 */
export function tokenOf(bytes: Uint8Array, place: ContextPlace, checksum: Checksum, allocate: Allocate = allocateFresh): Uint8Array {
  const layout = readLayout(bytes);
  const plain =
    layout?.siblings === 1 &&
    readU32(bytes, 0) === MAGIC &&
    bytes[layout.siblingsAt + ORDER_BYTES] === FLAG_BLIND &&
    !layout.hasFloor &&
    readU16(bytes, layout.siblingsAt + 16) < layout.actors &&
    tableIsClock(bytes, layout.actors);
  if (!plain) return encodeContext(contextOf(decodeObject(bytes, checksum)), place, checksum, allocate);
  const { actors, siblingsAt, floorAt } = layout;
  const end = AT_ENTRIES + actors * ENTRY_BYTES;
  const token = allocate(end + CRC_BYTES);
  token[0] = VERSION;
  const { hi, lo } = bind(place);
  writeU32(token, AT_BINDING, hi);
  writeU32(token, AT_BINDING + 4, lo);
  for (let i = 0; i < AT_BLIND - AT_FLOOR; i += 1) token[AT_FLOOR + i] = bytes[AT_FLOOR_MS + i] ?? 0;
  // The blind floor is the value's own order, with the actor in full in place of its number.
  for (let i = 0; i < ORDER_BYTES - 2; i += 1) token[AT_BLIND + i] = bytes[siblingsAt + i] ?? 0;
  const actorAt = HEADER_BYTES + readU16(bytes, siblingsAt + 16) * ENTRY_BYTES;
  for (let i = 0; i < ACTOR_BYTES; i += 1) token[AT_BLIND + 16 + i] = bytes[actorAt + i] ?? 0;
  writeU16(token, AT_COUNT, actors);
  for (let at = HEADER_BYTES; at < floorAt; at += 1) token[AT_ENTRIES + at - HEADER_BYTES] = bytes[at] ?? 0;
  writeU32(token, end, checksum(token.subarray(0, end)));
  return token;
}

function broken(what: string): CoterieError {
  return new CoterieError('CONTEXT_BROKEN', `broken context: ${what}; use one exactly as an answer gave it`, { outcome: 'none' });
}

function readBlindFloor(token: Uint8Array): WriteOrder | undefined {
  const counter = readU64(token, AT_BLIND + 8);
  if (counter === 0) {
    if (token.subarray(AT_BLIND, AT_COUNT).some((byte) => byte !== 0)) throw broken('blind floor out of range');
    return undefined;
  }
  if (counter > Number.MAX_SAFE_INTEGER) throw broken('blind floor out of range');
  const time = { ms: readU48(token, AT_BLIND), logical: readU16(token, AT_BLIND + 6) };
  return { actor: readActor(token, AT_BLIND + 16), counter, time };
}

/**
 * The context in `token`.
 *
 * @throws CoterieError CONTEXT_BROKEN when the bytes are no context; CONTEXT_FOREIGN when it belongs to another cluster, bucket or key
 */
export function decodeContext(token: Uint8Array, place: ContextPlace, checksum: Checksum): Context {
  const end = token.length - CRC_BYTES;
  if (end < AT_ENTRIES) throw broken('too short');
  if (token[0] !== VERSION) throw broken('unknown version');
  const count = readU16(token, AT_COUNT);
  if (count > MAX_ENTRIES || end !== AT_ENTRIES + count * ENTRY_BYTES) throw broken('wrong length');
  if (checksum(token.subarray(0, end)) !== readU32(token, end)) throw broken('wrong checksum');
  const { hi, lo } = bind(place);
  if (readU32(token, AT_BINDING) !== hi || readU32(token, AT_BINDING + 4) !== lo) {
    throw new CoterieError('CONTEXT_FOREIGN', 'the context belongs to another key, bucket or cluster', { outcome: 'none' });
  }
  const floorMs = readU48(token, AT_FLOOR);
  const clock: ClockEntry[] = [];
  let previous = '';
  for (let at = AT_ENTRIES; at < end; at += ENTRY_BYTES) {
    const actor = readActor(token, at);
    const counter = readU64(token, at + ACTOR_BYTES);
    const ms = readU48(token, at + ACTOR_BYTES + 8);
    if (actor <= previous || counter === 0 || counter > Number.MAX_SAFE_INTEGER || ms <= floorMs) throw broken('entry out of range');
    previous = actor;
    clock.push({ actor, counter, ms });
  }
  const blindFloor = readBlindFloor(token);
  if (blindFloor !== undefined && !covers({ clock, floorMs }, blindFloor, blindFloor.time.ms)) throw broken('blind floor out of range');
  return { clock, floorMs, blindFloor };
}
