/**
 * "Hybrid time refuses remote time more than 500 ms ahead" (design/cluster.md): nothing that a node holds is further ahead of the latest time that
 * its own wall clock has ever shown. One wrong clock does not drag the others along.
 */

import type { Violation } from './survival.ts';

const MOST_AHEAD_MS = 500;

/** A value that a node holds. */
export interface HeldTime {
  readonly node: string;
  readonly key: string;
  readonly ms: number;
  /** The latest that the node's wall clock has shown so far. */
  readonly latestWallMs: number;
}

export function checkClockBound({ node, key, ms, latestWallMs }: HeldTime): Violation[] {
  const aheadMs = ms - latestWallMs;
  if (aheadMs <= MOST_AHEAD_MS) return [];
  return [{ checker: 'clock-bound', message: `${node} holds a value of ${key} whose time is ${String(aheadMs)} ms ahead of its clock` }];
}
