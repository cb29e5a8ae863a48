/**
 * The codec of Object v1 (byte grammar: layout.ts). Invariants:
 *   - equal objects give equal bytes, and every accepted byte sequence is the one encoding of its object;
 *   - whatever the bytes, decoding answers such an object or throws DATA_DAMAGED; nothing is allocated for a count before the bytes that it
 *     counts are known to be there.
 */

import { append } from '../../base/append.ts';
import { type ByteString, byteStringOf64, toByteString, writeByteString } from '../../base/bytes.ts';
import { CoterieError, invariant } from '../../base/errors.ts';
import type { Checksum } from '../../base/hash.ts';
import { readActor } from './actors.ts';
import { hasItsDigest, writeDigest } from './digest.ts';
import { attemptBodyAt } from './attempt.ts';
import { readU16, readU32, readU48, readU64, writeU16, writeU32, writeU48, writeU64 } from './fields.ts';
import type { HybridTime } from './hlc.ts';
import { NO_TIME } from './hlc.ts';
import type { Layout } from './layout.ts';
import {
  AT_ACTORS,
  AT_CHECKED,
  AT_CRC,
  AT_DIGEST,
  AT_EXPIRY,
  AT_EXTRAS,
  AT_FLAGS,
  AT_FLOOR_MS,
  AT_NEWEST,
  AT_OPERATIONS,
  AT_RECORD_FLAGS,
  AT_SIBLINGS,
  AT_ZERO,
  DIGEST_BYTES,
  ENTRY_BYTES,
  FLAG_BLIND,
  FLAG_EXISTED,
  FLAG_FLOOR,
  FLAG_HIDDEN,
  FLAG_REPLACED,
  FLAG_TWIN,
  HEADER_BYTES,
  MAGIC,
  MAX_ACTORS,
  OPERATION_BYTES,
  ORDER_BYTES,
  SIBLING_BYTES,
  layoutOf,
  readLayout,
} from './layout.ts';
import { newestTime } from './newest.ts';
import { AT_KIND, KIND_VALUE, REGISTER_HEADER_BYTES, REGISTER_MAGIC } from './register-layout.ts';
import type { Actor, ClockEntry, Knowledge, KvObject, OperationRecord, Sibling, WriteOrder } from './object.ts';
import { ACTOR_BYTES, BODY_HASH_BYTES, OPERATION_ID_BYTES, compareOrder, covers } from './object.ts';
import { compareRecords, Keeping } from './operation.ts';
import { HIDDEN, shownAs } from './visibility.ts';

/** The expiry of the object as a whole: the last of its values' expiries; 0 when one never expires, or there is none. */
export function objectExpiry(object: KvObject): number {
  let last = 0;
  for (const sibling of object.siblings) {
    if (sibling.expireAtMs === 0) return 0;
    if (sibling.expireAtMs > last) last = sibling.expireAtMs;
  }
  return last;
}

function numberOf(actors: readonly ClockEntry[], actor: Actor): number {
  for (let at = 0; at < actors.length; at += 1) if (actors[at]?.actor === actor) return at;
  return -1;
}

/** The clock, with an empty entry for each further actor that a sibling or the floor refers to. */
function actorTable(object: KvObject, floor: WriteOrder | undefined): readonly ClockEntry[] {
  let table = floor === undefined ? object.clock : withActor(object.clock, floor.actor);
  for (const sibling of object.siblings) table = withActor(table, sibling.actor);
  return table === object.clock ? table : [...table].sort((a, b) => (a.actor < b.actor ? -1 : 1));
}

function withActor(table: readonly ClockEntry[], actor: Actor): readonly ClockEntry[] {
  return numberOf(table, actor) < 0 ? [...table, { actor, counter: 0, ms: 0 }] : table;
}

const NO_EXTRAS: readonly Actor[] = [];
const NO_SIBLINGS: readonly Sibling[] = [];

function extraActors(table: readonly ClockEntry[], operations: readonly OperationRecord[]): readonly Actor[] {
  const extras = new Set<Actor>();
  for (const record of operations) if (numberOf(table, record.actor) < 0) extras.add(record.actor);
  return extras.size === 0 ? NO_EXTRAS : [...extras].sort();
}

function writeOrder(bytes: Uint8Array, from: number, order: WriteOrder, table: readonly ClockEntry[]): number {
  let at = writeU48(bytes, from, order.time.ms);
  at = writeU16(bytes, at, order.time.logical);
  at = writeU64(bytes, at, order.counter);
  return writeU16(bytes, at, numberOf(table, order.actor));
}

/** @param numbers of the siblings as which each is shown (`shownAs`) */
function flagsOf(sibling: Sibling, number: number, numbers: readonly number[] | undefined): number {
  const shown = numbers?.[number] ?? number;
  return (sibling.blind ? FLAG_BLIND : 0) | (shown === number ? 0 : shown === HIDDEN ? FLAG_HIDDEN : FLAG_TWIN);
}

function writeOperations(
  bytes: Uint8Array,
  layout: Layout,
  object: KvObject,
  table: readonly ClockEntry[],
  extras: readonly Actor[],
): void {
  let at = layout.extrasAt;
  for (const actor of extras) at = writeByteString(actor, bytes, at);
  for (const record of object.operations) {
    const known = numberOf(table, record.actor);
    at = writeByteString(record.id, bytes, at);
    at = writeByteString(record.bodyHash, bytes, at);
    at = writeU48(bytes, at, record.ms);
    at = writeU64(bytes, at, record.counter);
    at = writeU16(bytes, at, known >= 0 ? known : table.length + extras.indexOf(record.actor));
    bytes[at] = (record.existed ? FLAG_EXISTED : 0) | (record.replaced ? FLAG_REPLACED : 0);
    at += 1;
  }
}

/** Gives `size` bytes, of any content; every one is written. */
export type Allocate = (size: number) => Uint8Array;

const allocateFresh: Allocate = (size) => new Uint8Array(size);

/**
 * The encoding of `object`.
 *
 * @param allocate where the bytes come from; a pooled allocator saves a third of the time, and what it gives is a view into its pool
 */
export function encodeObject(object: KvObject, checksum: Checksum, allocate: Allocate = allocateFresh): Uint8Array {
  const { siblings, operations, blindFloor } = object;
  let size = 0;
  let implied = false;
  for (const sibling of siblings) {
    size += sibling.value.length;
    if (!sibling.blind) continue;
    invariant(sibling.counter === blindFloor?.counter && sibling.actor === blindFloor.actor, 'a live blind sibling is the blind floor');
    implied = true;
  }
  const floor = implied ? undefined : blindFloor;
  const table = actorTable(object, floor);
  invariant(table.length < MAX_ACTORS && siblings.length <= 0xffff, 'an object is within its bounds');
  const extras = operations.length === 0 ? NO_EXTRAS : extraActors(table, operations);
  const layout = layoutOf(table.length, floor !== undefined, siblings.length, extras.length, operations.length);
  const bytes = allocate(layout.valuesAt + size);
  const newest = newestTime(object);
  writeU32(bytes, 0, MAGIC);
  bytes[AT_OPERATIONS] = operations.length;
  bytes[AT_EXTRAS] = extras.length;
  writeU16(bytes, AT_ZERO, 0);
  bytes[AT_FLAGS] = floor === undefined ? 0 : FLAG_FLOOR;
  bytes[AT_FLAGS + 1] = 0;
  writeU16(bytes, AT_SIBLINGS, siblings.length);
  writeU16(bytes, AT_ACTORS, table.length);
  writeU48(bytes, AT_EXPIRY, objectExpiry(object));
  writeU48(bytes, AT_NEWEST, newest.ms);
  writeU16(bytes, AT_NEWEST + 6, newest.logical);
  writeU48(bytes, AT_FLOOR_MS, object.floorMs);
  let at = HEADER_BYTES;
  for (const entry of table) {
    at = writeByteString(entry.actor, bytes, at);
    at = writeU64(bytes, at, entry.counter);
    at = writeU48(bytes, at, entry.ms);
  }
  if (floor !== undefined) at = writeOrder(bytes, at, floor, table);
  let valueAt = layout.valuesAt;
  const numbers = shownAs(object);
  let number = 0;
  for (const sibling of siblings) {
    at = writeOrder(bytes, at, sibling, table);
    bytes[at] = flagsOf(sibling, number, numbers);
    number += 1;
    at = writeU48(bytes, at + 1, sibling.edit.ms);
    at = writeU16(bytes, at, sibling.edit.logical);
    at = writeU48(bytes, at, sibling.expireAtMs);
    at = writeU32(bytes, at, sibling.value.length);
    bytes.set(sibling.value, valueAt);
    valueAt += sibling.value.length;
  }
  if (operations.length > 0) writeOperations(bytes, layout, object, table, extras);
  writeDigest(bytes, layout.extrasAt);
  writeU32(bytes, AT_CRC, checksum(bytes.subarray(AT_CHECKED)));
  return bytes;
}

export function damaged(what: string): CoterieError {
  return new CoterieError('DATA_DAMAGED', `damaged object: ${what}`);
}

/** Throws DATA_DAMAGED unless `bytes` is an object of either version whose checksum holds. */
export function verifyChecksum(bytes: Uint8Array, checksum: Checksum): void {
  const magic = readU32(bytes, 0);
  if (bytes.length < (magic === REGISTER_MAGIC ? REGISTER_HEADER_BYTES : HEADER_BYTES)) throw damaged('too short');
  if (magic !== MAGIC && magic !== REGISTER_MAGIC) throw damaged('unknown format or version');
  if (checksum(bytes.subarray(AT_CHECKED)) !== readU32(bytes, AT_CRC)) throw damaged('wrong checksum');
}

function counterAt(bytes: Uint8Array, at: number): number {
  const counter = readU64(bytes, at);
  if (counter > Number.MAX_SAFE_INTEGER) throw damaged('counter out of range');
  return counter;
}

interface ActorTable {
  /** By number: the actors of the table, then the extras. */
  readonly actors: Actor[];
  readonly knowledge: Knowledge;
  /** How many actors have no clock entry. */
  readonly bare: number;
}

function readActors(bytes: Uint8Array, layout: Layout): ActorTable {
  const floorMs = readU48(bytes, AT_FLOOR_MS);
  let actors: Actor[] | undefined;
  let clock: ClockEntry[] | undefined;
  let bare = 0;
  let previous = '';
  for (let i = 0, at = HEADER_BYTES; i < layout.actors; i += 1, at += ENTRY_BYTES) {
    const actor = readActor(bytes, at);
    if (actor <= previous) throw damaged('actors out of order');
    previous = actor;
    actors = append(actors, actor);
    const counter = counterAt(bytes, at + ACTOR_BYTES);
    const ms = readU48(bytes, at + ACTOR_BYTES + 8);
    if (counter === 0) {
      if (ms !== 0) throw damaged('time without a clock entry');
      bare += 1;
    } else {
      if (ms <= floorMs) throw damaged('clock entry under the floor');
      clock = append(clock, { actor, counter, ms });
    }
  }
  return { actors: actors ?? [], knowledge: { clock: clock ?? [], floorMs }, bare };
}

function readOrder(bytes: Uint8Array, at: number, layout: Layout, table: ActorTable): WriteOrder {
  const number = readU16(bytes, at + 16);
  const actor = table.actors[number];
  if (actor === undefined || number >= layout.actors) throw damaged('unknown actor');
  const counter = counterAt(bytes, at + 8);
  if (counter === 0) throw damaged('counter out of range');
  const order = { actor, counter, time: { ms: readU48(bytes, at), logical: readU16(bytes, at + 6) } };
  if (!covers(table.knowledge, order, order.time.ms)) throw damaged('version outside the clock');
  return order;
}

function readSiblings(bytes: Uint8Array, layout: Layout, table: ActorTable): readonly Sibling[] {
  let siblings: Sibling[] | undefined;
  let valueAt = layout.valuesAt;
  for (let i = 0, at = layout.siblingsAt; i < layout.siblings; i += 1, at += SIBLING_BYTES) {
    const { actor, counter, time } = readOrder(bytes, at, layout, table);
    const flags = bytes[at + ORDER_BYTES] ?? 0;
    const editMs = readU48(bytes, at + ORDER_BYTES + 1);
    const editLogical = readU16(bytes, at + ORDER_BYTES + 7);
    const edit = editMs === 0 && editLogical === 0 ? NO_TIME : { ms: editMs, logical: editLogical };
    const expireAtMs = readU48(bytes, at + ORDER_BYTES + 9);
    const valueEnd = valueAt + readU32(bytes, at + ORDER_BYTES + 15);
    if (valueEnd > bytes.length) throw damaged('value beyond the end');
    const value = bytes.subarray(valueAt, valueEnd);
    valueAt = valueEnd;
    const sibling = { actor, counter, time, blind: (flags & FLAG_BLIND) !== 0, edit, expireAtMs, value };
    const newer = siblings?.at(-1);
    if (newer !== undefined && compareOrder(newer, sibling) <= 0) throw damaged('siblings out of order');
    siblings = append(siblings, sibling);
  }
  if (valueAt !== bytes.length) throw damaged('bytes after the last value');
  return siblings ?? NO_SIBLINGS;
}

/** The 16 bytes of an operation id: nearly every write has one, and the general way costs several times as much. */
function operationIdAt(bytes: Uint8Array, at: number): ByteString {
  const first = byteStringOf64(readU32(bytes, at), readU32(bytes, at + 4));
  return first + byteStringOf64(readU32(bytes, at + 8), readU32(bytes, at + 12));
}

function readOperations(bytes: Uint8Array, layout: Layout, table: ActorTable): OperationRecord[] {
  const { actors, knowledge } = table;
  for (let i = 0, at = layout.extrasAt; i < layout.extras; i += 1, at += ACTOR_BYTES) {
    const actor = readActor(bytes, at);
    const previous = actors[layout.actors + i - 1];
    if ((i > 0 && previous !== undefined && actor <= previous) || actors.lastIndexOf(actor, layout.actors - 1) >= 0) {
      throw damaged('extra actors out of order');
    }
    actors.push(actor);
  }
  const used = layout.extras === 0 ? undefined : new Set<number>();
  const records: OperationRecord[] = [];
  const keeping = new Keeping();
  for (let i = 0, at = layout.operationsAt; i < layout.operations; i += 1, at += OPERATION_BYTES) {
    const number = readU16(bytes, at + 38);
    const actor = actors[number];
    const counter = counterAt(bytes, at + 30);
    const flags = bytes[at + AT_RECORD_FLAGS] ?? 0;
    if (actor === undefined || counter === 0 || flags > (FLAG_EXISTED | FLAG_REPLACED)) throw damaged('operation out of range');
    if (number >= layout.actors) used?.add(number);
    const bodyAt = at + OPERATION_ID_BYTES;
    const record: OperationRecord = {
      id: operationIdAt(bytes, at),
      actor,
      counter,
      ms: readU48(bytes, at + 24),
      bodyHash: attemptBodyAt(bytes, bodyAt) ?? toByteString(bytes, bodyAt, bodyAt + BODY_HASH_BYTES),
      existed: (flags & FLAG_EXISTED) !== 0,
      replaced: (flags & FLAG_REPLACED) !== 0,
    };
    const newer = i === 0 ? undefined : records[i - 1];
    if (newer !== undefined && compareRecords(newer, record) >= 0) throw damaged('operations out of order');
    if (!keeping.keeps(record)) throw damaged('operation out of its window');
    if (!covers(knowledge, record, record.ms)) throw damaged('operation outside the clock');
    records.push(record);
  }
  if (used !== undefined && used.size !== layout.extras) throw damaged('actor without use');
  return records;
}

const NO_OPERATIONS: readonly OperationRecord[] = [];

/** Every actor without a clock entry is there for a sibling's or the floor's sake. */
function checkBareActors(table: ActorTable, siblings: readonly Sibling[], floor: WriteOrder | undefined): void {
  const bare = new Set<Actor>();
  const note = (actor: Actor): void => {
    if (!table.knowledge.clock.some((entry) => entry.actor === actor)) bare.add(actor);
  };
  if (floor !== undefined) note(floor.actor);
  for (const sibling of siblings) note(sibling.actor);
  if (bare.size !== table.bare) throw damaged('actor without use');
}

/** Every sibling is marked as the records say, and has no other flags. */
function checkFlags(bytes: Uint8Array, layout: Layout, object: KvObject): void {
  const numbers = shownAs(object);
  let number = 0;
  for (const sibling of object.siblings) {
    const at = layout.siblingsAt + number * SIBLING_BYTES + ORDER_BYTES;
    if (bytes[at] !== flagsOf(sibling, number, numbers)) throw damaged('wrong flags');
    number += 1;
  }
}

/**
 * The object in `bytes`. Its values are views into `bytes`.
 *
 * @throws CoterieError DATA_DAMAGED
 */
export function decodeObject(bytes: Uint8Array, checksum: Checksum): KvObject {
  verifyChecksum(bytes, checksum);
  return decodeVerified(bytes);
}

/**
 * The object in `bytes`, of which a write will keep no values: what it does keep, the clock, has a digest of its own, so that the values, the better
 * part of it, need not be read. Records of clients' operation ids are kept too, and checked; a wrong bit in an attempt's is found, or costs no
 * more than a write that two coordinators make and that is not seen to be one.
 *
 * @throws CoterieError DATA_DAMAGED
 */
export function decodeReplaced(bytes: Uint8Array, checksum: Checksum): KvObject {
  if (hasOperationIds(bytes)) verifyChecksum(bytes, checksum);
  return decodeVerified(bytes);
}

function hasOperationIds(bytes: Uint8Array): boolean {
  const count = bytes[AT_OPERATIONS] ?? 0;
  const layout = count === 0 ? undefined : readLayout(bytes);
  if (layout === undefined) return false;
  for (let i = 0, at = layout.operationsAt + OPERATION_ID_BYTES; i < count; i += 1, at += OPERATION_BYTES) {
    if (attemptBodyAt(bytes, at) === undefined) return true;
  }
  return false;
}

/**
 * The object in `bytes`, which `verifyChecksum` has passed, or of which nothing is kept that the digest does not cover (`decodeReplaced`). Its values
 * are views into `bytes`.
 *
 * @throws CoterieError DATA_DAMAGED
 */
export function decodeVerified(bytes: Uint8Array): KvObject {
  const layout = readLayout(bytes);
  if (layout === undefined || readU32(bytes, 0) !== MAGIC) throw damaged('counts out of range, or of another version');
  if (readU16(bytes, AT_ZERO) !== 0 || bytes[AT_FLAGS + 1] !== 0) throw damaged('unknown flags');
  const table = readActors(bytes, layout);
  const siblings = readSiblings(bytes, layout, table);
  let blindFloor = layout.hasFloor ? readOrder(bytes, layout.floorAt, layout, table) : undefined;
  if (table.bare > 0) checkBareActors(table, siblings, blindFloor);
  for (const sibling of siblings) {
    if (!sibling.blind) continue;
    if (blindFloor !== undefined) throw damaged('blind sibling beside a blind floor');
    blindFloor = { actor: sibling.actor, counter: sibling.counter, time: sibling.time };
  }
  const operations = layout.operations === 0 && layout.extras === 0 ? NO_OPERATIONS : readOperations(bytes, layout, table);
  const object: KvObject = { clock: table.knowledge.clock, floorMs: table.knowledge.floorMs, blindFloor, siblings, operations };
  checkFlags(bytes, layout, object);
  const newest = newestTime(object);
  if (readU48(bytes, AT_NEWEST) !== newest.ms || readU16(bytes, AT_NEWEST + 6) !== newest.logical) throw damaged('wrong newest time');
  if (readU48(bytes, AT_EXPIRY) !== objectExpiry(object)) throw damaged('wrong expiry');
  if (!hasItsDigest(bytes, layout.extrasAt)) throw damaged('wrong digest');
  return object;
}

/** What the fixed header of an encoded object says. */
export interface ObjectHeader {
  /** Live dots, expired and hidden ones included; 0 for a deleted key. */
  readonly siblings: number;
  /** From when every value of the object is expired, wall-clock milliseconds; 0 when one never is, or there is none. */
  readonly expireAtMs: number;
  /** The newest hybrid time in the object: what a receiver's clock must take in. */
  readonly newest: HybridTime;
  /** Of a strong bucket (register.ts): it has at most one value, which never expires, and no times. */
  readonly register: boolean;
}

function isRegister(bytes: Uint8Array): boolean {
  return readU32(bytes, 0) === REGISTER_MAGIC && bytes.length >= REGISTER_HEADER_BYTES;
}

/** What the header of the object's encoding says. */
export function headerOf(object: KvObject): ObjectHeader {
  return { siblings: object.siblings.length, expireAtMs: objectExpiry(object), newest: newestTime(object), register: false };
}

const LIVE_REGISTER: ObjectHeader = { siblings: 1, expireAtMs: 0, newest: NO_TIME, register: true };
const DEAD_REGISTER: ObjectHeader = { siblings: 0, expireAtMs: 0, newest: NO_TIME, register: true };

function checkFormat(bytes: Uint8Array): Layout {
  const layout = readLayout(bytes);
  if (layout === undefined || readU32(bytes, 0) !== MAGIC) throw damaged('unknown format');
  return layout;
}

/**
 * Reads the fixed header in place; the clock is not decoded, and the checksum not verified.
 *
 * @throws CoterieError DATA_DAMAGED
 */
export function readHeader(bytes: Uint8Array): ObjectHeader {
  if (isRegister(bytes)) return bytes[AT_KIND] === KIND_VALUE ? LIVE_REGISTER : DEAD_REGISTER;
  const { siblings } = checkFormat(bytes);
  const newest = { ms: readU48(bytes, AT_NEWEST), logical: readU16(bytes, AT_NEWEST + 6) };
  return { siblings, expireAtMs: readU48(bytes, AT_EXPIRY), newest, register: false };
}

/**
 * The 8 bytes of an encoded object's digest, a view; equal exactly when two objects are in the same state and show the same of it.
 *
 * @throws CoterieError DATA_DAMAGED
 */
export function readDigest(bytes: Uint8Array): Uint8Array {
  if (!isRegister(bytes)) checkFormat(bytes);
  return bytes.subarray(AT_DIGEST, AT_DIGEST + DIGEST_BYTES);
}
