/**
 * Boots, actors and rewinds: how a store never mints a dot twice, and notices that its disk went back in time.
 *
 * A boot's number is (sequence x 2^24 + 24 random bits). The sequence grows by one a boot; the random bits tell apart two boots that both
 * grew from the same older disk. A store keeps a record of its latest boots; what a peer remembers of it (boot, lease) must fit one of them.
 *
 * An actor is (store id, actor epoch). The epoch is a random u32, taken anew at every boot that no orderly stop came before, and when a
 * rewind is noticed: a rewound disk then cannot lead to an actor that was used after the disk's state was taken, not even unnoticed.
 * This is what makes it safe to replicate before the own fsync: dots that a crash may have lost belong to an actor that is gone.
 * (The trap: riak_kv #679, #1094, #1643, "actor amnesia".)
 */

import type { PeerMemory, StoreIdentity } from './identity.ts';

/** Boots that a store remembers of itself; a peer that saw none of them makes it synchronise anew, which is safe. */
export const BOOTS_KEPT = 256;
/** Counters taken at a time. */
export const COUNTER_LEASE = 65_536;

const NONCE = 2 ** 24;

/** The part of a boot's number that counts: 1 for the first. */
export function bootSequence(boot: number): number {
  return Math.floor(boot / NONCE);
}

export interface BootDraw {
  /** Two uniform u32. */
  readonly nonce: number;
  readonly actorEpoch: number;
}

/** What a boot is judged by. */
export interface BootTerms {
  readonly nowMs: number;
  readonly timeLeaseMs: number;
  /**
   * Writes were acknowledged before they were on the disk (`fsync: interval`), and other stores have copies. A start without an orderly stop may
   * then have lost some, and nobody can tell: the store is taken for a rewound one.
   */
  readonly mayForget: boolean;
}

/** The identity to make durable before this boot does anything. */
export function beginBoot(last: StoreIdentity, draw: BootDraw, { nowMs, timeLeaseMs, mayForget }: BootTerms): StoreIdentity {
  const boot = (bootSequence(last.boot) + 1) * NONCE + (draw.nonce >>> 8);
  const lease = last.lease + 1;
  const common = { ...last, boot, boots: [...last.boots, { boot, lease }].slice(-BOOTS_KEPT), clean: false, lease };
  // A ceiling far ahead of a wall clock that was set back must not be raised further.
  const ceilingMs = Math.max(last.ceilingMs, nowMs + timeLeaseMs);
  if (last.clean) return { ...common, ceilingMs, counterEnd: last.counterUsed + COUNTER_LEASE };
  const forgot = mayForget ? { synchronised: false, progress: { sources: {} } } : {};
  return { ...common, ceilingMs, ...newActor(last, draw.actorEpoch), ...forgot };
}

/** A fresh actor with its first lease. */
export function newActor(last: StoreIdentity, draw: number): Pick<StoreIdentity, 'actorEpoch' | 'counterEnd' | 'counterUsed'> {
  const actorEpoch = draw === last.actorEpoch ? (draw + 1) >>> 0 : draw;
  return { actorEpoch, counterEnd: COUNTER_LEASE, counterUsed: 0 };
}

export type Continuity =
  | { readonly kind: 'same' }
  /** The peer saw a later state of this store than its disk holds. */
  | { readonly kind: 'rewound'; readonly why: string };

/**
 * Compares what a peer remembers of this store with what the store knows of itself.
 *
 * @param atBoot the identity as `beginBoot` made it in this boot
 */
export function continuity(atBoot: StoreIdentity, remembered: PeerMemory): Continuity {
  const at = atBoot.boots.findLastIndex((record) => record.boot === remembered.boot);
  if (at < 0) {
    return { kind: 'rewound', why: `boot ${String(bootSequence(remembered.boot))} that a peer saw is not in this store's memory` };
  }
  const next = atBoot.boots[at + 1];
  if (next === undefined || remembered.lease < next.lease) return { kind: 'same' };
  return {
    kind: 'rewound',
    why: `a peer saw lease ${String(remembered.lease)} of a boot that, here, ended before lease ${String(next.lease)}`,
  };
}

/**
 * The identity of a store that has noticed its rewind: a new actor, a boot and a lease above all that was seen, and everything to copy again.
 */
export function afterRewind(identity: StoreIdentity, remembered: PeerMemory, draw: BootDraw): StoreIdentity {
  const sequence = Math.max(bootSequence(identity.boot), bootSequence(remembered.boot)) + 1;
  const boot = sequence * NONCE + (draw.nonce >>> 8);
  const lease = Math.max(identity.lease, remembered.lease) + 1;
  return {
    ...identity,
    ...newActor(identity, draw.actorEpoch),
    boot,
    // The boot that the peer saw is taken in as one of this store's: the next peer that saw it finds nothing amiss.
    boots: [...identity.boots, { boot: remembered.boot, lease }, { boot, lease }].slice(-BOOTS_KEPT),
    lease,
    synchronised: false,
    behind: true,
    progress: { sources: {} },
  };
}

/** The identity after an orderly stop, when all data is durable. */
export function endCleanly(identity: StoreIdentity, counterUsed: number, latestMs: number): StoreIdentity {
  return { ...identity, clean: true, counterUsed, counterEnd: counterUsed, ceilingMs: latestMs };
}
