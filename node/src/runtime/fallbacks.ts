/**
 * Which nodes stand in for the primaries of a partition now (ring/preference.ts says who; this remembers it until somebody's health changes).
 *
 * Invariants: a fallback is healthy, no primary of the partition, and has room for hints as far as it has said; primaries that are healthy have
 * none. With all primaries healthy nothing here is asked.
 */

import type { ByteString } from '../base/bytes.ts';
import type { PartitionId } from '../base/ids.ts';
import { preferenceList, primaries } from '../cluster/ring/preference.ts';
import { partitionOfDiskKey } from '../cluster/ring/token.ts';
import type { Topology } from '../cluster/ring/topology.ts';
import type { Members } from './members.ts';

/** The stand-ins of one partition. */
export interface StandIns {
  /** By slot: the member that stands in for an unhealthy primary, -1 where there is none. */
  readonly bySlot: readonly number[];
  /** Bits of the slots that have one. */
  readonly slots: number;
  /** Further ones, best first, for when one of those refuses or another primary fails. */
  readonly spare: readonly number[];
  /** Somebody could stand in, but holds as many hints as it may. */
  readonly shortOfRoom: boolean;
}

/** Partitions remembered at a time. */
const MOST_KEPT = 4096;

export class Fallbacks {
  readonly #topology: Topology;
  readonly #members: Members;
  readonly #kept = new Map<PartitionId, StandIns>();
  /** Members that take no hints, because they are full. */
  readonly #full = new Set<number>();

  constructor(topology: Topology, members: Members) {
    this.#topology = topology;
    this.#members = members;
    members.onChange(() => {
      this.#kept.clear();
    });
  }

  /** A member has said whether it has room for hints. */
  setFull(member: number, full: boolean): void {
    if (this.#full.has(member) === full) return;
    if (full) this.#full.add(member);
    else this.#full.delete(member);
    this.#kept.clear();
  }

  ofKey(diskKey: ByteString): StandIns {
    return this.of(partitionOfDiskKey(this.#topology, diskKey));
  }

  of(partition: PartitionId): StandIns {
    const known = this.#kept.get(partition);
    if (known !== undefined) return known;
    const found = this.#find(partition);
    if (this.#kept.size >= MOST_KEPT) this.#kept.clear();
    this.#kept.set(partition, found);
    return found;
  }

  #find(partition: PartitionId): StandIns {
    const own = primaries(this.#topology, partition);
    const willing = (member: number): boolean => this.#members.isHealthy(member) && (own.includes(member) || !this.#full.has(member));
    const all = preferenceList(this.#topology, partition, willing, 2 * own.length).slice(own.length);
    const bySlot = own.map((member) => (this.#members.isHealthy(member) ? -1 : (all.shift() ?? -1)));
    const slots = bySlot.reduce((mask, member, slot) => (member < 0 ? mask : mask | (1 << slot)), 0);
    const isFull = (member: number): boolean => this.#members.isHealthy(member) && !own.includes(member);
    return { bySlot, slots, spare: all, shortOfRoom: [...this.#full].some(isFull) };
  }
}
