/**
 * The handshake: what two nodes tell each other before anything else passes between them.
 *
 * Each side sends HELLO, judges the other's, and sends WELCOME with what it remembers of the other, or ERROR and closes. The side that
 * opened the connection speaks first; the other answers with HELLO and WELCOME at once after judging.
 */

import type { ByteString } from '../base/bytes.ts';
import type { ErrorCode } from '../base/errors.ts';
import type { ClusterId, MemberName, StoreId } from '../base/ids.ts';

export interface Hello {
  /** Versions of the peer protocol that the node speaks. The highest common one is used. */
  readonly protocol: { readonly min: number; readonly max: number };
  readonly clusterId: ClusterId;
  readonly name: MemberName;
  readonly storeId: StoreId;
  /** Number of this start of the store; it only grows. */
  readonly boot: number;
  /** Counters below it may have been used by the store. */
  readonly leaseEnd: number;
  /** 0 to 2^32-1. */
  readonly actorEpoch: number;
  readonly topologyEpoch: number;
  /** At most 32 bytes. */
  readonly topologyDigest: ByteString;
}

/** What a node remembers of another member's slot: a store that was rewound or replaced learns here that it was. */
export interface Remembered {
  /** False: nothing is remembered, the other fields say nothing. */
  readonly known: boolean;
  readonly storeId?: StoreId;
  /** The highest ever seen of that store. */
  readonly boot: number;
  readonly leaseEnd: number;
  readonly actorEpoch: number;
}

export type Judgement =
  | { readonly accept: true; readonly remembered: Remembered }
  | { readonly accept: false; readonly code: ErrorCode; readonly message: string };

export interface HandshakePolicy {
  /** What this node says of itself now; asked for every connection. */
  hello(): Hello;
  /** Judges the other side. The transport itself has compared the protocol versions and, on connections it opened, the name. */
  judge(theirs: Hello): Promise<Judgement>;
  /** What `peer` remembers of this node. Runs once for each handshake that succeeds, before any request passes. */
  remembered(peer: MemberName, what: Remembered): void;
}
