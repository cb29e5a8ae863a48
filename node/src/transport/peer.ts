/**
 * Keeps one connection to one peer: opens it, opens it again with growing delays when it is lost, and says how it stands.
 *
 * The delay doubles with each failure, and each is cut by up to half at random, so that the nodes of a cluster do not all knock at a
 * returning one together. A peer that has itself just connected is plainly there: it is tried at once.
 */

import { CoterieError, type ErrorCode } from '../base/errors.ts';
import type { Timer } from '../env/clock.ts';
import type { Address, Connection, ConnectionHandler, Network } from '../env/network.ts';
import type { Random } from '../env/random.ts';
import type { Deadlines } from './deadlines.ts';
import type { Hello } from './handshake.ts';
import { Link } from './link.ts';
import type { PeerState, PeerStatus, TransportEvent } from './peer-status.ts';
import { Requester, type RequesterOwner, type RequesterWorld } from './requester.ts';
import type { Reply, RequestHandle } from './request.ts';

/** What all peers of a transport share. */
export interface PeerWorld extends RequesterWorld {
  readonly network: Network;
  readonly random: Random;
  readonly deadlines: Deadlines;
  readonly log: (event: TransportEvent) => void;
  /** The peer became connected, or stopped being so. */
  readonly changed: (peer: Peer) => void;
}

/** For a connection that came too late to be wanted. */
const DEAF: ConnectionHandler = {
  onData: () => undefined,
  onDrain: () => undefined,
  onClose: () => undefined,
};

const MAX_DOUBLINGS = 16;
const TWO_32 = 0x1_0000_0000;

export class Peer implements RequesterOwner {
  readonly name: string;
  readonly address: Address;
  readonly #world: PeerWorld;
  #state: PeerState = 'waiting';
  #requester: Requester | undefined;
  #remote = '';
  #hello: Hello | undefined;
  #failure: { readonly code: ErrorCode; readonly message: string } | undefined;
  /** Failures since a connection last lasted. */
  #failures = 0;
  #connectedMs = 0;
  /** Number of the current attempt: what an earlier one still reports is not heard. */
  #attempt = 0;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(name: string, address: Address, world: PeerWorld) {
    this.name = name;
    this.address = address;
    this.#world = world;
  }

  get connected(): boolean {
    return this.#state === 'connected';
  }

  /** See Requester.heardMs; -Infinity without a connection. */
  get heardMs(): number {
    return this.connected ? (this.#requester?.heardMs ?? -Infinity) : -Infinity;
  }

  /** See Requester.unseenMs; Infinity without a connection. */
  unseenMs(nowMs: number): number {
    return this.connected ? (this.#requester?.unseenMs(nowMs) ?? Infinity) : Infinity;
  }

  /** See Requester.waitedMs; 0 without a connection. */
  waitedMs(nowMs: number): number {
    return this.connected ? (this.#requester?.waitedMs(nowMs) ?? 0) : 0;
  }

  get status(): PeerStatus {
    return {
      name: this.name,
      address: this.address,
      state: this.#state,
      hello: this.#hello,
      failure: this.#failure,
      requests: this.#requester?.size ?? 0,
      queuedBytes: this.#requester?.queuedBytes ?? 0,
    };
  }

  /** Opens the connection, unless it stands or is being opened. */
  open(): void {
    if (this.#stopped || this.#state !== 'waiting') return;
    this.#timer?.cancel();
    this.#state = 'connecting';
    this.#attempt += 1;
    const attempt = this.#attempt;
    this.#world.network.connect(
      this.address,
      this.#world.limits.connectTimeoutMs,
      (connection) => this.#opened(connection, attempt),
      (error) => {
        if (attempt === this.#attempt && this.#state === 'connecting') {
          this.closed(new CoterieError('PEER_UNREACHABLE', 'no connection', { cause: error }));
        }
      },
    );
  }

  /** The peer has connected by itself: it is there. If it has started anew, a connection to what it was before is half open, and of no use. */
  met(theirs: Hello): void {
    if (this.#state === 'connected' && this.#hello?.boot !== theirs.boot) {
      this.#requester?.fail(new CoterieError('PEER_UNREACHABLE', 'the peer has started anew'));
    }
    this.open();
  }

  /** Ends the connection for good. */
  stop(reason: CoterieError): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#attempt += 1;
    this.#requester?.fail(reason);
    this.#state = 'waiting';
  }

  /** Sends a request, or answers why it cannot be sent. */
  request(
    type: number,
    payload: Uint8Array,
    deadlineMs: number,
    epoch: number,
    onReply: (reply: Reply) => void,
  ): RequestHandle | ErrorCode {
    return this.#requester?.request(type, payload, deadlineMs, epoch, onReply) ?? 'PEER_UNREACHABLE';
  }

  established(theirs: Hello): void {
    this.#state = 'connected';
    this.#hello = theirs;
    this.#failure = undefined;
    this.#connectedMs = this.#world.clock.monotonicMs();
    this.#world.log({ kind: 'connected', peer: this.name, direction: 'out', remote: this.#remote });
    this.#world.changed(this);
  }

  /** The attempt failed, or the link has ended. */
  closed(error: CoterieError): void {
    const was = this.#state;
    const { clock, limits, log } = this.#world;
    this.#state = 'waiting';
    this.#requester = undefined;
    this.#failure = { code: error.code, message: error.message };
    if (was === 'connected') {
      log({ kind: 'disconnected', peer: this.name, direction: 'out', remote: this.#remote, code: error.code, message: error.message });
      if (clock.monotonicMs() - this.#connectedMs >= limits.reconnectLastMs) this.#failures = 0;
    } else if (this.#failures === 0) {
      log({ kind: 'unreachable', peer: this.name, message: error.message });
    }
    if (!this.#stopped) this.#openLater();
    if (was === 'connected') this.#world.changed(this);
  }

  #opened(connection: Connection, attempt: number): ConnectionHandler {
    if (attempt !== this.#attempt || this.#state !== 'connecting') {
      connection.destroy();
      return DEAF;
    }
    this.#state = 'handshaking';
    this.#remote = connection.remote;
    const requester = new Requester(this.name, this.#world, this.#world.deadlines, this);
    this.#requester = requester;
    return new Link(connection, this.#world, requester);
  }

  #openLater(): void {
    const { clock, limits, random } = this.#world;
    const longest = Math.min(limits.reconnectLastMs, limits.reconnectFirstMs * 2 ** Math.min(this.#failures, MAX_DOUBLINGS));
    this.#failures += 1;
    this.#timer = clock.after((longest * (1 + random.u32() / TWO_32)) / 2, () => {
      this.open();
    });
  }
}
