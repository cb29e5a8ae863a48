/** What the nodes of a cluster tell each other of its members: one kind of message, for gossip, probes and their answers. */

import type { StoreId } from '../../base/ids.ts';

/** One member's claim that another one is silent to its own probes. */
export interface Accusation {
  readonly member: number;
  /** The life of the member that was probed. */
  readonly incarnation: number;
  readonly observer: number;
  /** The life of the observer that speaks. */
  readonly observerIncarnation: number;
}

/** Which store fills a member's slot in one of its lives. */
export interface Introduction {
  readonly member: number;
  readonly incarnation: number;
  readonly store: StoreId;
}

/** Numbers of a row in `Gossip.rows`: member, incarnation, heartbeat, load, newest epoch. */
export const ROW = 5;

/**
 * Members are numbered by their positions in the topology of `epoch`: a receiver with another one hears only what the sender says of itself. First what the sender says of itself: whoever receives it has heard the sender. All
 * the rest is hearsay.
 */
export interface Gossip {
  readonly incarnation: number;
  /** Rounds of gossip in this life. */
  readonly heartbeat: number;
  /** Client operations under way. */
  readonly load: number;
  /** The newest topology that it has. */
  readonly epoch: number;
  readonly store: StoreId | undefined;
  /** Whether a part of the receiver's list is wanted in return. */
  readonly exchange: boolean;
  /** A part of the sender's list, ROW numbers a member. */
  readonly rows: readonly number[];
  readonly introductions: readonly Introduction[];
  readonly accusations: readonly Accusation[];
}
