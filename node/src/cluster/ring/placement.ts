/**
 * Placement: which members hold each partition, and in which order.
 *
 * In this order of importance:
 * 1. a partition's N members are distinct, and spread over zones, then racks, as evenly as can be (failure-domains.ts);
 * 2. every member holds its fair share of slots, the best that the zones permit (load-targets.ts): exactly, rounded, from nothing; within 1/20
 *    after a change, where exactness would move more than the bound;
 * 3. as few replicas as possible move away from the previous placement (least-movement.ts), or, from nothing, they are scattered
 *    (fresh-placement.ts);
 * 4. coordination is spread in proportion to weight (replica-order.ts).
 *
 * The same request gives the same answer on every machine. quality/ judges the result and shares no code with this.
 */

import type { PlacementMember } from './failure-domains.ts';
import { failureDomains } from './failure-domains.ts';
import { placeFresh } from './fresh-placement.ts';
import { placeMovingLeast } from './least-movement.ts';
import { loadTargets, slotQuotas } from './load-targets.ts';
import { keepOrder, orderReplicas } from './replica-order.ts';

export interface PlacementRequest {
  /** At least N, with distinct names and whole weights >= 1. */
  readonly members: readonly PlacementMember[];
  readonly N: number;
  readonly Q: number;
  /** What stands now, for the same N and Q. Members are told apart by name. */
  readonly previous?: {
    readonly members: readonly { readonly name: string }[];
    readonly partitions: readonly (readonly number[])[];
  };
}

/** For each partition its N members, as indexes into `members`, the leader first. */
export function placeReplicas(request: PlacementRequest): number[][] {
  const { members, N, Q } = request;
  const domains = failureDomains(members, N);
  const targets = loadTargets(domains, members, Q);
  const weights = members.map((member) => member.weight);
  if (request.previous === undefined) {
    const lists = placeFresh(domains, Q, slotQuotas(domains, targets, Q, new Int32Array(members.length))).sets;
    orderReplicas(lists, weights);
    return lists;
  }
  const previous = renumber(members, request.previous);
  const lists = placeMovingLeast(domains, Q, targets, previous).sets;
  keepOrder(lists, previous);
  orderReplicas(lists, weights);
  return lists;
}

/** The previous lists in terms of the new members; those that are gone are left out. */
function renumber(members: readonly PlacementMember[], previous: NonNullable<PlacementRequest['previous']>): number[][] {
  const numbers = new Map(members.map((member, at) => [member.name, at]));
  const now = previous.members.map((member) => numbers.get(member.name));
  return previous.partitions.map((list) => list.map((member) => now[member]).filter((member) => member !== undefined));
}
