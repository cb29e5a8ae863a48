/**
 * Decisions that the simulator can replace one by one to put a known bug back (its mutants). Each is a pure function with one shipped
 * implementation; nothing else in the node depends on which one runs.
 *
 * - `writeQuorum`: "W counted one short" answers w - 1.
 * - `ownCopy`: "coordinator forgets its copy" answers undefined, so that the new dot claims what its holder has not merged.
 * - `mergeEncoded`: "merge by overwrite" answers the incoming bytes.
 * - `staleReplicas`: "read repair dropped" answers none.
 * - `knownOperation`: "retry makes a second dot" answers undefined, so that no write carries its operation id into the versions.
 * - `actorAtBoot`: "dot reused after amnesia" answers the old actor and counter 0 whatever happened, and a store id that depends on nothing.
 * - `counts`: "blank replica counted in R" answers true.
 */

import type { Mutation } from '../cluster/versioning/update.ts';

/** What makes the dots of this boot. */
export interface BootActor {
  readonly actorEpoch: number;
  /** The last counter used. */
  readonly counter: number;
}

export interface Policies {
  /** Durable acknowledgements to wait for when `w` were asked for. */
  writeQuorum(w: number): number;
  /** The coordinator's own copy (encoded) that a write is merged into. */
  ownCopy(local: Uint8Array | undefined): Uint8Array | undefined;
  /** What a store keeps when `incoming` meets its `local` copy. */
  mergeEncoded(local: Uint8Array, incoming: Uint8Array): Uint8Array;
  /** Which of the replicas known to be stale are brought up to date. */
  staleReplicas(stale: readonly number[]): readonly number[];
  /** The operation that a write belongs to. */
  knownOperation(operation: Mutation['operation']): Mutation['operation'];
  /** The actor of this boot: `proposed` by the rules of cluster/membership/boot.ts, `last` is what the identity file says. */
  actorAtBoot(proposed: BootActor, last: BootActor): BootActor;
  /** Whether the answers of a store count in R. */
  counts(synchronised: boolean): boolean;
}
