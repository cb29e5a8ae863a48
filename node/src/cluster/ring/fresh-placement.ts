/**
 * Placement from nothing, exact and in linear time: McNaughton's wrap-around rule. Members stand in a row, rack by rack and zone by zone, each with
 * as many slots as its quota; slot k of the row goes to partition k mod Q. A member has at most Q slots, so no partition gets it twice; a
 * group's slots are consecutive too, so each partition gets its total divided by Q, rounded down or up: within the group's bounds.
 *
 * That alone would make neighbours in the row share all their partitions. Random exchanges between partitions, each keeping loads and spread,
 * then scatter the replicas, so that the work of a lost member falls on many others.
 */

import type { FailureDomains } from './failure-domains.ts';
import { PseudoRandom } from './pseudo-random.ts';
import { ReplicaSets } from './replica-sets.ts';

const EXCHANGES_PER_SLOT = 8;

export function placeFresh(domains: FailureDomains, Q: number, quota: Int32Array): ReplicaSets {
  const replicas = new ReplicaSets(domains, Q);
  let slot = 0;
  for (const zone of domains.zones) {
    for (const rack of zone.racks) {
      for (const member of domains.racks[rack]?.members ?? []) {
        for (let left = quota[member] ?? 0; left > 0; left -= 1) {
          replicas.add(slot % Q, member);
          slot += 1;
        }
      }
    }
  }
  scatter(replicas, Q);
  return replicas;
}

function scatter(replicas: ReplicaSets, Q: number): void {
  const random = new PseudoRandom(Q);
  const { N } = replicas.domains;
  for (let tries = Q * N * EXCHANGES_PER_SLOT; tries > 0; tries -= 1) {
    const p = random.below(Q);
    const q = random.below(Q);
    const a = replicas.set(p)[random.below(N)] ?? 0;
    const b = replicas.set(q)[random.below(N)] ?? 0;
    if (p === q || a === b || !replicas.mayExchange(p, a, b) || !replicas.mayExchange(q, b, a)) continue;
    replicas.exchange(p, a, b);
    replicas.exchange(q, b, a);
  }
}
