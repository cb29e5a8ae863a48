/** Members cut off for the sake of keys whose primaries must be away for a while. */

import type { Topology } from '../../src/cluster/ring/topology.ts';
import type { ClientParts } from '../clients/client.ts';
import type { Machine } from '../machine.ts';
import type { SimNetwork } from '../world/network.ts';

/** Longer than it takes the others to pass over a member that does not answer. */
export const NOTICED_MS = 1500;

/** What it takes to cut off the primaries of a key. */
export interface CutParts extends ClientParts {
  readonly network: SimNetwork;
  readonly topology: Topology;
}

/**
 * Cuts both directions between two groups of members; answers what ends that. Connections break then, as where a firewall has forgotten them: what was
 * sent to a member in its absence does not reach it all the same.
 */
export function cutOff(network: SimNetwork, away: readonly Machine[], others: readonly Machine[]): () => void {
  const pairs = away.flatMap((a) => others.filter((b) => b !== a).flatMap((b) => [[a.name, b.name] as const, [b.name, a.name] as const]));
  for (const [from, to] of pairs) network.block(from, to);
  return () => {
    for (const [from, to] of pairs) {
      network.reset(from, to);
      network.unblock(from, to);
    }
  };
}
