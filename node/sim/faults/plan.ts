/**
 * What a seed stands for: the cluster, the load, the faults, and how much of them may be combined.
 *
 * The fault budget. The promises hold under every fault "that the W in force covers", so the plan never goes beyond it:
 * - Kills, losses of power, pauses, partitions, lost zones, broken connections, slow or full disks, failed syncs, clocks: any number at
 *   once. Under `fsync: always` an acknowledged write is on W disks, and none of these takes a synced byte away.
 * - Disks that lose what was synced (wiped, replaced by an old copy, rotten): at most W - 1 members at once, counted from the fault until
 *   the member has synchronised again (a rotten one: until its disk was replaced and it has synchronised; where only tables have rotted and the
 *   cluster repairs itself, until all of them were reread and nothing is lost any more). With W = 1 there are none. What
 *   is demanded then are the writes acknowledged by at least the bucket's W: synchronisation asks N - W + 1 others of that W.
 * - An old disk is restored only while all members are in touch, and then nothing else happens for a moment: it is the peers who remember that
 *   it is old. One that starts alone cannot be told from one that was merely down.
 * - Under `fsync: interval` a loss of power takes the last interval's writes away: at most W - 1 members within one interval and a second,
 *   counted like a lost disk for what is demanded; and R + W > N promises nothing about the moments after it.
 * - A lost disk takes hints with it, which nobody copies back to it. So where sloppy writes are in the load, at most W - 1 members lose synced data in
 *   the whole run: of W that acknowledged a write, primaries or fallbacks, one never does.
 * - Wall clocks differ by at most `skewMs` from true time; between two blind writes that difference, and the time that a node had leased on
 *   disk when it died, is the anomaly that the documentation admits.
 */

import type { FsyncPolicy } from '../../src/storage/options.ts';
import { Dice } from '../world/dice.ts';

const ADMISSION_STREAM = 0x6164;
const COLLECTION_STREAM = 0x636f;
// The numbers of these are such that none of the seeds that were kept when they came draws anything from them: what they are kept for goes on as it did.
const TRUNCATION_STREAM = 0x7472_1516;
const SINGLE_READS_STREAM = 0x740a;
const CUTS_STREAM = 0x6381;
const BLANK_READS_STREAM = 0x626c;

/** The fewest entries that a clock may be truncated to. */
const LEAST_CLOCK = 2;

export const FAULTS = [
  'kill',
  'power-loss',
  'cut-midway',
  'clean-restart',
  'wiped-disk',
  'restored-disk',
  'bit-rot',
  'slow-disk',
  'full-disk',
  'failed-sync',
  'pause',
  'clock-jump',
  'clock-drift',
  'partition',
  'one-way-partition',
  'zone-loss',
  'reset',
  'slow-link',
  'packet-loss',
] as const;

export type Fault = (typeof FAULTS)[number];

/** Faults that take synced data away. */
export const DESTRUCTIVE: ReadonlySet<Fault> = new Set<Fault>(['wiped-disk', 'restored-disk', 'bit-rot']);

const DEADLY: ReadonlySet<Fault> = new Set<Fault>([...DESTRUCTIVE, 'kill', 'power-loss', 'cut-midway', 'zone-loss', 'failed-sync']);

/** How clients use a key. */
export type KeyKind =
  /** SET and DEL only. */
  | 'register'
  /** Read, then write with the context that was read. */
  | 'context'
  /** Either. */
  | 'mixed'
  /** SET with an expiry, EXPIRE, PERSIST, KEEPTTL. */
  | 'expiring'
  /** Deleted as often as it is set, and left alone for a while now and then: what is collected. */
  | 'fleeting';

export interface PlannedKey {
  readonly name: string;
  readonly kind: KeyKind;
}

/** A strong bucket beside the other one, and who uses it. */
export interface StrongPlan {
  readonly r: number;
  readonly w: number;
  readonly keys: readonly string[];
  readonly clients: number;
  /** Operations of each client in the safety phase. */
  readonly operations: number;
  /** Each client sends several requests for one key at once through one node, as a pool of connections does. */
  readonly pooled: boolean;
}

export interface Plan {
  readonly seed: number;
  readonly members: readonly { readonly name: string; readonly zone: string; readonly rack: string; readonly weight: number }[];
  readonly n: number;
  readonly q: number;
  /** The bucket's. */
  readonly r: number;
  readonly w: number;
  readonly blindWrites: 'newest' | 'quorum';
  readonly fsync: FsyncPolicy;
  readonly memtableBytes: number;
  readonly keys: readonly PlannedKey[];
  readonly clients: number;
  /** Operations of each client in the safety phase. */
  readonly operations: number;
  readonly thinkMs: number;
  readonly valueBytes: number;
  readonly faults: ReadonlySet<Fault>;
  /** Mean time between two faults. */
  readonly faultEveryMs: number;
  /** Members that may have lost synced data at once. */
  readonly lossBudget: number;
  /** The smallest W of a write whose survival is demanded. */
  readonly coveredW: number;
  readonly overlapHolds: boolean;
  /** The faults make processes die that were not stopped. */
  readonly deaths: boolean;
  readonly skewMs: number;
  readonly linkDelayUs: number;
  /** How long a sync takes when the disk is well. */
  readonly syncMs: number;
  /** Bounds so small that the clients, who then come in crowds, overload every node; undefined where they are the usual ones. */
  readonly admission: { readonly operations: number; readonly waiting: number } | undefined;
  /** Replicas compare by themselves, and the disk is reread: else only reads bring replicas together. */
  readonly repairs: boolean;
  /** `mixed`: most operations count fallbacks, others ask for a strict quorum. */
  readonly quorums: 'strict' | 'mixed';
  /** The most bytes of hints that a node may keep. */
  readonly hintBytes: number;
  /** How long hints may wait before they are debt. */
  readonly hintOverdueMs: number;
  readonly strong: StrongPlan | undefined;
  /** Clocks are truncated above so few entries that a run reaches them, and once entries are older than clocks differ; undefined: as shipped. */
  readonly truncation: { readonly entries: number; readonly ageMs: number } | undefined;
  /** How often tombstones and expired values are collected. */
  readonly collectMs: number;
  /** Keys are deleted and collected while messages about them are under way: stragglers.ts. Little else goes wrong then, because it would hold up rounds. */
  readonly stragglers: boolean;
  /** Keys that all replicas have are read at one alone once it has lost its copies: single-reads.ts. Caches are small then, so that reads meet the disk. */
  readonly singleReads: boolean;
  /** Members are cut off so that others coordinate in their stead, as the keys of successions.ts or absences.ts need it. */
  readonly cuts: 'successions' | 'absences' | undefined;
  /** Keys whose writes carry no operation ids: what is deleted need not be remembered for the retries of ten minutes. */
  readonly anonymous: ReadonlySet<string>;
}

/** Draws the plan of a seed. */
export function drawPlan(seed: number, dice: Dice): Plan {
  const size = dice.between(3, 5);
  const zones = dice.between(1, 3);
  const n = dice.weighted([
    [1, 1],
    [2, 2],
    [3, 9],
  ] as const);
  const [r, w] = quorums(n, dice);
  const interval = dice.oneIn(6);
  const faults = drawFaults(dice, w, interval);
  const destructive = [...faults].some((fault) => DESTRUCTIVE.has(fault));
  const powerLosses = faults.has('power-loss') || faults.has('cut-midway') || faults.has('zone-loss');
  const lossy = interval && powerLosses;
  const plan: Omit<Plan, 'strong' | 'truncation' | 'singleReads' | 'cuts' | 'lossBudget' | 'collectMs' | 'anonymous' | 'stragglers'> = {
    seed,
    members: Array.from({ length: size }, (_, at) => ({
      name: `node-${String(at + 1)}`,
      zone: `zone-${String((at % zones) + 1)}`,
      rack: `rack-${String(at + 1)}`,
      weight: dice.oneIn(4) ? 2 : 1,
    })),
    n,
    q: dice.pick([4, 8, 16]),
    r,
    w,
    blindWrites: dice.oneIn(4) ? 'quorum' : 'newest',
    fsync: interval ? { kind: 'interval', everyMs: 200 } : { kind: 'always' },
    memtableBytes: dice.pick([8, 16, 64]) * 1024,
    keys: drawKeys(dice),
    clients: dice.between(2, 6),
    operations: dice.between(25, 60),
    thinkMs: dice.pick([20, 60, 150]),
    valueBytes: dice.pick([40, 300, 2000]),
    faults,
    faultEveryMs: dice.pick([300, 800, 2000]),
    coveredW: destructive || lossy ? w : 1,
    overlapHolds: !lossy,
    // A node cannot stop cleanly on a full disk.
    deaths: [...faults].some((fault) => DEADLY.has(fault)) || (faults.has('clean-restart') && faults.has('full-disk')),
    skewMs: faults.has('clock-jump') || faults.has('clock-drift') ? dice.pick([50, 400, 2000]) : dice.between(0, 10),
    linkDelayUs: dice.pick([100, 400, 2000]),
    syncMs: dice.pick([0.3, 2, 8]),
    admission: drawAdmission(new Dice(seed, ADMISSION_STREAM)),
    repairs: n > 1 && !dice.oneIn(3),
    quorums: dice.weighted<Plan['quorums']>([
      ['strict', 1],
      ['mixed', 3],
    ]),
    hintBytes: dice.pick([3, 12, 1024]) * 1024,
    hintOverdueMs: dice.pick([1500, 6000, 3_600_000]),
  };
  // Drawn last, so that the rest of a seed's plan is what it was before there were strong buckets.
  const strong = interval || dice.chance(0.5) ? undefined : drawStrong(n, destructive, dice);
  const collection = drawCollection(plan, new Dice(seed, COLLECTION_STREAM));
  const rereads = collection.faults.has('bit-rot') && new Dice(seed, SINGLE_READS_STREAM).oneIn(2);
  const blankReads = collection.faults.has('wiped-disk') && new Dice(seed, BLANK_READS_STREAM).oneIn(2);
  const singleReads = plan.overlapHolds && (rereads || blankReads);
  const cuts = drawCuts({ ...plan, ...collection }, new Dice(seed, CUTS_STREAM));
  const truncation = drawTruncation(plan.skewMs, cuts === 'successions', new Dice(seed, TRUNCATION_STREAM));
  return { ...plan, ...collection, strong, truncation, singleReads, cuts, lossBudget: Math.min(w, strong?.w ?? w) - 1 };
}

/** @param destructive disks are lost, which W = 1 does not cover */
function drawStrong(n: number, destructive: boolean, dice: Dice): StrongPlan {
  const w = n === 3 && dice.oneIn(3) ? 2 : dice.between(destructive ? 2 : 1, n);
  const pooled = dice.oneIn(3);
  return {
    r: dice.oneIn(4) ? n : n - w + 1,
    w,
    keys: Array.from({ length: dice.between(1, 3) }, (_, at) => `strong-${String(at)}`),
    clients: dice.between(2, 4),
    operations: pooled ? dice.between(10, 20) : dice.between(20, 40),
    pooled,
  };
}

/** From a stream of its own, so that it shifts nothing else. */
function drawAdmission(dice: Dice): Plan['admission'] {
  return dice.oneIn(5) ? { operations: dice.between(1, 3), waiting: dice.between(0, 4) } : undefined;
}

/** From a stream of its own too. Some keys become fleeting ones. */
function drawCollection(
  drawn: Pick<Plan, 'n' | 'keys' | 'faults' | 'admission'>,
  dice: Dice,
): Pick<Plan, 'collectMs' | 'keys' | 'faults' | 'anonymous' | 'stragglers'> {
  const keys = drawn.keys.map((key): PlannedKey => (dice.oneIn(4) ? { ...key, kind: 'fleeting' } : key));
  const collectMs = dice.pick([400, 1500, 6000]);
  const stragglers = drawn.n === 3 && drawn.admission === undefined && dice.oneIn(6);
  return {
    collectMs: stragglers ? 400 : collectMs,
    keys,
    faults: stragglers ? new Set() : drawn.faults,
    stragglers,
    anonymous: new Set(keys.filter(({ kind }) => kind === 'fleeting' || dice.oneIn(2)).map(({ name }) => name)),
  };
}

/** An old disk is restored only while all members are in touch; and without a fault no value may need one to have siblings. */
function drawCuts(
  drawn: Pick<Plan, 'n' | 'members' | 'faults' | 'admission' | 'quorums' | 'coveredW' | 'stragglers'>,
  dice: Dice,
): Plan['cuts'] {
  const { n, members, faults, admission, quorums, coveredW, stragglers } = drawn;
  const wanted = dice.weighted([
    ['successions', 1],
    ['absences', 1],
    [undefined, 2],
  ] as const);
  if (faults.size === 0 || faults.has('restored-disk') || stragglers || admission !== undefined) return undefined;
  // A key has N coordinators: one more than its clock may keep.
  if (wanted === 'successions') return n > LEAST_CLOCK ? wanted : undefined;
  // As many as must have a write that is to survive.
  return wanted === 'absences' && quorums === 'mixed' && members.length - n >= coveredW ? wanted : undefined;
}

/** @param always clocks are truncated in any case, and as soon as they can be */
function drawTruncation(skewMs: number, always: boolean, dice: Dice): Plan['truncation'] {
  const drawn = dice.oneIn(3);
  const entries = dice.oneIn(3) ? LEAST_CLOCK + 1 : LEAST_CLOCK;
  const ageMs = 2 * skewMs + 100;
  if (always) return { entries: LEAST_CLOCK, ageMs };
  return drawn ? { entries, ageMs } : undefined;
}

function drawKeys(dice: Dice): PlannedKey[] {
  return Array.from({ length: dice.oneIn(4) ? dice.between(30, 60) : dice.between(4, 10) }, (_, at) => ({
    name: `key-${String(at)}`,
    kind: dice.weighted<KeyKind>([
      ['register', 3],
      ['context', 4],
      ['mixed', 2],
      ['expiring', 2],
    ]),
  }));
}

function quorums(n: number, dice: Dice): readonly [number, number] {
  if (n === 3 && dice.oneIn(2)) return [2, 2];
  if (dice.oneIn(3)) return [1, n];
  return [dice.between(1, n), dice.between(1, n)];
}

function drawFaults(dice: Dice, w: number, interval: boolean): ReadonlySet<Fault> {
  if (dice.oneIn(12)) return new Set();
  const wanted = dice.shuffled(FAULTS).slice(0, dice.between(2, 7));
  const allowed = wanted.filter((fault) => {
    if (DESTRUCTIVE.has(fault)) return w > 1;
    // Whole zones, cuts that are not announced, and logs that fail could take W members within one interval.
    if (interval && (fault === 'zone-loss' || fault === 'cut-midway' || fault === 'failed-sync')) return false;
    return !(interval && fault === 'power-loss' && w === 1);
  });
  return new Set(allowed);
}
