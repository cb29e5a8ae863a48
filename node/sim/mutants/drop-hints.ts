/**
 * The bug "hint dropped by age": what could not be handed off within its time is thrown away, as if a comparison of the replicas were sure to bring it
 * back. (Cassandra and Scylla drop hints after three hours.)
 */

import type { Backlog } from '../../src/cluster/handoff/hint-index.ts';
import type { DebtBook } from '../../src/runtime/policies.ts';

export function dropHints(hints: DebtBook, { partition, slot }: Backlog): void {
  const drop = async (): Promise<void> => {
    const page = await hints.page(partition, slot, undefined, 1000, 1 << 20);
    for (const hint of page.hints) await hints.drop(hint);
  };
  // A disk that refuses keeps them for now.
  drop().catch(() => undefined);
}
