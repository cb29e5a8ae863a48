/**
 * The bug "truncation makes false siblings" (riak_kv #1864): a clock that is too long loses its oldest entries by Dynamo's own rule (the paper, section
 * 4.4): without asking whether all replicas have them, and with nothing in their place. A replica that still holds what an entry had covered then brings
 * it back beside what replaced it.
 */

import type { ClockEntry, Dot, KvObject } from '../../src/cluster/versioning/object.ts';
import type { Policies } from '../../src/runtime/policies.ts';

/** The newest `keep` entries, and those of what `object` names: an object names no event that its clock has not seen. */
function newest(clock: readonly ClockEntry[], keep: number, { siblings, operations, blindFloor }: KvObject, also?: Dot): ClockEntry[] {
  const kept: readonly Dot[] = [...clock].sort((a, b) => b.ms - a.ms).slice(0, keep);
  const named = new Set([kept, siblings, operations, blindFloor ?? [], also ?? []].flat().map(({ actor }) => actor));
  return clock.filter(({ actor }) => named.has(actor));
}

/** The clock of a write is that of the copy and that of the context: neither may bring back what the other has lost. */
export const TRUNCATING_BLINDLY: Partial<Policies> = {
  truncate: (local, keep) => ({ ...local, clock: newest(local.clock, keep, local) }),
  mutation: (asked, seen) => {
    const { context } = asked;
    if (context === undefined || asked.kind === 'expire') return asked;
    return { ...asked, context: { ...context, clock: newest(context.clock, 1, seen, context.blindFloor) } };
  },
};
