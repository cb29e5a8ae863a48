/**
 * What two topology documents are to each other. Some things never change in a cluster's life; two nodes that differ in one of them must
 * not talk, since one would look for data where the other does not keep it, or promise what the other does not.
 */

import type { Topology } from './topology.ts';
import { encodeTopology } from './topology-codec.ts';

export type TopologyRelation =
  /** The same document. */
  | { readonly kind: 'same' }
  /** Theirs is a later, or an earlier, document of the same cluster. */
  | { readonly kind: 'newer' }
  | { readonly kind: 'older' }
  /** Theirs is another cluster's. */
  | { readonly kind: 'foreign'; readonly reason: string }
  /** Theirs claims to be of the same cluster, but cannot be. */
  | { readonly kind: 'incompatible'; readonly reason: string };

/** What `theirs` is to `ours`. */
export function compareTopologies(ours: Topology, theirs: Topology): TopologyRelation {
  if (ours.clusterId !== theirs.clusterId) {
    return { kind: 'foreign', reason: `cluster ${theirs.clusterId} is not cluster ${ours.clusterId}` };
  }
  for (const field of ['N', 'Q', 'tokenHash', 'tokenSeed'] as const) {
    if (ours[field] !== theirs[field]) return incompatible(`${field} is ${String(theirs[field])} there and ${String(ours[field])} here`);
  }
  for (const bucket of ours.buckets) {
    const other = theirs.buckets.find(({ id }) => id === bucket.id);
    if (other === undefined) continue;
    const what = `bucket ${String(bucket.id)}`;
    if (other.name !== bucket.name) return incompatible(`${what} is called ${other.name} there and ${bucket.name} here`);
    if (other.consistency !== bucket.consistency) {
      return incompatible(`${what} (${bucket.name}) is ${other.consistency} there and ${bucket.consistency} here; that never changes`);
    }
  }
  if (theirs.epoch > ours.epoch) return { kind: 'newer' };
  if (theirs.epoch < ours.epoch) return { kind: 'older' };
  if (encodeTopology(ours) === encodeTopology(theirs)) return { kind: 'same' };
  return incompatible(`two different documents claim epoch ${String(ours.epoch)}`);
}

function incompatible(reason: string): TopologyRelation {
  return { kind: 'incompatible', reason };
}
