/**
 * Decisions that the simulator can replace one by one to put a known bug back (its mutants). Each is a pure function with one shipped
 * implementation; nothing else in the node depends on which one runs. Mutants that concern the disk (acknowledged before synced, torn tail
 * accepted, fsync retried) are put back around the injected `Vfs`, not here.
 *
 * - `writeQuorum`: "W counted one short" answers w - 1 (at least 1).
 * - `ownCopy`: "coordinator forgets its copy" answers undefined, so that the new dot claims what its holder has not merged.
 * - `truncate`: "truncation makes false siblings" drops the oldest entries by Dynamo's own rule: whoever has them, and with no floor in their place.
 * - `reconcile`: "merge by overwrite" answers the incoming bytes.
 * - `repairs`: "read repair dropped" answers false; the read then takes the repair for done.
 * - `operation`: "retry makes a second dot" answers undefined, so that no version knows its operation.
 * - `mutation`: "EXPIRE overwrites a newer value" answers a blind write of the value that the coordinator has.
 * - `bootActor`: "restored store keeps its actor" answers `before` on a restored disk. "dot reused after amnesia" answers an actor that a store had before it lost its disk (say, epoch 0 and counter 0 every time).
 *   For a wiped disk the store id matters too: `newStoreId` then answers one that depends on the slot only; and with `coordinates` answering true
 *   the store does not wait for its peers' word.
 * - `begins`: a late attempt is carried out where it answers true (test/runtime/hedged-writes.test.ts; among the mutants it would be too rare).
 * - `shed`: "shed after effect" begins the operation, whose client has been told that it was refused.
 * - `counts`: "blank replica counted in R" answers true.
 * - `reconcileRepaired`: "repair overwrites instead of merging" answers the incoming bytes.
 * - `transferred`: "TTL revived by repair" answers the object without its expiry.
 * - `unreadable`: "quarantined range answers not found" answers undefined where damage took the copy.
 * - `damageShows`: "Merkle root unchanged by damage" answers false, so that a tree goes on saying what the store had before.
 * - `observersNeeded`: "one-observer DOWN" answers 1.
 * - `accuses`: "rumour counted as a probe" answers true.
 * - `mostAheadMs`: "clock jump accepted" answers Infinity.
 * - `countsFallbacks`: "fallback counted in a strict quorum" answers true.
 * - `overdue`: "hint dropped by age" drops the hints.
 * - `spendsStandIn`: "fallback mints on after it dropped a hint" answers false.
 * - `writesBack`: "strong read skips write-back when fewer than W hold the tag" answers false; the read then answers what one replica holds.
 * - `writeTag`: "tag reused by two writes of one coordinator" answers the tag of the coordinator's last write of the key.
 * - `refusesBelow`: "per-request R below the bucket's" answers false.
 * - `admits`: "generation not checked on a late message" answers true.
 * - `confirms`: "tombstone collected before all primaries confirmed" answers one and the same digest for all.
 */

import { crc32 } from 'node:zlib';
import { MAX_AHEAD_MS } from '../cluster/versioning/hlc.ts';

import type { ByteString } from '../base/bytes.ts';
import type { MemberName, PartitionId, StoreId } from '../base/ids.ts';
import type { Backlog } from '../cluster/handoff/hint-index.ts';
import type { QuorumKind } from '../cluster/quorum/legality.ts';
import type { Dot } from '../cluster/versioning/object.ts';
import { type Reconciled, reconcileEncoded } from '../cluster/versioning/reconcile.ts';
import type { KvObject } from '../cluster/versioning/object.ts';
import { makeTag, type Tag } from '../cluster/versioning/tag.ts';
import { truncateClock } from '../cluster/versioning/truncate.ts';
import type { Mutation, Operation } from '../cluster/versioning/update.ts';
import type { Entry } from '../storage/entry.ts';
import type { Hint, HintPage } from './hint-scan.ts';

/** What makes the dots of this boot. */
export interface BootActor {
  readonly actorEpoch: number;
  /** The last counter used. */
  readonly counter: number;
}

/** The hints of a store, as far as it takes to record that some are debt; and what it would take to drop them. */
export interface DebtBook {
  owe(partition: PartitionId, slot: number, reason: string): void;
  page(partition: PartitionId, slot: number, from: undefined, entries: number, bytes: number): Promise<HintPage>;
  drop(hint: Hint): Promise<boolean>;
}

export interface Policies {
  /** Durable acknowledgements to wait for when `w` were asked for. */
  writeQuorum(w: number): number;
  /** The coordinator's own copy (encoded) that a write is merged into. */
  ownCopy(local: Uint8Array | undefined): Uint8Array | undefined;
  /**
   * What a write is made on where the clock of the coordinator's copy is too long, and `keep` entries of it are enough.
   *
   * @param upToMs what is later stays; undefined where no entry may go, because a primary may lack what `local` has, or somebody keep a hint
   */
  truncate(local: KvObject, keep: number, upToMs: number | undefined): KvObject;
  /** What a store keeps when an object comes in, and what a read answers when replicas differ. */
  reconcile(local: Uint8Array | undefined, incoming: Uint8Array): Reconciled;
  /** Whether the stale replica is brought up to date by a read. */
  repairs(replica: number): boolean;
  /** The operation that a write is recorded under. */
  operation(asked: Operation | undefined): Operation | undefined;
  /** Whether a write is begun that may have been handed to another coordinator since; `late`: its time to begin is over. */
  begins(late: boolean): boolean;
  /** What becomes of an operation that was refused while it waited for its beginning. */
  shed(begin: () => void): void;
  /** What a coordinator does to the copy that it has. */
  mutation(asked: Mutation, seen: KvObject, nowMs: number): Mutation;
  /** The actor of this boot, or after a rewind; `proposed` by the rules of cluster/membership/boot.ts, `before` what the disk says. */
  bootActor(proposed: BootActor, before: BootActor): BootActor;
  /** The id of a new store; `drawn` at random. */
  newStoreId(drawn: StoreId, member: MemberName): StoreId;
  /** Whether the answers of a store count in R; `synchronised`: it is, and its peers know of nothing that it has lost. */
  counts(synchronised: boolean): boolean;
  /** The same for coordinating writes. */
  coordinates(synchronised: boolean): boolean;
  /** What a store keeps when repair brings an object. */
  reconcileRepaired(local: Uint8Array | undefined, incoming: Uint8Array): Reconciled;
  /** What repair sends of an object that this store holds. */
  transferred(object: Uint8Array): Uint8Array;
  /** What a read is told of a copy that the store cannot read: that it is unknown, which is thrown, and never that there is none. */
  unreadable(error: unknown): Entry | undefined;
  /** Whether damage makes the leaves of the hash tree around it unknown, and the range a debt. */
  damageShows(): boolean;
  /** How many observers must have found a member silent for it to be DOWN. */
  observersNeeded(): number;
  /** Whether this node calls a member silent; `probed`: its own probes went unanswered, else it has only heard of it. */
  accuses(probed: boolean): boolean;
  /** How far ahead of this node's wall clock a time that comes with an object may be, in ms. */
  mostAheadMs(): number;
  /** Whether an operation counts fallbacks. */
  countsFallbacks(kind: QuorumKind): boolean;
  /** What becomes of hints that cannot be handed off: they are debt, and stay. */
  overdue(book: DebtBook, backlog: Backlog, reason: string): void;
  /** Whether dropping a hint ends the actor that minted into it (cluster/handoff/stand-in-actor.ts). */
  spendsStandIn(): boolean;
  /** Whether a strong read brings what it answers to replicas that hold less, and waits until W hold it. */
  writesBack(): boolean;
  /** The tag of a strong write of the disk key `key`: above what R replicas have, and with the dot unlike all others. */
  writeTag(key: ByteString, counter: number, dot: Dot): Tag;
  /** Whether a request's R or W is refused in a strong bucket that needs `least`. */
  refusesBelow(asked: number, least: number): boolean;
  /** Whether what was made under `generation` may enter a partition that refuses less than `least`. */
  admits(generation: number, least: number): boolean;
  /** Digests of the primaries' candidates as the leader of a collecting round compares them. */
  confirms(digests: readonly number[]): readonly number[];
}

export const SHIPPED_POLICIES: Policies = {
  writeQuorum: (w) => w,
  ownCopy: (local) => local,
  truncate: (local, keep, upToMs) => (upToMs === undefined ? local : truncateClock(local, keep, upToMs)),
  reconcile: (local, incoming) => reconcileEncoded(local, incoming, crc32),
  repairs: () => true,
  operation: (asked) => asked,
  begins: (late) => !late,
  shed: () => undefined,
  mutation: (asked) => asked,
  bootActor: (proposed) => proposed,
  newStoreId: (drawn) => drawn,
  counts: (synchronised) => synchronised,
  coordinates: (synchronised) => synchronised,
  reconcileRepaired: (local, incoming) => reconcileEncoded(local, incoming, crc32),
  transferred: (object) => object,
  unreadable: (error) => {
    throw error;
  },
  damageShows: () => true,
  observersNeeded: () => 2,
  accuses: (probed) => probed,
  mostAheadMs: () => MAX_AHEAD_MS,
  countsFallbacks: (kind) => kind === 'sloppy',
  overdue: (book, { partition, slot }, reason) => {
    book.owe(partition, slot, reason);
  },
  spendsStandIn: () => true,
  writesBack: () => true,
  writeTag: (_key, counter, dot) => makeTag(counter, dot),
  refusesBelow: (asked, least) => asked < least,
  admits: (generation, least) => generation >= least,
  confirms: (digests) => digests,
};
