/**
 * The versioned object kept under a key: a dotted version vector set (Preguiça et al., "Dotted Version Vectors", 2012; Almeida et al.,
 * "Scalable and Accurate Causality Tracking", 2014) with a last-writer-wins rule for writes made without a context.
 *
 * A *dot* (actor, counter) names one write event. Its value, time, blindness and operation are functions of the dot and never change. To an
 * object every dot is in one of three states, which only ever go up: unseen < live < dead.
 *   - seen: `clock[dot.actor] >= dot.counter`, or the event is not later than the truncation floor (`dot ms <= floorMs`);
 *   - live: seen, and among `siblings`;  dead: seen, and not among them.
 * Merging takes the higher state of each dot (merge.ts), hence commutes, associates and is idempotent.
 *
 * Invariants of every object (the codec refuses others):
 *   1. `clock` is sorted by actor, one entry an actor, counters >= 1. An entry's `ms` is the hybrid millisecond at which the dot
 *      (actor, counter) was minted. One actor's times never run backward, so an entry with `ms <= floorMs` says nothing that the floor does
 *      not say, and is dropped: equal knowledge has one representation.
 *   2. `siblings` are sorted newest first by `compareOrder`, and each is seen.
 *   3. `blindFloor` is the highest order of any blind write or blind delete ever seen. A blind sibling below it is dead; so at most one
 *      blind sibling lives, and it is the floor itself.
 *   4. `operations` are what is kept of the records, newest first (operation.ts).
 *
 * EXPIRE and PERSIST change no value: they raise a register (edit time, expiry) on the live dot, which is part of its state "live"; the
 * higher edit wins. A value thus keeps its dot and time through them: they never outrank a newer value, never revive one that a
 * concurrent write replaced, and a context read before still covers it. They mint a dot of their own, born dead, only to raise the clock.
 */

import type { ByteString } from '../../base/bytes.ts';
import { fromHex, toByteString } from '../../base/bytes.ts';
import { CoterieError } from '../../base/errors.ts';
import type { StoreId } from '../../base/ids.ts';
import type { HybridTime } from './hlc.ts';

/** Who mints dots: a store id (16 bytes) and its actor epoch (u32, big-endian): 20 bytes. */
export type Actor = ByteString;

export const ACTOR_BYTES = 20;
export const OPERATION_ID_BYTES = 16;
export const BODY_HASH_BYTES = 8;

/** Siblings from which a write warns, and the most that a write may leave. */
export const SIBLINGS_WARN = 25;
export const SIBLINGS_MAX = 100;
/** Clock entries above which a write truncates (or warns, while it may not) unless settings say otherwise, and the most that a write may leave. */
export const CLOCK_TRUNCATE = 50;
export const CLOCK_MAX = 100;
/** How many operation records an object keeps, and for how long before its newest one, in milliseconds. */
export const MAX_OPERATIONS = 16;
export const OPERATION_WINDOW_MS: number = 10 * 60_000;

/** One write event. Counters are 1 to 2^53-1, unique per actor over all keys. */
export interface Dot {
  readonly actor: Actor;
  readonly counter: number;
}

/** Every dot of `actor` up to `counter` on this key is seen. `ms`: when that last one was minted, hybrid milliseconds. */
export interface ClockEntry extends Dot {
  readonly ms: number;
}

/** The place of a write among blind writes: by time, then counter, then actor. */
export interface WriteOrder extends Dot {
  readonly time: HybridTime;
}

/** A live value. */
export interface Sibling extends WriteOrder {
  /** Written without a context: last writer wins among these. */
  readonly blind: boolean;
  /** When EXPIRE or PERSIST last changed `expireAtMs`; NO_TIME when none did. */
  readonly edit: HybridTime;
  /** Wall-clock milliseconds from which the value is gone; 0 for never. */
  readonly expireAtMs: number;
  readonly value: Uint8Array;
}

/** What is remembered of a write that carried an operation id. */
export interface OperationRecord extends Dot {
  /** The client's 16 bytes. */
  readonly id: ByteString;
  /** Hybrid milliseconds of the write. */
  readonly ms: number;
  /** 8 bytes over everything that makes the request the same write; the caller's choice. */
  readonly bodyHash: ByteString;
  /** What the first attempt answered: a live value was there. */
  readonly existed: boolean;
  /** A write came after it whose context had seen the dot. */
  readonly replaced: boolean;
}

/** The state of one key. Immutable: every operation answers a new one. */
export interface KvObject {
  readonly clock: readonly ClockEntry[];
  /** The truncation floor: every event not later than this hybrid millisecond is seen. 0 for none. */
  readonly floorMs: number;
  readonly blindFloor: WriteOrder | undefined;
  readonly siblings: readonly Sibling[];
  readonly operations: readonly OperationRecord[];
}

const EMPTY: KvObject = { clock: [], floorMs: 0, blindFloor: undefined, siblings: [], operations: [] };

/** The object of a key that was never written. */
export function emptyObject(): KvObject {
  return EMPTY;
}

/** The actor of a store in one of its actor epochs (0 to 2^32-1). */
export function actorOf(store: StoreId, actorEpoch: number): Actor {
  const id = fromHex(store);
  if (id?.length !== 16 || !Number.isInteger(actorEpoch) || actorEpoch < 0 || actorEpoch > 0xffff_ffff) {
    throw new CoterieError('SETTING_INVALID', 'an actor is a store id and an epoch from 0 to 4294967295');
  }
  // Of one piece, because it is written out byte by byte with every dot.
  return toByteString(Uint8Array.of(...id, actorEpoch >>> 24, actorEpoch >>> 16, actorEpoch >>> 8, actorEpoch));
}

export function sameDot(a: Dot, b: Dot): boolean {
  return a.counter === b.counter && a.actor === b.actor;
}

/** Negative when `a` loses against `b`, 0 when they are the same write, positive when it wins. */
export function compareOrder(a: WriteOrder, b: WriteOrder): number {
  return (
    a.time.ms - b.time.ms ||
    a.time.logical - b.time.logical ||
    a.counter - b.counter ||
    (a.actor < b.actor ? -1 : a.actor > b.actor ? 1 : 0)
  );
}

/** The counter up to which `clock` has seen `actor`; 0 when it has not. */
export function counterOf(clock: readonly ClockEntry[], actor: Actor): number {
  for (const entry of clock) if (entry.actor === actor) return entry.counter;
  return 0;
}

/** Which events an object, or a client that read it, has seen. */
export interface Knowledge {
  readonly clock: readonly ClockEntry[];
  readonly floorMs: number;
}

/** Whether `knowledge` has seen the event `dot`, minted at hybrid millisecond `ms`. */
export function covers(knowledge: Knowledge, dot: Dot, ms: number): boolean {
  return ms <= knowledge.floorMs || counterOf(knowledge.clock, dot.actor) >= dot.counter;
}
