/** Hand-made histories, written down briefly. */

import { History, type HistoryTerms, type ReadRecord, type WriteRecord } from '../../sim/clients/history.ts';

export const KEY = 'k';

/** Three replicas, clocks within a millisecond, faults going on. */
export function history(terms: Partial<HistoryTerms> = {}): History {
  return new History({ n: 3, coveredW: 1, skewUs: 1000, faultless: false, overlapHolds: true, readsStick: true, ...terms });
}

export interface Told {
  readonly kind?: 'put' | 'delete';
  /** Numbers that its context covers; absent: written blind. */
  readonly covers?: readonly number[];
  readonly w?: number;
  readonly sloppy?: boolean;
  readonly from: number;
  /** Acknowledged at; absent: the outcome is unknown. */
  readonly to?: number;
  readonly expires?: number;
  readonly outcome?: 'none';
}

/** Adds a write; times in milliseconds. */
export function wrote(into: History, told: Told): WriteRecord {
  const record = into.begin({
    key: KEY,
    kind: told.kind ?? 'put',
    blind: told.covers === undefined,
    covers: told.covers ?? [],
    w: told.w ?? 2,
    sloppy: told.sloppy ?? false,
    operation: false,
    expiries: [told.expires ?? 0],
    startUs: told.from * 1000,
  });
  if (told.outcome === 'none') {
    record.outcome = 'none';
    record.settledUs = told.from * 1000;
  } else if (told.to === undefined) {
    record.outcome = 'unknown';
  } else {
    record.outcome = 'acknowledged';
    record.acknowledgedUs = told.to * 1000;
    record.settledUs = told.to * 1000;
  }
  return record;
}

export function read(
  numbers: readonly (number | undefined)[],
  at: number,
  more: Partial<ReadRecord> & { expireAtMs?: number } = {},
): ReadRecord {
  return {
    key: KEY,
    node: 'node-1',
    r: 2,
    sloppy: false,
    startUs: at * 1000,
    endUs: (at + 1) * 1000,
    wallMs: at,
    versions: numbers.map((number) => ({ number, expireAtMs: more.expireAtMs ?? 0, shows: '4 bytes 01020304' })),
    ...more,
  };
}
