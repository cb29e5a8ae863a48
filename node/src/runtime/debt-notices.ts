/**
 * Tells the primaries of a partition that one of them has missed writes, as far as this store knows as a fallback: those whose hints are repair debt,
 * and those for which there was no fallback at all. Each of them then compares the partition with it (runtime/repair).
 *
 * Invariants:
 * - each primary is told once of a debt, as soon as it is healthy; what is not answered is told again.
 * - a slot without a fallback is told of only when this store has no hints of the partition for others: what they hold is all there is to compare.
 * - debt with hints is paid by their delivery alone; debt without (nobody kept any, or they were delivered before a crash that the debt outlived) once
 *   every other primary was told.
 */

import type { PartitionId } from '../base/ids.ts';
import type { Backlog } from '../cluster/handoff/hint-index.ts';
import { primaries } from '../cluster/ring/preference.ts';
import type { Topology } from '../cluster/ring/topology.ts';
import { MESSAGE } from '../transport/messages/message-type.ts';
import { encodeMissed } from '../transport/messages/repair.ts';
import type { Transport } from '../transport/transport.ts';
import { type HintStore, NO_FALLBACK } from './hint-store.ts';
import type { Members } from './members.ts';

const TIMEOUT_MS = 5000;

export interface DebtNoticesParts {
  readonly topology: Topology;
  readonly members: Members;
  readonly transport: Transport;
  readonly hints: HintStore;
  /** What is kept, or what is said of it, has changed. */
  readonly touched: () => void;
}

/** Of one debt: bits of the primaries that were told, and of those that are being told. */
interface Told {
  done: number;
  underWay: number;
}

export class DebtNotices {
  readonly #parts: DebtNoticesParts;
  /** By partition and slot. */
  readonly #told = new Map<number, Told>();

  constructor(parts: DebtNoticesParts) {
    this.#parts = parts;
  }

  /** There is more that the slot's primary has missed: all are to be told anew. */
  renew(partition: PartitionId, slot: number): void {
    this.#told.delete(this.#place(partition, slot));
  }

  /** Does what can be done now for every debt of this store. */
  advance(): void {
    const { index } = this.#parts.hints;
    const { N } = this.#parts.topology;
    for (const place of this.#told.keys()) {
      if (index.of(Math.floor(place / N) as PartitionId, place % N)?.debt === undefined) this.#told.delete(place);
    }
    for (const backlog of [...index.backlogs()]) if (backlog.debt !== undefined) this.#tell(backlog);
  }

  #place(partition: PartitionId, slot: number): number {
    return partition * this.#parts.topology.N + slot;
  }

  #tell(backlog: Backlog): void {
    const { topology, members, transport } = this.#parts;
    const { partition, slot, debt } = backlog;
    if (debt === NO_FALLBACK && this.#hintsOfOthers(backlog)) return;
    const replicas = primaries(topology, partition);
    const place = this.#place(partition, slot);
    const told = this.#told.get(place) ?? { done: 0, underWay: 0 };
    this.#told.set(place, told);
    const left = members.healthyBits(replicas) & ~(1 << slot) & ~told.done & ~told.underWay;
    for (let at = 0; left >>> at !== 0; at += 1) {
      if ((left & (1 << at)) === 0) continue;
      told.underWay |= 1 << at;
      const payload = encodeMissed({ partition, slot });
      transport.request(members.nameOf(replicas[at] ?? -1), MESSAGE.missed, payload, TIMEOUT_MS, topology.epoch, (reply) => {
        told.underWay &= ~(1 << at);
        if (reply.kind !== 'reply') return;
        told.done |= 1 << at;
        // Another one may have taken its place.
        if (this.#told.get(place) === told) this.#payIfTold(backlog, told);
      });
    }
    this.#payIfTold(backlog, told);
  }

  #payIfTold({ partition, slot }: Backlog, { done }: Told): void {
    const { hints, topology, touched } = this.#parts;
    const others = ((1 << topology.N) - 1) & ~(1 << slot);
    if (done !== others || (hints.index.of(partition, slot)?.count ?? 0) > 0) return;
    hints.pay(partition, slot);
    this.#told.delete(this.#place(partition, slot));
    touched();
  }

  #hintsOfOthers({ partition, slot }: Backlog): boolean {
    const { hints, topology } = this.#parts;
    for (let other = 0; other < topology.N; other += 1) {
      if (other !== slot && (hints.index.of(partition, other)?.count ?? 0) > 0) return true;
    }
    return false;
  }
}
