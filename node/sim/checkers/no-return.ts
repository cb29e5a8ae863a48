/**
 * "No deleted or expired value comes back" (DESIGN §4.2), nor one that was overwritten.
 *
 * An answer may not show a value that a write acknowledged before it began certainly superseded (for a read: one that R + W > N lets it
 * see), nor a value past its expiry by the answering node's own clock, nor an expiry that nobody gave the value.
 */

import type { History, ReadRecord, WriteRecord } from '../clients/history.ts';
import { certainlySupersedes, possibleExpiries } from './supersession.ts';
import { type Violation, tell } from './survival.ts';

/** @param final after healing every acknowledged write counts, whatever its W */
export function checkNoReturn(history: History, read: ReadRecord, final: boolean): Violation[] {
  const { n, coveredW, overlapHolds } = history.terms;
  const counts = (write: WriteRecord): boolean =>
    write.outcome === 'acknowledged' &&
    write.w >= coveredW &&
    write.acknowledgedUs < read.startUs &&
    (final || (overlapHolds && !write.sloppy && !read.sloppy && write.w + read.r > n));
  for (const version of read.versions) {
    const write = version.number === undefined ? undefined : history.write(version.number);
    if (write === undefined) continue;
    if (version.expireAtMs !== 0 && version.expireAtMs <= read.wallMs) {
      return [
        {
          checker: 'no-return',
          message: `key ${read.key}: ${tell(write)} is shown at ${read.node}, ${String(read.wallMs - version.expireAtMs)} ms expired`,
        },
      ];
    }
    if (!possibleExpiries(history, write).includes(version.expireAtMs)) {
      return [
        {
          checker: 'no-return',
          message: `key ${read.key}: ${tell(write)} shows the expiry ${String(version.expireAtMs)}, which nobody gave it`,
        },
      ];
    }
    const by = history.writesOf(read.key).find((other) => counts(other) && certainlySupersedes(history, other, write));
    if (by !== undefined) {
      return [{ checker: 'no-return', message: `key ${read.key}: ${tell(write)} is shown at ${read.node}, but ${tell(by)} superseded it` }];
    }
  }
  return [];
}
