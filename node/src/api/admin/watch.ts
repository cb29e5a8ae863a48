/**
 * Tells the log when a node becomes ready or stops being so, and when it begins or ceases to reach a member: the events that somebody who watches a
 * cluster wants to see, each once.
 */

import type { KvNode } from '../../runtime/kv.ts';
import type { Logger } from '../../telemetry/logger.ts';

export const NODE_EVENT = {
  ready: 'node-ready',
  notReady: 'node-not-ready',
  reached: 'member-reached',
  lost: 'member-lost',
  synchronising: 'store-synchronising',
  synchronised: 'store-synchronised',
} as const;

/** How often a node is looked at: quick enough for a person, and cheap. */
const EVERY_MS = 250;

export interface WatchOptions {
  readonly node: Pick<KvNode, 'ready' | 'cluster' | 'stats'>;
  readonly log: Logger;
  /** The clock's `after`. */
  readonly after: (delayMs: number, fn: () => void) => { cancel(): void };
}

/** Looks at the node from now on; answers the function that stops it. */
export function watchNode({ node, log, after }: WatchOptions): () => void {
  let wasReady: boolean | undefined;
  let wasSynchronised = true;
  const reached = new Set<string>();
  const look = (): void => {
    for (const { name, state, reachable } of node.cluster().members) {
      if (state === 'self') continue;
      if (reachable && !reached.has(name)) {
        reached.add(name);
        log.log('info', NODE_EVENT.reached, { member: name });
      } else if (!reachable && reached.delete(name)) {
        log.log('warn', NODE_EVENT.lost, { member: name });
      }
    }
    const { synchronised, partitionsTotal } = node.stats().synchronisation;
    if (synchronised !== wasSynchronised) {
      wasSynchronised = synchronised;
      log.log('info', synchronised ? NODE_EVENT.synchronised : NODE_EVENT.synchronising, { partitions: partitionsTotal });
    }
    const { ready, reasons } = node.ready();
    if (ready !== wasReady) {
      if (ready) log.log('info', NODE_EVENT.ready);
      else log.log(wasReady === undefined ? 'info' : 'warn', NODE_EVENT.notReady, { reason: reasons.join('; ') });
      wasReady = ready;
    }
  };
  look();
  let timer = after(EVERY_MS, again);
  function again(): void {
    look();
    timer = after(EVERY_MS, again);
  }
  return () => {
    timer.cancel();
  };
}
