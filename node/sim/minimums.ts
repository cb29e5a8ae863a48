/** The least that 300 seeds must reach: a run that stays below shows nothing, however green it is. */

import type { Coverage } from './coverage.ts';

/** Fewer seeds than this prove nothing about coverage. */
const LEAST_SEEDS = 60;
const PER_SEEDS = 300;

export const MINIMUMS: Readonly<Record<string, number>> = {
  'siblings made': 30,
  'siblings resolved': 30,
  'wiped disks recovered': 30,
  'retries by operation id': 30,
  operationsRepeated: 30,
  strongWrites: 1000,
  strongReadsAtOnce: 1000,
  strongWriteBacks: 30,
  strongContests: 5,
  'strong quorums refused': 30,
  'strong retries by operation id': 20,
  'strong histories judged': 100,
  readRepairs: 30,
  readsMerged: 30,
  forwards: 30,
  gathers: 30,
  hedges: 30,
  writeHedges: 300,
  writesFoundBegun: 100,
  writesTooLate: 30,
  'shed before effect': 30,
  waited: 30,
  leasesRenewed: 30,
  entriesCopied: 30,
  membersAvoided: 30,
  membersDowned: 30,
  'log.member-up': 30,
  refutations: 30,
  damagedReads: 10,
  'reads of one replica over damage': 10,
  'reads at a blank replica': 50,
  rangesRefilled: 30,
  'rotten tables mended': 5,
  partitionsRepaired: 300,
  'repair rounds': 100,
  scrubs: 300,
  sloppyWrites: 30,
  sloppyReads: 30,
  stoodIn: 30,
  hintsTaken: 30,
  hintsDelivered: 30,
  'absences of all primaries': 15,
  clocksTruncated: 30,
  'successions of coordinators': 20,
  hintsRefused: 30,
  debtsRecorded: 30,
  comparisonsOwed: 300,
  candidatesCollected: 30,
  generationsRefused: 30,
  partitionsCollected: 30,
  'log.block-damaged': 15,
  'log.log-tail-cut': 30,
  'log.flushed': 300,
  'log.compacted': 300,
  'log.disk-full': 30,
  'losses of power': 30,
  kills: 30,
  'orderly stops': 30,
  'cut midway': 30,
  'syncs failed': 30,
  'bits rotten': 30,
  'disks wiped': 30,
  'old disks restored': 10,
  'connections reset': 30,
  scans: 300,
};

/** A line for each minimum that was missed, in proportion to the number of seeds. */
export function missingCoverage(coverage: Coverage, seeds: number): string[] {
  if (seeds < LEAST_SEEDS) return [];
  return Object.entries(MINIMUMS).flatMap(([name, least]) => {
    const wanted = Math.ceil((least * seeds) / PER_SEEDS);
    const had = coverage.get(name);
    return had >= wanted ? [] : [`${name}: ${String(had)} of at least ${String(wanted)}`];
  });
}
