/** What the failure detector of one node holds (the rules: detector.ts). */

import type { StoreId } from '../../base/ids.ts';
import { Accusations } from './accusations.ts';
import { MemberTable } from './member-table.ts';
import { type Pace, paceOf } from './pace.ts';

export interface DetectorRules {
  /** This node's position in the topology. */
  readonly self: number;
  /** The members' zones, numbered; as many as there are members. */
  readonly zones: readonly number[];
  /** The first incarnation of this life, at least 1: above those of earlier ones where that is known. */
  readonly incarnation: number;
  readonly store: StoreId | undefined;
  /** Of the topology by which members are numbered. */
  readonly epoch: number;
  /** Uniform, 0 to 2^32-1. */
  readonly random: () => number;
  readonly observersNeeded: number;
  /** Whether this node becomes an observer: `probed` says that its own probes went unanswered; else it has only heard of it. */
  readonly accuses: (probed: boolean) => boolean;
}

export interface Verdict {
  readonly incarnation: number;
  readonly observers: readonly number[];
}

export interface Detector {
  readonly rules: DetectorRules;
  readonly pace: Pace;
  readonly table: MemberTable;
  readonly accusations: Accusations;
  readonly verdicts: Map<number, Verdict>;
  /** When each member itself was last heard; -Infinity: never. */
  readonly heardMs: Float64Array;
  /** Since when each member owes an answer; Infinity: it owes none. */
  readonly owedMs: Float64Array;
  readonly probedMs: Float64Array;
  /** The incarnation that each member last said of itself. */
  readonly said: Float64Array;
  /** Probes since then. */
  readonly probes: Uint8Array;
  /** Doublings of the patience with each member. */
  readonly doublings: Uint8Array;
  readonly avoided: Uint8Array;
  /** The members that owe an answer and are probed until they give it. */
  readonly watched: number[];
  /** Rows that clear an accused member, and the times they are still to be passed on. */
  readonly cleared: Map<number, number>;
  readonly startedMs: number;
  incarnation: number;
  heartbeat: number;
  load: number;
  readonly epoch: number;
  /** 0 to MOST_DOUBT. */
  doubt: number;
  /** When any member was last heard. */
  lastHeardMs: number;
  /** The order in which members are gossiped to, shuffled anew each time it has been gone through. */
  readonly order: Int32Array;
  turn: number;
  /** The member whose heartbeat was looked at last. */
  staleTurn: number;
  roundMs: number;
  newsMs: number;
  /** Times that the own new incarnation is still to be announced. */
  announcements: number;
  /** The next tick is due by then. */
  wakeMs: number;
}

export function newDetector(rules: DetectorRules, nowMs: number): Detector {
  const size = rules.zones.length;
  const pace = paceOf(size);
  const order = Int32Array.from({ length: size - 1 }, (_, at) => (at < rules.self ? at : at + 1));
  const table = new MemberTable(size, nowMs);
  if (rules.store !== undefined) table.introduce(rules.self, rules.incarnation, rules.store);
  // Nodes that start together do not gossip in step.
  const roundMs = nowMs + (rules.random() % pace.intervalMs);
  return {
    rules,
    pace,
    table,
    accusations: new Accusations(rules.zones),
    verdicts: new Map(),
    heardMs: new Float64Array(size).fill(-Infinity),
    owedMs: new Float64Array(size).fill(Infinity),
    probedMs: new Float64Array(size).fill(-Infinity),
    said: new Float64Array(size),
    probes: new Uint8Array(size),
    doublings: new Uint8Array(size),
    avoided: new Uint8Array(size),
    watched: [],
    cleared: new Map(),
    startedMs: nowMs,
    incarnation: rules.incarnation,
    heartbeat: 0,
    load: 0,
    epoch: rules.epoch,
    doubt: 0,
    lastHeardMs: -Infinity,
    order,
    turn: order.length,
    staleTurn: 0,
    roundMs,
    newsMs: 0,
    announcements: 0,
    wakeMs: size > 1 ? roundMs : Infinity,
  };
}
