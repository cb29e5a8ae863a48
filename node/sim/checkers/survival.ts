/**
 * "An acknowledged write survives, as a value or as the ancestor of one" (DESIGN §4.1), and what R + W > N promises on the way.
 *
 * - `survival`: every acknowledged write that the faults' plan covers is accounted for by the final answer, after the run has healed, and by
 *   every read on the way that all N replicas answered.
 *   For a sloppy write that is what W stores have acknowledged, fallbacks included; only what is read on the way has no promise then.
 * - `quorum-overlap`: while the run goes on, a strict read with R accounts for every strict write acknowledged with W before it began, if R + W > N; and,
 *   where no process dies, for every write that an earlier read with R' showed, if R + R' > N (a read answers once R' replicas hold what it
 *   shows).
 */

import type { History, ReadRecord, WriteRecord } from '../clients/history.ts';
import { accountedFor } from './supersession.ts';

export interface Violation {
  readonly checker: string;
  readonly message: string;
}

export function numbersOf(read: Pick<ReadRecord, 'versions'>): ReadonlySet<number> {
  return new Set(read.versions.flatMap((version) => (version.number === undefined ? [] : [version.number])));
}

export function tell(write: WriteRecord): string {
  const how = `${write.blind ? 'blind' : `context(${write.covers.join(' ')})`} ${write.kind}`;
  const acknowledged = write.outcome === 'acknowledged' ? ` at ${(write.acknowledgedUs / 1e6).toFixed(6)}` : '';
  return `write ${String(write.number)} (${how}, w=${String(write.w)}, begun ${(write.startUs / 1e6).toFixed(6)}, ${write.outcome}${acknowledged})`;
}

function lost(history: History, read: ReadRecord, latestWallMs: number, demanded: (write: WriteRecord) => boolean): WriteRecord[] {
  const candidates = history.writesOf(read.key).filter((write) => write.kind === 'put' && demanded(write));
  if (candidates.length === 0) return [];
  const found = accountedFor(history, { key: read.key, numbers: numbersOf(read), endUs: read.endUs, wallMs: latestWallMs });
  return candidates.filter((write) => !found.has(write));
}

function report(checker: string, read: ReadRecord, writes: readonly WriteRecord[]): Violation[] {
  const shown = read.versions.map((version) => String(version.number ?? version.shows)).join(' ');
  return writes.slice(0, 1).map((write) => ({
    checker,
    message: `key ${read.key}: ${tell(write)} is lost: a read with r=${String(read.r)} at ${read.node}, begun ${(read.startUs / 1e6).toFixed(6)}, shows [${shown}]`,
  }));
}

/** @param read the answer after healing @param latestWallMs the latest wall clock of any node */
export function checkSurvival(history: History, read: ReadRecord, latestWallMs: number): Violation[] {
  return report(
    'survival',
    read,
    lost(history, read, latestWallMs, (write) => write.outcome === 'acknowledged' && write.w >= history.terms.coveredW),
  );
}

export function checkOverlap(history: History, read: ReadRecord, latestWallMs: number): Violation[] {
  const { n, coveredW, overlapHolds, readsStick } = history.terms;
  if (!overlapHolds || read.sloppy) return [];
  const acknowledged = (write: WriteRecord): boolean =>
    write.outcome === 'acknowledged' && !write.sloppy && write.w >= coveredW && write.w + read.r > n && write.acknowledgedUs < read.startUs;
  const shown = (write: WriteRecord): boolean =>
    readsStick && [...write.shownUs].some(([r, atUs]) => r + read.r > n && atUs < read.startUs);
  return report(
    read.r === n ? 'survival' : 'quorum-overlap',
    read,
    lost(history, read, latestWallMs, (write) => acknowledged(write) || shown(write)),
  );
}
