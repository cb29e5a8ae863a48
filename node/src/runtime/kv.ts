/**
 * The key-value service as the client protocols, the command line and the simulator see it. `runtime/node.ts` holds the one
 * implementation (`CoterieNode.open(options)`).
 *
 * Invariants every implementation keeps:
 * - Failures are `CoterieError`s, thrown when the answer is immediate, else by rejection; a failed write carries its `outcome`.
 * - An operation answers within its timeout, or fails with TIMEOUT.
 * - Keys, values, contexts and operation ids passed in are borrowed until the call returns.
 */

import type { ByteString } from '../base/bytes.ts';
import type { CoterieError } from '../base/errors.ts';
import type { Sink } from './answer.ts';

/** An answer given at once where everything needed is in this process's memory, else a promise of it. */
export type Maybe<T> = T | Promise<T>;

/** A hybrid time: milliseconds since 1970, and a counter 0 to 65,535 that orders what happened within one of them. */
export interface VersionTime {
  readonly ms: number;
  readonly logical: number;
}

/** One live value of a key. A key has several (siblings) only after truly concurrent writes with contexts. */
export interface Version {
  /** Never changes. Of an answer given at once it is borrowed: valid until the turn of the loop ends. Of a promised answer it is yours. */
  readonly value: Uint8Array;
  /** Milliseconds since 1970; 0 = never expires. */
  readonly expireAtMs: number;
  readonly time: VersionTime;
}

/**
 * Which replicas may count: `strict` only primaries of the current epoch; `sloppy` also fallbacks that stand in for primaries that are away, so that
 * R + W > N promises nothing. Sloppy is the default of eventual buckets; strong ones refuse it with UNSUPPORTED.
 */
export type QuorumKind = 'strict' | 'sloppy';

export interface ReadOptions {
  /** Answers to wait for, 1 to N; the bucket's R by default. */
  readonly r?: number;
  readonly quorum?: QuorumKind;
  /** Whole milliseconds, 1 to 60,000; 5,000 by default. */
  readonly timeoutMs?: number;
}

export interface WriteOptions {
  /** Durable acknowledgements to wait for, 1 to N; the bucket's W by default. */
  readonly w?: number;
  readonly quorum?: QuorumKind;
  /** Whole milliseconds, 1 to 60,000; 5,000 by default. */
  readonly timeoutMs?: number;
  /** A context token from an earlier answer about the same key: the write replaces exactly what that answer showed. */
  readonly context?: Uint8Array;
  /** 16 bytes: a retry with the same id within 10 minutes is the same write, through any node. */
  readonly operationId?: Uint8Array;
}

export interface PutExpiry {
  /** Milliseconds since 1970; 0 or absent = never. One in the past makes the value expire at once. */
  readonly expireAtMs?: number;
  /** Keeps the expiry that the key has now. */
  readonly keepTtl?: boolean;
}

export interface ReadResult {
  /** Newest first; empty where the key was never written, is deleted or has expired. */
  readonly versions: readonly Version[];
  /** Also of a deleted or expired key; `undefined` where the key was never written. */
  readonly context: Uint8Array | undefined;
  /** Answers counted that are a fallback's alone; absent or 0: R primaries have answered. */
  readonly fallbacks?: number | undefined;
}

export interface WriteResult {
  /**
   * Covers this write and everything that it replaced; `undefined` while the key has values besides, which the client was not shown: a write
   * with a context that covers them would remove them unseen. A read answers one.
   */
  readonly context: Uint8Array | undefined;
  /** A live value was there before, as the coordinator saw it. */
  readonly existed: boolean;
  /** Live values after the write: more than one are siblings. */
  readonly siblings: number;
  /** Acknowledgements counted that are a fallback's alone; absent or 0: W primaries have it. */
  readonly fallbacks?: number | undefined;
}

export interface ExpireResult {
  /** False where there was no live value. */
  readonly changed: boolean;
}

export interface ScanOptions {
  readonly timeoutMs?: number;
}

export interface ScanResult {
  /** Where to go on, a whole number below 2^64; `'0'` when everything has been seen. It is all the state there is: any node goes on from it. */
  readonly cursor: string;
  /** In token order. Every key present from the first call to the last one is answered at least once. */
  readonly keys: readonly ByteString[];
}

export type Consistency = 'eventual' | 'strong';

export interface Bucket {
  readonly id: number;
  readonly name: string;
  readonly consistency: Consistency;
  readonly r: number;
  readonly w: number;
  readonly blindWrites: 'newest' | 'quorum';
}

/**
 * What this node knows of a member: itself; one it is connected to; one it is connected to and avoids, because it owes an answer; one it cannot reach;
 * one that is DOWN, on the word of two observers.
 */
export type MemberState = 'self' | 'connected' | 'avoided' | 'unreachable' | 'down';

export interface MemberView {
  /** Of the store that fills the slot; `undefined` until this node has met it. */
  readonly id: string | undefined;
  readonly name: string;
  readonly host: string;
  readonly peerPort: number;
  readonly respPort: number;
  readonly httpPort: number;
  readonly zone: string;
  readonly rack: string;
  readonly weight: number;
  readonly state: MemberState;
  /** Requests to it pass now. */
  readonly reachable: boolean;
  /** Partitions it is a primary of. */
  readonly partitions: number;
  /** The life of the member that the failure detector knows of; 0 until something was heard of it. */
  readonly incarnation: number;
  /** How long ago its heartbeat was last seen to rise. */
  readonly heartbeatAgeMs: number;
  /** Client operations under way on it, as it last said. */
  readonly load: number;
  /** The newest topology that it has. */
  readonly newestEpoch: number;
  /** Names of those on whose word it is DOWN. */
  readonly observers: readonly string[];
  /** Names of those that are known to have found it silent. */
  readonly accusers: readonly string[];
  /** What other stores keep for it, as far as this node was told; itself included. */
  readonly waiting: readonly WaitingHints[];
}

/** Writes that a store keeps for a member that missed them. */
export interface WaitingHints {
  /** The store's member. */
  readonly holder: string;
  /** Keys. */
  readonly hints: number;
  readonly bytes: number;
  /** How many of them are repair debt: kept, and not deliverable for long, or refused. */
  readonly debt: number;
}

/** What this store keeps for others, as a fallback. */
export interface HintStats {
  readonly hints: number;
  readonly bytes: number;
  /** Above it, further hints are refused. */
  readonly limitBytes: number;
  readonly debt: number;
  readonly full: boolean;
}

/** Why partitions cannot be collected. */
export interface CollectionBlock {
  readonly member: string;
  /** `unreachable`, `not-synchronised`, `hints`, …: cluster/collection/round-messages.ts */
  readonly why: string;
  readonly partitions: number;
}

/** The collecting of tombstones and expired values, of the partitions that this node leads. */
export interface CollectionView {
  /** Partitions whose rounds this node leads. */
  readonly partitions: number;
  readonly leastGeneration: number;
  readonly mostGeneration: number;
  /** Deletes and values that expire, taken since their partition's generation last rose. */
  readonly youngDead: number;
  /** Empty while nothing blocks. */
  readonly blocked: readonly CollectionBlock[];
}

export interface ClusterView {
  readonly clusterId: string;
  readonly epoch: number;
  readonly n: number;
  readonly q: number;
  /** This node's slot. */
  readonly self: string;
  readonly buckets: readonly Bucket[];
  readonly members: readonly MemberView[];
  readonly collection: CollectionView;
}

export interface RingView {
  readonly epoch: number;
  readonly n: number;
  readonly q: number;
  readonly tokenHash: string;
  readonly tokenSeed: string;
  /** Names of the members, in the order that `partitions` counts them. */
  readonly members: readonly string[];
  /** For each partition its primaries in order, as positions in `members`. */
  readonly partitions: readonly (readonly number[])[];
}

export interface Readiness {
  readonly ready: boolean;
  /** Why not, one sentence each; empty when ready. */
  readonly reasons: readonly string[];
}

/** How far a blank or rewound store has come with copying its partitions. */
export interface SynchronisationView {
  readonly synchronised: boolean;
  readonly partitionsTotal: number;
  readonly partitionsDone: number;
  /** Why it waits, if it does. */
  readonly waitingFor: string | undefined;
}

/** What brings this node's store and the other replicas of its partitions together. Counts are since the start. */
export interface RepairView {
  /** Leaves of this store's hash trees, and those that are not known now: being computed, or damaged. */
  readonly leaves: number;
  readonly leavesUnknown: number;
  /** Comparisons owed: pairs of a partition and another replica of it. */
  readonly owed: number;
  /** Comparisons and refills under way, for this node or for others. */
  readonly underWay: number;
  /** Ranges of this store that damage took, and how many more sources it takes to fill them than can be asked now. */
  readonly lostRanges: number;
  readonly sourcesMissing: number;
  /** The latest request, in comparisons. */
  readonly requested: { readonly total: number; readonly left: number } | undefined;
  /** The members that partitions are shared with. `lastMs`: when everything that was owed to it had been compared, wall clock. */
  readonly members: readonly { readonly name: string; readonly owed: number; readonly lastMs: number | undefined }[];
  /** The rereading of the store: when its present and its last complete pass began and ended (0: never), and how far the present one has come. */
  readonly scrub: { readonly startedMs: number; readonly completedMs: number; readonly done: number; readonly total: number };
  readonly counts: Readonly<Record<string, number>>;
}

export interface RepairRequest {
  /** Partitions to compare, both inclusive; all by default. */
  readonly first?: number;
  readonly last?: number;
  /** Reread the store too, now. */
  readonly scrub?: boolean;
}

export interface NodeStats {
  readonly storeId: string;
  readonly boot: number;
  readonly actorEpoch: number;
  readonly uptimeMs: number;
  /** Client operations under way on this node. */
  readonly operationsInFlight: number;
  /** Client operations that wait for their beginning. */
  readonly operationsWaiting: number;
  /** How many may be under way now: it follows what the node sustains. */
  readonly operationsLimit: number;
  /** How far the failure detector doubts its own judgement, 0 to 4. */
  readonly doubt: number;
  /** Counts since start, by metric name (`reads`, `writes`, `readRepairs`, `hedges`, `forwards`, `busy`, `timeouts`, …). */
  readonly counters: Readonly<Record<string, number>>;
  readonly synchronisation: SynchronisationView;
  readonly hints: HintStats;
  /** The engine's own figures. */
  readonly engine: Readonly<Record<string, unknown>>;
}

export interface KvLimits {
  /** 1,024. */
  readonly keyBytes: number;
  /** Key plus value; 10,240 by default, at most 1 MiB. */
  readonly pairBytes: number;
}

/** This node's own copy of a key, for operators and tests: no quorum, no repair. */
export interface LocalCopy {
  readonly versions: readonly Version[];
  /** The 8-byte clock digest as hexadecimal; `undefined` where there is no copy. Equal digests mean equal copies. */
  readonly digest: string | undefined;
  /** The stored object, encoded. */
  readonly bytes: Uint8Array | undefined;
}

export interface KvNode {
  readonly limits: KvLimits;
  bucket(name: string): Bucket | undefined;
  get(bucket: string, key: ByteString, options: ReadOptions): Maybe<ReadResult>;
  put(bucket: string, key: ByteString, value: Uint8Array, expiry: PutExpiry, options: WriteOptions): Maybe<WriteResult>;
  /** `get` without a promise: the result goes to `sink`, within the call where it is at hand, unless the call throws. */
  getInto(sink: Sink<ReadResult>, bucket: string, key: ByteString, options: ReadOptions): void;
  /** `put` in the same way. */
  putInto(sink: Sink<WriteResult>, bucket: string, key: ByteString, value: Uint8Array, expiry: PutExpiry, options: WriteOptions): void;
  /** `existed` of the answer tells whether there was something to delete. */
  delete(bucket: string, key: ByteString, options: WriteOptions): Maybe<WriteResult>;
  /** @param atMs milliseconds since 1970; 0 makes the key persist */
  expire(bucket: string, key: ByteString, atMs: number, options: WriteOptions): Maybe<ExpireResult>;
  /**
   * @param cursor `'0'` to start, else one that an earlier call answered
   * @param count about how many keys to answer, 1 to 10,000
   * @throws CoterieError REQUEST_INVALID for a broken cursor, NO_QUORUM, TIMEOUT
   */
  scan(bucket: string, cursor: string, count: number, options: ScanOptions): Promise<ScanResult>;
  /** Live keys of the bucket, by asking enough replicas of every partition: it reads the whole bucket. */
  count(bucket: string, options: ScanOptions): Promise<number>;
  /** Why an operation on a key that came now would be refused for want of time (BUSY); undefined where it would not. Costs next to nothing. */
  refusal(): CoterieError | undefined;
  local(bucket: string, key: ByteString): Promise<LocalCopy>;
  cluster(): ClusterView;
  ring(): RingView;
  /** Compares partitions with their other replicas now. @throws CoterieError REQUEST_INVALID where there are none such */
  repair(request: RepairRequest): void;
  /** `undefined` where every key has one replica only: there is nothing to compare. */
  repairs(): RepairView | undefined;
  ready(): Readiness;
  stats(): NodeStats;
  /** The wall clock that expiry is judged by. */
  nowMs(): number;
  /** Listens for peers, connects to them and begins to synchronise if it has to. */
  start(): Promise<void>;
  /** Refuses new work, lets what runs end within `graceMs`, marks the store as stopped cleanly, and closes everything. */
  stop(graceMs?: number): Promise<void>;
}
