/**
 * What the admin API answers, as JSON. These types are what the command line and the operator share with the node: fields are only added.
 */

import type { Bucket, CollectionView, MemberState, NodeStats, VersionTime, WaitingHints } from '../../runtime/kv.ts';

/** `GET /v1/cluster` */
export interface ClusterDocument {
  readonly clusterId: string;
  readonly epoch: number;
  readonly n: number;
  readonly q: number;
  /** The name of the member that answers. */
  readonly self: string;
  readonly buckets: readonly Bucket[];
  readonly members: readonly MemberDocument[];
  /** Of the answering node's own store; null where every key has one replica only. */
  readonly repair: RepairSummary | null;
  /** Of the partitions that the answering node leads the collecting of. */
  readonly collection: CollectionView;
}

export interface RepairSummary {
  /** Comparisons owed: pairs of a partition and another replica of it. */
  readonly owed: number;
  /** Ranges that damage took, and that are not filled again yet. */
  readonly lostRanges: number;
}

export interface MemberDocument {
  /** Of the store that fills the slot, 32 hexadecimal digits; null until the answering node has met it. */
  readonly id: string | null;
  readonly name: string;
  /** `host:port` for peers. */
  readonly address: string;
  readonly endpoints: { readonly peer: string; readonly resp: string; readonly http: string };
  readonly zone: string;
  readonly rack: string;
  readonly weight: number;
  /** As the answering node sees it. */
  readonly state: MemberState;
  /** Requests of the answering node to it pass now. */
  readonly reachable: boolean;
  /** Partitions it is a primary of. */
  readonly partitions: number;
  /** Comparisons that the answering node owes to it, and when it last owed none (milliseconds since 1970; null: not since its start). */
  readonly repairOwed: number;
  readonly lastRepairMs: number | null;
  /** The life of it that the failure detector knows of; 0 until something was heard of it. */
  readonly incarnation: number;
  /** Milliseconds since its heartbeat was last seen to rise, by its own word or by hearsay. */
  readonly heartbeatAgeMs: number;
  /** Client operations under way on it, as it last said. */
  readonly load: number;
  /** The newest topology that it has. */
  readonly newestEpoch: number;
  /** Names of those on whose word it is DOWN; empty where it is not. */
  readonly observers: readonly string[];
  /** Names of those that are known to have found it silent. */
  readonly accusers: readonly string[];
  /** Keys that other stores keep for it because it missed their writes. */
  readonly hints: number;
  readonly hintBytes: number;
  /** How many of those hints are repair debt: kept, and not deliverable for long, or refused. */
  readonly debt: number;
  /** Who keeps them, as the answering node was told within the last seconds. */
  readonly waiting: readonly WaitingHints[];
}

/** `GET /v1/admin/repair`, and the answer to `POST`: what repair does at this very node. Counts are since its start. */
export interface RepairDocument {
  readonly node: string;
  /** False where every key has one replica only. */
  readonly enabled: boolean;
  /** Leaves of the hash trees, and those not known now. */
  readonly leaves: number;
  readonly leavesUnknown: number;
  readonly owed: number;
  readonly underWay: number;
  readonly lostRanges: number;
  /** Members that must be reached before a lost range can be filled. */
  readonly sourcesMissing: number;
  /** The latest request's comparisons; null before the first. */
  readonly requested: { readonly total: number; readonly left: number } | null;
  readonly members: readonly { readonly name: string; readonly owed: number; readonly lastMs: number | null }[];
  /** Pieces of the present pass; times in milliseconds since 1970, null: never. */
  readonly scrub: {
    readonly startedMs: number | null;
    readonly completedMs: number | null;
    readonly done: number;
    readonly total: number;
  };
  readonly counts: Readonly<Record<string, number>>;
}

/** `GET /v1/ring` */
export interface RingDocument {
  readonly epoch: number;
  readonly n: number;
  readonly q: number;
  readonly tokenHash: string;
  /** 16 hexadecimal digits. */
  readonly tokenSeed: string;
  /** Names, in the order that `partitions` counts them. */
  readonly members: readonly string[];
  /** For each partition its primaries in order, as positions in `members`. */
  readonly partitions: readonly (readonly number[])[];
}

/** `GET /v1/admin/replica/{bucket}/{key}`: what this very node's store holds, without asking others. */
export interface ReplicaDocument {
  readonly node: string;
  /** 8 bytes as hexadecimal, null where there is no copy: equal digests mean equal copies. */
  readonly digest: string | null;
  /** Live values, newest first; none of a deleted key. */
  readonly versions: readonly VersionDocument[];
  /** The stored object as base64, null where there is no copy. */
  readonly object: string | null;
}

export interface VersionDocument {
  /** Base64. */
  readonly value: string;
  /** Milliseconds since 1970; null = never. */
  readonly expireAtMs: number | null;
  readonly time: VersionTime;
}

/** `GET /v1/admin/stats` */
export type StatsDocument = NodeStats & { readonly node: string };

/** `/readyz` */
export interface ReadinessDocument {
  readonly ready: boolean;
  /** Why not, one sentence each. */
  readonly reasons: readonly string[];
}

/** Every error, as `application/problem+json` (RFC 9457). */
export interface ProblemDocument {
  readonly type: 'about:blank';
  readonly title: string;
  readonly status: number;
  /** Stable; docs/API.md lists all. */
  readonly code: string;
  readonly detail: string;
  /** Of a failed write: whether it may have happened. */
  readonly outcome?: 'none' | 'unknown';
  readonly retryAfterMs?: number;
}
