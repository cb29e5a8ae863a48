/** What the operations of one node share. */

import { crc32 } from 'node:zlib';

import type { ByteString } from '../base/bytes.ts';
import type { Checksum } from '../base/hash.ts';
import type { Clock } from '../env/clock.ts';
import type { AttemptIds } from '../cluster/versioning/attempt.ts';
import type { StandInActor } from '../cluster/handoff/stand-in-actor.ts';
import type { Random } from '../env/random.ts';
import type { Topology } from '../cluster/ring/topology.ts';
import type { HotEncoder } from '../transport/messages/hot-encoder.ts';
import type { Transport } from '../transport/transport.ts';
import type { Admission } from './admission.ts';
import type { Fallbacks } from './fallbacks.ts';
import type { ForegroundPace } from './foreground-pace.ts';
import type { Hedging } from './hedging.ts';
import type { WriteHedging } from './write-hedging.ts';
import type { HintStore } from './hint-store.ts';
import type { Leases } from './leases.ts';
import type { LocalStore } from './local-store.ts';
import type { Members } from './members.ts';
import type { NodeMetrics } from './node-metrics.ts';
import type { NodeLimits } from './options.ts';
import type { Policies } from './policies.ts';
import type { Registers } from './registers.ts';
import type { Standing } from './standing.ts';
import type { TimerWheel } from './timer-wheel.ts';

export const CHECKSUM: Checksum = crc32;

export interface NodeCore {
  readonly topology: Topology;
  readonly members: Members;
  readonly standing: Standing;
  readonly store: LocalStore;
  /** What this store keeps for others, as a fallback. */
  readonly hints: HintStore;
  readonly fallbacks: Fallbacks;
  /** Mints the dots of what this node coordinates as a fallback. */
  readonly standIn: StandInActor;
  readonly registers: Registers;
  readonly leases: Leases;
  readonly transport: Transport;
  readonly encoder: HotEncoder;
  readonly hedging: Hedging;
  /** When a write that was handed to a silent coordinator is handed to a second one. */
  readonly writeHedging: WriteHedging;
  readonly attemptIds: AttemptIds;
  /** How much repair, moves and compaction may do beside the clients' operations. */
  readonly pace: ForegroundPace;
  readonly wheel: TimerWheel;
  readonly admission: Admission;
  readonly clock: Clock;
  readonly random: Random;
  readonly policies: Policies;
  readonly limits: NodeLimits;
  readonly metrics: NodeMetrics;
  /** A write that this node coordinates has not reached a primary of its key, by position, and nobody keeps it for that one: repair debt. */
  readonly missed: (diskKey: ByteString, slot: number) => void;
  /** Something that an operator should hear of. */
  readonly warn: (event: string, fields: Readonly<Record<string, string | number>>) => void;
}
