/**
 * Requests and replies between the nodes of a cluster, over byte streams.
 *
 * One outgoing connection to each peer carries this node's requests and the peer's replies; the peer's requests come over the connection
 * it opened. No callback ever runs inside the call that causes it.
 */

import type { Clock } from '../env/clock.ts';
import type { Address, Listener, Network } from '../env/network.ts';
import type { Random } from '../env/random.ts';
import type { HandshakePolicy } from './handshake.ts';
import type { TransportLimits } from './limits.ts';
import type { PeerStatus, TransportCounters, TransportEvent } from './peer-status.ts';
import type { IncomingRequest, Reply, RequestHandle } from './request.ts';

/** The topology epochs that frames carry. */
export interface EpochPolicy {
  /** This node's epoch now; replies carry it. */
  current(): number;
  /** Whether a request sent at `epoch` may be heard. One that may not is answered with EPOCH_STALE, outcome `none`, undecoded. */
  admits(peer: string, epoch: number, type: number): boolean;
}

export interface TransportOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly handshake: HandshakePolicy;
  /** Absent: every epoch is heard, replies carry 0. */
  readonly epochs?: EpochPolicy;
  readonly limits?: Partial<TransportLimits>;
  readonly log?: (event: TransportEvent) => void;
  readonly metrics?: TransportCounters;
}

export interface PeerAddress {
  readonly name: string;
  readonly address: Address;
}

/** Message types are the caller's, FIRST_MESSAGE_TYPE to 255; the ones below are the transport's own. */
export const FIRST_MESSAGE_TYPE = 16;

export declare class Transport {
  readonly counters: TransportCounters;

  constructor(options: TransportOptions);

  /** Accepts peers. @throws CoterieError PORT_IN_USE, SETTING_INVALID */
  listen(address: Address): Promise<Listener>;

  /** The peers to keep connections to; those not named are disconnected. */
  setPeers(peers: readonly PeerAddress[]): void;

  peers(): PeerStatus[];

  /** Whether requests to the peer pass now. */
  connected(peer: string): boolean;

  /**
   * Sends a request. `onReply` runs exactly once, unless cancelled, and never inside this call.
   *
   * Failures: PEER_UNREACHABLE (not connected: `none`; connection lost), BUSY (a queue is full: `none`), TIMEOUT (no reply within the
   * deadline), PAIR_TOO_LARGE (`none`), UNSUPPORTED (the peer knows no such type: `none`), EPOCH_STALE (`none`), CLOSED (`none`), and what
   * the peer's handler answers.
   *
   * @param type FIRST_MESSAGE_TYPE to 255
   * @param payload borrowed until the call returns
   * @param deadlineMs from now, at least 1
   * @param epoch this node's topology epoch, below 2^53
   */
  request(
    peer: string,
    type: number,
    payload: Uint8Array,
    deadlineMs: number,
    epoch: number,
    onReply: (reply: Reply) => void,
  ): RequestHandle;

  /**
   * Answers requests of this type from now on. A handler that throws a CoterieError fails its request with that code; FRAME_INVALID (the
   * payload could not be decoded) closes the connection it came over. Anything else thrown is a bug and is not caught.
   */
  handle(type: number, handler: (request: IncomingRequest) => void): void;

  /** Hears when a peer becomes connected or stops being so. */
  onPeerChange(callback: (status: PeerStatus) => void): void;

  /** Ends every connection and accepts no more; requests under way fail with CLOSED. */
  close(): Promise<void>;
}
