/**
 * Requests and replies between the nodes of a cluster, over byte streams.
 *
 * One outgoing connection to each peer carries this node's requests and the peer's replies; the peer's requests come over the connection
 * it opened. No callback ever runs inside the call that causes it.
 */

import { CoterieError, type ErrorCode, invariant } from '../base/errors.ts';
import type { Clock } from '../env/clock.ts';
import type { Address, Connection, ConnectionHandler, Listener, Network } from '../env/network.ts';
import type { Random } from '../env/random.ts';
import { Deadlines } from './deadlines.ts';
import { FIRST_MESSAGE_TYPE } from './frame.ts';
import type { HandshakePolicy, Hello } from './handshake.ts';
import { DEFAULT_LIMITS, type TransportLimits } from './limits.ts';
import { Link } from './link.ts';
import { Peer, type PeerWorld } from './peer.ts';
import { type PeerStatus, type TransportCounters, type TransportEvent, zeroCounters } from './peer-status.ts';
import type { IncomingRequest, Reply, RequestHandle } from './request.ts';
import { Responder, type ResponderOwner } from './responder.ts';

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
  /** Types of requests that a peer which is well answers at once, without asking others: see `waitedMs`. */
  readonly prompt?: ReadonlySet<number>;
  readonly log?: (event: TransportEvent) => void;
  readonly metrics?: TransportCounters;
}

export interface PeerAddress {
  readonly name: string;
  readonly address: Address;
}

/** A request that has failed before it was sent; its callback is still to run. */
class RefusedRequest implements RequestHandle {
  cancelled = false;

  cancel(): void {
    this.cancelled = true;
  }
}

export class Transport {
  readonly counters: TransportCounters;
  readonly #world: PeerWorld;
  readonly #owner: ResponderOwner;
  readonly #handlers: (((request: IncomingRequest) => void) | undefined)[] = [];
  readonly #peers = new Map<string, Peer>();
  readonly #listeners = new Set<Listener>();
  readonly #responders = new Set<Responder>();
  /** The accepted link of each peer: it opens one only. */
  readonly #responderOf = new Map<string, Responder>();
  readonly #observers: ((status: PeerStatus) => void)[] = [];
  #closed = false;

  constructor(options: TransportOptions) {
    const { network, clock, random, handshake, epochs, log } = options;
    this.counters = options.metrics ?? zeroCounters();
    this.#world = {
      network,
      clock,
      random,
      policy: handshake,
      limits: { ...DEFAULT_LIMITS, ...options.limits },
      counters: this.counters,
      deadlines: new Deadlines(clock),
      prompt: options.prompt ?? new Set(),
      log: log ?? ((): void => undefined),
      changed: (peer): void => {
        // It may be the user's call that ends a link: the observers run later.
        clock.soon(() => {
          for (const observer of this.#observers) observer(peer.status);
        });
      },
    };
    this.#owner = {
      handlerOf: (type) => this.#handlers[type],
      admits: (peer, epoch, type) => epochs?.admits(peer, epoch, type) ?? true,
      epoch: () => epochs?.current() ?? 0,
      established: (responder, theirs): void => {
        this.#established(responder, theirs);
      },
      closed: (responder, error): void => {
        this.#ended(responder, error);
      },
    };
  }

  /** Accepts peers. @throws CoterieError PORT_IN_USE, SETTING_INVALID */
  async listen(address: Address): Promise<Listener> {
    const listener = await this.#world.network.listen(address, (connection) => this.#accept(connection));
    this.#listeners.add(listener);
    return listener;
  }

  /** The peers to keep connections to; those not named are disconnected. */
  setPeers(peers: readonly PeerAddress[]): void {
    const wanted = new Map(peers.map((peer) => [peer.name, peer.address]));
    for (const [name, peer] of this.#peers) {
      const address = wanted.get(name);
      if (address?.host === peer.address.host && address.port === peer.address.port) {
        wanted.delete(name);
      } else {
        this.#peers.delete(name);
        peer.stop(new CoterieError('PEER_REMOVED', 'no longer a peer at this address'));
      }
    }
    if (this.#closed) return;
    for (const [name, address] of wanted) {
      const peer = new Peer(name, address, this.#world);
      this.#peers.set(name, peer);
      peer.open();
    }
  }

  peers(): PeerStatus[] {
    return [...this.#peers.values()].map((peer) => peer.status);
  }

  /** Whether requests to the peer pass now. */
  connected(peer: string): boolean {
    return this.#peers.get(peer)?.connected === true;
  }

  /** Tries to connect to a peer at once, unless it is connected or being connected to. */
  connectNow(peer: string): void {
    this.#peers.get(peer)?.open();
  }

  /** For how many milliseconds a connected peer has left a ping or a prompt request unanswered; 0 where it owes nothing. */
  waitedMs(peer: string): number {
    return this.#peers.get(peer)?.waitedMs(this.#world.clock.monotonicMs()) ?? 0;
  }

  /** Monotonic time of the last that came from the peer on the connection that requests go out on; -Infinity without one. */
  heardMs(peer: string): number {
    return this.#peers.get(peer)?.heardMs ?? -Infinity;
  }

  /**
   * By how many milliseconds a request to the peer may be late without the peer's noticing: IncomingRequest.sentMs is no later than its sending by more.
   * Infinity while that has no bound.
   */
  unseenMs(peer: string): number {
    return this.#peers.get(peer)?.unseenMs(this.#world.clock.monotonicMs()) ?? Infinity;
  }

  /**
   * Sends a request. `onReply` runs exactly once, unless cancelled, and never inside this call.
   *
   * Failures: PEER_UNREACHABLE (not connected: `none`; connection lost), BUSY (a queue is full: `none`), TIMEOUT (no reply within the
   * deadline), FRAME_TOO_LARGE (`none`), UNSUPPORTED (the peer knows no such type: `none`), EPOCH_STALE (`none`), CLOSED (this transport
   * was closed), FRAME_INVALID (the callback threw that on the reply: it runs a second time, with the failure, and the link ends), and
   * what the peer's handler answers.
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
  ): RequestHandle {
    invariant(
      type >= FIRST_MESSAGE_TYPE && type <= 255 && deadlineMs >= 1 && Number.isSafeInteger(epoch) && epoch >= 0,
      'a request is in range',
    );
    const { maxMessageBytes } = this.#world.limits;
    if (payload.length > maxMessageBytes) return this.#refused(peer, 'FRAME_TOO_LARGE', onReply);
    const result = this.#peers.get(peer)?.request(type, payload, deadlineMs, epoch, onReply) ?? 'PEER_UNREACHABLE';
    return typeof result === 'string' ? this.#refused(peer, this.#closed ? 'CLOSED' : result, onReply) : result;
  }

  /**
   * Answers requests of this type from now on. A handler that throws a CoterieError fails its request with that code; FRAME_INVALID (the
   * payload could not be decoded) closes the connection it came over. Anything else thrown is a bug and is not caught.
   */
  handle(type: number, handler: (request: IncomingRequest) => void): void {
    invariant(type >= FIRST_MESSAGE_TYPE && type <= 255, 'a message type is in range');
    this.#handlers[type] = handler;
  }

  /** Hears when a peer becomes connected or stops being so. */
  onPeerChange(callback: (status: PeerStatus) => void): void {
    this.#observers.push(callback);
  }

  /** Ends every connection and accepts no more; requests under way fail with CLOSED. */
  async close(): Promise<void> {
    this.#closed = true;
    const reason = new CoterieError('CLOSED', 'the node is stopping');
    for (const peer of this.#peers.values()) peer.stop(reason);
    this.#peers.clear();
    for (const responder of this.#responders) responder.fail(reason);
    this.#world.deadlines.close();
    await Promise.all([...this.#listeners].map((listener) => listener.close()));
    this.#listeners.clear();
  }

  /** An accepted link stands: it replaces an earlier one of the same peer, and shows that the peer is there, perhaps started anew. */
  #established(responder: Responder, theirs: Hello): void {
    const { peer, remote } = responder;
    const earlier = this.#responderOf.get(peer);
    this.#responderOf.set(peer, responder);
    earlier?.fail(new CoterieError('CLOSED', 'the peer has connected anew'));
    this.#world.log({ kind: 'connected', peer, direction: 'in', remote });
    this.#peers.get(peer)?.met(theirs);
  }

  /** An accepted link has ended. */
  #ended(responder: Responder, error: CoterieError): void {
    this.#responders.delete(responder);
    const { peer, remote } = responder;
    if (this.#responderOf.get(peer) === responder) this.#responderOf.delete(peer);
    const { code, message } = error;
    this.#world.log({ kind: 'disconnected', peer: peer === '' ? undefined : peer, direction: 'in', remote, code, message });
  }

  #accept(connection: Connection): ConnectionHandler {
    const responder = new Responder(this.#world, this.#world.deadlines, this.#owner);
    const link = new Link(connection, this.#world, responder);
    this.#responders.add(responder);
    if (this.#closed) link.fail(new CoterieError('CLOSED', 'the node is stopping'));
    else if (this.#responders.size > this.#world.limits.maxConnections) link.fail(new CoterieError('BUSY', 'too many connections'));
    return link;
  }

  #refused(peer: string, code: ErrorCode, onReply: (reply: Reply) => void): RequestHandle {
    if (code === 'BUSY') this.counters.requestsShed += 1;
    this.counters.requestsFailed += 1;
    const handle = new RefusedRequest();
    this.#world.clock.soon(() => {
      if (!handle.cancelled) onReply({ kind: 'failed', code, message: `${peer}: ${REFUSALS[code] ?? code}`, outcome: 'none' });
    });
    return handle;
  }
}

/** Why a request was not sent. */
const REFUSALS: { readonly [Code in ErrorCode]?: string } = {
  BUSY: 'too much is already under way to it',
  CLOSED: 'the node is stopping',
  FRAME_TOO_LARGE: 'the message is too large',
  PEER_UNREACHABLE: 'not connected',
};
