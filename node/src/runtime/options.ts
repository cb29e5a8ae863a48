/** What a node is made from: its slot, its directory, its environment, its limits; all but the first four have defaults. */

import type { Address, Network } from '../env/network.ts';
import type { Clock } from '../env/clock.ts';
import type { Executor } from '../env/executor.ts';
import type { MemberName } from '../base/ids.ts';
import { CLOCK_TRUNCATE } from '../cluster/versioning/object.ts';
import { TRUNCATE_MIN_AGE_MS } from '../cluster/versioning/truncate.ts';
import type { Random } from '../env/random.ts';
import type { Vfs } from '../env/vfs.ts';
import type { Topology } from '../cluster/ring/topology.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { MetricRegistry } from '../telemetry/metrics.ts';
import type { EngineOptions } from '../storage/options.ts';
import type { Policies } from './policies.ts';

/** Everything that is not pure, injected. */
export interface NodeEnvironment {
  readonly clock: Clock;
  readonly random: Random;
  readonly network: Network;
  readonly vfs: Vfs;
  readonly executor: Executor;
}

/** Engine settings that a node passes on. */
export type EngineSettings = Partial<Omit<EngineOptions, 'directory' | 'vfs' | 'executor' | 'clock' | 'log' | 'follower'>>;

export interface NodeLimits {
  /** Longest key in bytes; 1,024. */
  readonly keyBytes: number;
  /** Largest key and value together in bytes, up to 1 MiB; 10,240. */
  readonly pairBytes: number;
  /** Deadline of an operation that names none, in ms; 5,000. */
  readonly timeoutMs: number;
  /**
   * Client operations under way at once, at most: fewer where the node does not sustain so many, and no more than pairs of the largest size fit in
   * 256 MiB. 16,384.
   */
  readonly operations: number;
  /** Client operations that wait for their beginning, beside as many as could be under way; more are refused with BUSY. 1,024. */
  readonly waiting: number;
  /** Requests of peers under way at once; more are refused with BUSY. 16,384. */
  readonly peerRequests: number;
  /** Bytes of hints that this store keeps for primaries that are away; above it, it refuses further ones with BUSY. 1 GiB. */
  readonly hintBytes: number;
  /** Clock entries of a key above which a write truncates the clock, or warns where it may not; 2 to 100. 50. */
  readonly clockEntries: number;
  /** How old a clock entry must be before it may go, in ms: above what the wall clocks of two nodes may differ. 60,000. */
  readonly clockEntryAgeMs: number;
}

/** Durations of the store's bookkeeping, in ms. */
export interface NodeTimings {
  /** How far ahead of now the hybrid clock is leased on disk; at most 1,000. It bounds the wait after an unclean restart. */
  readonly timeLeaseMs: number;
  /** How long a restarted store waits for peers that may know that its disk was rewound. 1,000. */
  readonly confirmMs: number;
  /** Pause before a failed copy from another store is tried again. 500. */
  readonly copyRetryMs: number;
  /** How often two replicas compare all they share, 3,600,000; 0: only when asked for. */
  readonly repairMs: number;
  /** Pause before a comparison or a refill that could not be done is tried again. 5,000. */
  readonly repairRetryMs: number;
  /** Within how long everything on the disk is reread, 604,800,000; 0: only when asked for. */
  readonly scrubMs: number;
  /** Pause before hints that could not be delivered are tried again; doubled up to a minute. 1,000. */
  readonly hintRetryMs: number;
  /** How long hints may wait for a primary that is away before they are recorded as repair debt; they are kept all the same. 3,600,000. */
  readonly hintOverdueMs: number;
  /** How often tombstones and expired values are collected, where there are any; at least 100. 600,000. */
  readonly collectMs: number;
}

export interface NodeOptions {
  readonly name: MemberName;
  readonly topology: Topology;
  /** Directory of this store; made if missing. */
  readonly directory: string;
  readonly env: NodeEnvironment;
  /** Where to listen for peers; the topology's address of this member by default. */
  readonly listen?: Address;
  readonly engine?: EngineSettings;
  readonly limits?: Partial<NodeLimits>;
  readonly timings?: Partial<NodeTimings>;
  readonly log?: Logger;
  readonly metrics?: MetricRegistry;
  /** For the simulator's mutants; the shipped ones by default. */
  readonly policies?: Partial<Policies>;
}

/** What the operations under way may hold together, in bytes, if every one has the largest pair. */
const OPERATION_BYTES = 256 * 1024 * 1024;

/** The most operations that may be under way, however well the node sustains them. */
export function mostOperations(limits: Pick<NodeLimits, 'operations' | 'pairBytes'>): number {
  return Math.min(limits.operations, Math.floor(OPERATION_BYTES / limits.pairBytes));
}

export const DEFAULT_LIMITS: NodeLimits = {
  keyBytes: 1024,
  pairBytes: 10_240,
  timeoutMs: 5000,
  operations: 16_384,
  waiting: 1024,
  peerRequests: 16_384,
  hintBytes: 1024 * 1024 * 1024,
  clockEntries: CLOCK_TRUNCATE,
  clockEntryAgeMs: TRUNCATE_MIN_AGE_MS,
};

export const DEFAULT_TIMINGS: NodeTimings = {
  timeLeaseMs: 1000,
  confirmMs: 1000,
  copyRetryMs: 500,
  repairMs: 3_600_000,
  repairRetryMs: 5000,
  scrubMs: 604_800_000,
  hintRetryMs: 1000,
  hintOverdueMs: 3_600_000,
  collectMs: 600_000,
};
