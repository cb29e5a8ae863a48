/**
 * What this store owes: partitions to be compared with other replicas, by member, and since when. A debt is paid by a comparison that found both equal,
 * or made them so; whatever else happens it stays.
 *
 * Invariants: at most one debt for a pair of member and partition; only partitions that both are primaries of are owed.
 */

import type { PartitionId } from '../../base/ids.ts';
import type { Topology } from '../ring/topology.ts';

/** A request for repair, until all that it asked for is compared. */
export interface RequestedRepair {
  /** Comparisons asked for, one for each pair of partition and other replica. */
  readonly total: number;
  readonly left: Set<string>;
}

export class Debts {
  readonly #self: number;
  /** By member's index: the partitions shared with it, and those of them that are owed. */
  readonly #shared: readonly (readonly PartitionId[])[];
  readonly #owed: readonly Set<PartitionId>[];
  #requested: RequestedRepair | undefined;

  constructor(topology: Topology, self: number) {
    this.#self = self;
    const shared = topology.members.map((): PartitionId[] => []);
    for (const [partition, replicas] of topology.partitions.entries()) {
      if (!replicas.includes(self)) continue;
      for (const member of replicas) if (member !== self) shared[member]?.push(partition as PartitionId);
    }
    this.#shared = shared;
    this.#owed = shared.map(() => new Set());
  }

  /** Members with whom partitions are shared. */
  get neighbours(): number[] {
    return this.#shared.flatMap((partitions, member) => (partitions.length > 0 ? [member] : []));
  }

  /** Pairs owed in all. */
  get total(): number {
    return this.#owed.reduce((sum, partitions) => sum + partitions.size, 0);
  }

  /** The latest request; undefined before the first. */
  get requested(): RequestedRepair | undefined {
    return this.#requested;
  }

  /** Of two that share partitions the lower one asks, so that a pair is compared once. */
  asks(member: number): boolean {
    return this.#self < member;
  }

  owedTo(member: number): number {
    return this.#owed[member]?.size ?? 0;
  }

  /** The partitions owed to a member, ascending. */
  listOwed(member: number): PartitionId[] {
    return [...(this.#owed[member] ?? [])].sort((a, b) => a - b);
  }

  /** Everything shared with a member is to be compared. */
  oweAll(member: number): void {
    for (const partition of this.#shared[member] ?? []) this.#owed[member]?.add(partition);
  }

  /** A partition is to be compared with one other replica; answers whether both hold it, and it was not owed yet. */
  owe(member: number, partition: PartitionId): boolean {
    const owed = this.#owed[member];
    if (owed === undefined || owed.has(partition) || this.#shared[member]?.includes(partition) !== true) return false;
    owed.add(partition);
    return true;
  }

  /** A partition is to be compared with all its other replicas. */
  owePartition(partition: PartitionId): void {
    for (const [member, shared] of this.#shared.entries()) if (shared.includes(partition)) this.#owed[member]?.add(partition);
  }

  /** Somebody asks for the partitions from `first` to `last` to be compared. It takes the place of an earlier request. */
  request(first: number, last: number): RequestedRepair {
    const left = new Set<string>();
    for (const [member, shared] of this.#shared.entries()) {
      for (const partition of shared) {
        if (partition < first || partition > last) continue;
        this.#owed[member]?.add(partition);
        left.add(pair(member, partition));
      }
    }
    this.#requested = { total: left.size, left };
    return this.#requested;
  }

  paid(member: number, partition: PartitionId): void {
    this.#owed[member]?.delete(partition);
    this.#requested?.left.delete(pair(member, partition));
  }
}

function pair(member: number, partition: PartitionId): string {
  return `${String(member)}:${String(partition)}`;
}
