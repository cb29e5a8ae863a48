/**
 * "No siblings but those that truly concurrent writes with contexts made" (DESIGN §4.3).
 *
 * Two versions shown together are unjustified when they are of one write, when both were written blind, when one is known to cover the
 * other, or, in a run without faults, when a blind one began after the other was acknowledged. A change of the expiry alone makes no
 * version: it keeps the value's dot.
 */

import type { History, ReadRecord, WriteRecord } from '../clients/history.ts';
import { covered } from './supersession.ts';
import { type Violation, tell } from './survival.ts';

function whyNot(history: History, a: WriteRecord, b: WriteRecord): string | undefined {
  if (a.blind && b.blind) return 'both were written blind';
  if (covered(history, a).has(b.number) || covered(history, b).has(a.number)) return 'one covers the other';
  if (history.terms.faultless && ((a.blind && a.startUs > b.acknowledgedUs) || (b.blind && b.startUs > a.acknowledgedUs))) {
    return 'one was written blind after the other, without a fault';
  }
  return undefined;
}

export function checkSiblings(history: History, read: Pick<ReadRecord, 'key' | 'node' | 'versions'>): Violation[] {
  const writes = read.versions.flatMap((version) => {
    const write = version.number === undefined ? undefined : history.write(version.number);
    return write === undefined ? [] : [write];
  });
  for (const [at, a] of writes.entries()) {
    for (const b of writes.slice(at + 1)) {
      const why = a === b ? 'they are one write' : whyNot(history, a, b);
      if (why !== undefined) {
        return [{ checker: 'siblings', message: `key ${read.key} at ${read.node}: ${tell(a)} and ${tell(b)} are siblings, but ${why}` }];
      }
    }
  }
  return [];
}
