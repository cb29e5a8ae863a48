/** The node's own metrics, registered once; hot paths raise them. */

import type { MemberState } from './kv.ts';
import type { Members } from './members.ts';
import type { Counter, Histogram, MetricRegistry } from '../telemetry/metrics.ts';

const HELP = {
  reads: 'Reads that this node coordinated',
  writes: 'Writes that clients asked of this node',
  readsFailed: 'Reads that failed',
  writesFailed: 'Writes that failed',
  scans: 'Scan pages answered',
  forwards: 'Writes forwarded to their coordinator',
  coordinated: 'Writes that this node coordinated, for itself or for others',
  readRepairs: 'Stale copies that reads brought up to date',
  readsMerged: 'Reads whose replicas differed',
  hedges: 'Second values asked for because the first was late',
  writeHedges: 'Writes handed to a second coordinator because the first did not answer',
  writesFoundBegun: 'Writes that a second coordinator found begun by the first, and finished',
  writesTooLate: 'Writes not begun because they had come late, and another coordinator may have them',
  gathers: 'Writes that first collected the copies of other primaries',
  strongWrites: 'Writes to strong buckets that this node coordinated and acknowledged',
  strongReadsAtOnce: 'Reads of strong buckets answered at once, because enough replicas held the value',
  strongWriteBacks: 'Reads of strong buckets that brought the value to more replicas before they answered it',
  strongContests: 'Times that an attempt at a strong write gave way to another attempt of the same operation',
  operationsRepeated: 'Writes recognised as retries',
  busy: 'Operations refused because the node had more to do than it could answer in time',
  waited: 'Operations that waited for their beginning',
  timeouts: 'Operations that ran out of time',
  noQuorum: 'Operations refused because too few replicas could be reached',
  replicaReads: 'Values and digests read for other nodes',
  replicaWrites: 'Objects merged for other nodes',
  replicaRefusals: 'Requests of other nodes that failed here',
  peersRefused: 'Requests of other nodes refused because this one had more to do than it could answer in time',
  damagedReads: 'Local copies that could not be read because of damage',
  siblingsWarned: 'Writes that left many siblings',
  clocksWarned: 'Writes that left a large clock',
  clocksTruncated: 'Writes that left the oldest entries of a clock behind',
  leasesRenewed: 'Leases of counters and time taken',
  rewinds: 'Times that this store was found to be rewound',
  partitionsCompared: 'Partitions compared with another replica',
  partitionsRepaired: 'Of these, the ones that differed and were brought together',
  comparisonsOwed: 'Comparisons with another replica that became owed because it had missed writes',
  comparisonsFailed: 'Rounds of comparing with a member that were broken off',
  leavesCompared: 'Leaves of hash trees whose keys were listed, because they differed',
  leafItemsCompared: 'Keys of this store listed for a comparison that it asked for',
  objectsFetched: 'Objects that a comparison brought here',
  objectsSent: 'Objects that a comparison brought to another replica',
  repairBytes: 'Bytes of the objects that comparisons moved',
  objectsRefilled: 'Objects written again because damage had taken them',
  rangesRefilled: 'Lost ranges that are whole again',
  scrubs: 'Passes that reread all of the store',
  blocksScrubbed: 'Blocks of tables reread',
  damageScrubbed: 'Damaged ranges that rereading met',
  leavesWrong: 'Leaves of hash trees that were not what they stand for, and were put right',
  gossipSent: 'Messages of the failure detector sent, replies not counted',
  gossipBytes: 'Bytes of the failure detector sent, replies counted',
  membersAvoided: 'Times that this node began to avoid a member that left its probes unanswered',
  membersAccused: 'Times that this node found a member silent to its own probes, and told others',
  membersDowned: 'Times that a member was found DOWN, on the word of two observers',
  refutations: 'Times that this node was called silent, or remembered from an earlier life, and took a new incarnation',
  entriesCopied: 'Objects copied from other stores while synchronising',
  sloppyWrites: 'Writes that this node coordinated whose quorum counted a fallback',
  sloppyReads: 'Reads that this node coordinated whose quorum counted a fallback',
  stoodIn: 'Writes that this node coordinated as a fallback, because no primary was healthy',
  hintsTaken: 'Objects taken for primaries that were away',
  hintsRefused: 'Objects for primaries that were away which were not taken',
  hintsDelivered: 'Hints that their primary and W primaries in all have confirmed',
  hintsOutlived: 'Hints dropped once more: they had been confirmed, and a crash or an old disk had brought them back',
  hintsDamaged: 'Ranges of hints that damage has taken away',
  debtsRecorded: 'Times that hints became repair debt, because they could not be delivered',
  generationsRefused: 'Objects of peers refused because they were made under an older generation of their partition',
  partitionsEmptied: 'Partitions of an old disk emptied because they may have been collected meanwhile',
  partitionsCollected: 'Collecting rounds that this node led to their end, by partition',
  collectionsBlocked: 'Collecting rounds that could not go on, by partition',
  candidatesCollected: 'Tombstones and expired values that primaries agreed to collect, counted by the leaders of the rounds',
} as const;

export type CountName = keyof typeof HELP;

export interface NodeMetrics {
  readonly counts: Readonly<Record<CountName, Counter>>;
  readonly readMs: Histogram;
  readonly writeMs: Histogram;
}

/** Registers `coterie_<name>_total` and the histograms of operations' durations. */
export function registerMetrics(registry: MetricRegistry): NodeMetrics {
  const names = Object.keys(HELP) as CountName[];
  const counters = names.map((name) => {
    const metric = `coterie_${name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}_total`;
    return [name, registry.counter(metric, HELP[name])] as const;
  });
  const help = 'Milliseconds from a client operation to its answer';
  return {
    // One entry for each name of the table.
    counts: Object.fromEntries(counters) as Record<CountName, Counter>,
    readMs: registry.histogram('coterie_operation_ms', help, undefined, { operation: 'read' }),
    writeMs: registry.histogram('coterie_operation_ms', help, undefined, { operation: 'write' }),
  };
}

const STATES: readonly MemberState[] = ['connected', 'avoided', 'unreachable', 'down'];

/** Registers what is read of the members when metrics are asked for. */
export function observeMembers(registry: MetricRegistry, members: Members, detector: { readonly doubt: number }): void {
  for (const state of STATES) {
    const read = (): number => members.names.reduce((count, _, index) => count + (members.state(index) === state ? 1 : 0), 0);
    registry.observedGauge('coterie_members', 'Other members by their state, as this node sees them', read, { state });
  }
  registry.observedGauge('coterie_detector_doubt', 'How far the failure detector doubts its own judgement, 0 to 4', () => detector.doubt);
}
