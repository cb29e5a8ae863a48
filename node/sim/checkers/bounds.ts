/**
 * "Memory, queues and files are bounded under any load" (DESIGN §4.10), as far as a run can tell: what a node admits to hold while it works,
 * what is left when nothing goes on, and how large the history of one key may grow.
 */

import type { NodeStats } from '../../src/runtime/kv.ts';
import type { Violation } from './survival.ts';

/** What one node holds at a moment. */
export interface Load {
  readonly node: string;
  readonly stats: Pick<NodeStats, 'operationsInFlight' | 'hints'>;
  /** Timers, disk and network completions that the process waits for. */
  readonly pending: number;
  /** Bytes that its fullest connection holds for a peer's window. */
  readonly buffered: number;
  /** What the node was allowed to keep of hints. */
  readonly hintBytes: number;
}

/** Far above what the plans' clients ask for at once, far below what a leak reaches in a run. */
const MOST_OPERATIONS = 200;
const MOST_PENDING = 2000;
const MOST_BUFFERED = 8 * 1024 * 1024;
const MOST_IDLE_PENDING = 200;
/** The cap on siblings that every write keeps (design/cluster.md). */
export const MOST_SIBLINGS = 100;

function over(node: string, what: string, held: number, most: number): Violation[] {
  return held <= most ? [] : [{ checker: 'bounds', message: `${node} holds ${String(held)} ${what}, of at most ${String(most)}` }];
}

/** @param idle nothing has been asked of the cluster for a while */
export function checkBounds(load: Load, idle: boolean): Violation[] {
  return [
    ...over(load.node, 'operations in flight', load.stats.operationsInFlight, idle ? 0 : MOST_OPERATIONS),
    ...over(load.node, 'pending events', load.pending, idle ? MOST_IDLE_PENDING : MOST_PENDING),
    ...over(load.node, 'bytes of hints', load.stats.hints.bytes, load.hintBytes),
    ...over(load.node, 'buffered bytes', load.buffered, idle ? 0 : MOST_BUFFERED),
  ];
}

export function checkSiblingCount(key: string, node: string, siblings: number): Violation[] {
  return over(node, `siblings of ${key}`, siblings, MOST_SIBLINGS);
}
