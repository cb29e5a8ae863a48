/**
 * One end of a simulated TCP connection: its window, what waits for it, what is on its way, and how it closes.
 *
 * Invariants: callbacks never run inside the call that causes them; a received chunk is overwritten when `onData` returns; a written one is
 * copied before `write` returns; nothing of a dead process is sent, and nothing is delivered to it.
 */

import { crc32 } from 'node:zlib';
import type { Connection, ConnectionHandler } from '../../src/env/network.ts';
import type { Dice } from './dice.ts';
import type { ProbeLedger } from './probe-ledger.ts';
import type { Process } from './process.ts';
import type { World } from './world.ts';

/** What one direction between two hosts is like. Times in microseconds. */
export interface Link {
  delayUs: number;
  jitterUs: number;
  /** Chance that a packet must be sent again, and how long that takes. */
  loss: number;
  retransmitUs: number;
  bytesPerSecond: number;
  blocked: boolean;
}

/** What a borrowed buffer is overwritten with when the borrower returns. */
export const POISON = 0xdb;

const WINDOW = 64 * 1024;
const HIGH_WATER = 64 * 1024;
const LOW_WATER = 16 * 1024;
const SEGMENT = 16 * 1024;
/** How long unacknowledged bytes may stall before the sender's side gives up, and how long an idle half-open connection lasts. */
const GIVE_UP_US: readonly [number, number] = [8_000_000, 20_000_000];

/** A host, as far as its connections know it. */
export interface EndHost {
  readonly name: string;
  /** A machine without power neither answers nor refuses. */
  on: boolean;
  readonly ends: Set<End>;
}

/** The network between the hosts. */
export interface EndNetwork {
  readonly world: World;
  readonly dice: Dice;
  readonly ledger: ProbeLedger;
  link(from: string, to: string): Link;
  /** How long `bytes` take from one host to another now. */
  travelUs(from: string, to: string, bytes: number): number;
}

interface Segment {
  readonly bytes: Uint8Array;
  /** A close travels in order behind the data: orderly, or a reset. */
  readonly close: 'no' | 'end' | 'reset';
}

/** One end of a connection. It sends into its peer's receive queue. */
export class End implements Connection {
  readonly remote: string;
  readonly process: Process;
  readonly peerHost: string;
  handler: ConnectionHandler | undefined;
  peer: End | undefined;
  readonly #net: EndNetwork;
  readonly #host: EndHost;
  #open = true;
  #reading = true;
  #ending = false;
  #wantsDrain = false;
  #closeTold = false;
  /** Written, not yet on its way: the window is full. */
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  /** On its way or received and not consumed. */
  #unread = 0;
  #lastArrivalUs = 0;
  /** Held back by a blocked link, in order. */
  #stalled: Segment[] = [];
  /** Bytes sent before an orderly end were lost: the end must not look orderly. */
  #lost = false;
  #unacknowledged = false;
  #giveUpSet = false;
  /** Arrived here, not consumed. */
  #received: Segment[] = [];
  #delivering = false;

  constructor(net: EndNetwork, process: Process, host: EndHost, peerHost: string) {
    this.#net = net;
    this.process = process;
    this.#host = host;
    this.peerHost = peerHost;
    this.remote = peerHost;
    host.ends.add(this);
  }

  join(peer: End): void {
    this.peer = peer;
    peer.peer = this;
  }

  get buffered(): number {
    return this.#waitingBytes;
  }

  write(chunk: Uint8Array): boolean {
    this.process.check();
    if (!this.#open || this.#ending) return false;
    this.#net.ledger.wrote(this.#host.name, this.peerHost, chunk);
    this.#waiting.push(Uint8Array.from(chunk));
    this.#waitingBytes += chunk.length;
    this.#pump();
    if (this.#waitingBytes <= HIGH_WATER) return true;
    this.#wantsDrain = true;
    return false;
  }

  pause(): void {
    this.process.check();
    this.#reading = false;
  }

  resume(): void {
    this.process.check();
    if (this.#reading) return;
    this.#reading = true;
    this.deliver();
  }

  end(): void {
    this.process.check();
    if (!this.#open || this.#ending) return;
    this.#ending = true;
    this.#pump();
  }

  destroy(): void {
    this.process.check();
    if (!this.#open) return;
    this.sendReset(0);
    this.break(undefined);
  }

  /** The connection is gone at this end; `onClose` follows in a turn of its own. */
  break(why: string | undefined): void {
    if (!this.#open) return;
    this.#open = false;
    this.#host.ends.delete(this);
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#stalled = [];
    this.#received = [];
    this.#net.world.schedule(0, this.process, () => {
      this.#tellClose(why);
    });
  }

  /** The process died: no callback, no bytes. */
  forget(): void {
    this.#open = false;
    this.#host.ends.delete(this);
    this.#waiting = [];
    this.#stalled = [];
    this.#received = [];
  }

  sendReset(extraUs: number): void {
    this.#send({ bytes: new Uint8Array(0), close: 'reset' }, extraUs);
  }

  /** An idle connection to a machine without power is found dead by keep-alive. */
  giveUpLater(): void {
    if (this.#giveUpSet || !this.#open) return;
    this.#giveUpSet = true;
    this.#net.world.schedule(this.#net.dice.between(...GIVE_UP_US), undefined, () => {
      this.#giveUpSet = false;
      if (this.#stalled.length > 0 || this.peer === undefined || !this.peer.#open) this.break('timed out');
    });
  }

  flushStalled(): void {
    const stalled = this.#stalled;
    if (stalled.length === 0) return;
    this.#stalled = [];
    // The sender's retransmission timer has backed off.
    const wait = this.#net.dice.between(0, 1_000_000);
    for (const segment of stalled) this.#launch(segment, wait);
  }

  #pump(): void {
    while (this.#waiting.length > 0 && this.#unread < WINDOW) {
      const chunk = this.#waiting[0];
      if (chunk === undefined) break;
      let piece = chunk;
      if (chunk.length > SEGMENT) {
        piece = chunk.subarray(0, SEGMENT);
        this.#waiting[0] = chunk.subarray(SEGMENT);
      } else {
        this.#waiting.shift();
      }
      this.#waitingBytes -= piece.length;
      this.#unread += piece.length;
      // TCP keeps no boundaries: cut one in eight anywhere.
      if (piece.length > 1 && this.#net.dice.chance(0.125)) {
        const cut = this.#net.dice.between(1, piece.length - 1);
        this.#send({ bytes: piece.slice(0, cut), close: 'no' }, 0);
        piece = piece.slice(cut);
      }
      this.#send({ bytes: piece, close: 'no' }, 0);
    }
    if (this.#ending && this.#waiting.length === 0) {
      this.#send({ bytes: new Uint8Array(0), close: 'end' }, 0);
      this.break(undefined);
    }
  }

  #send(segment: Segment, extraUs: number): void {
    if (this.#stalled.length > 0) this.#stalled.push(segment);
    else this.#launch(segment, extraUs);
  }

  #launch(segment: Segment, extraUs: number): void {
    const { world } = this.#net;
    const peer = this.peer;
    if (peer === undefined) return;
    const travel = this.#net.travelUs(this.#host.name, this.peerHost, segment.bytes.length) + extraUs;
    // In order: never before what was sent earlier.
    this.#lastArrivalUs = Math.max(this.#lastArrivalUs, world.nowUs + travel);
    world.schedule(this.#lastArrivalUs - world.nowUs, undefined, () => {
      this.#arrive(segment, peer);
    });
  }

  #arrive(segment: Segment, peer: End): void {
    const net = this.#net;
    const blocked = net.link(this.#host.name, this.peerHost).blocked || !peer.#host.on;
    if (blocked || this.#stalled.length > 0) {
      // A closed end that waits for nothing does not retransmit for ever.
      if (!this.#open && segment.close === 'no') {
        this.#lost = true;
        return;
      }
      this.#stalled.push(segment);
      this.giveUpLater();
      if (!this.#open && this.#stalled.length === 1) this.#retryReset(peer);
      return;
    }
    if (!peer.#open) {
      // Data to a connection that is gone is answered with a reset.
      if (segment.close === 'no' && this.#open) {
        net.world.schedule(net.travelUs(this.peerHost, this.#host.name, 0), undefined, () => {
          if (!net.link(this.peerHost, this.#host.name).blocked) this.break('connection reset');
          else this.giveUpLater();
        });
      }
      return;
    }
    if (!this.#lost) peer.#received.push(segment);
    else peer.#received.push({ bytes: new Uint8Array(0), close: 'reset' });
    peer.deliver();
    if (net.link(this.peerHost, this.#host.name).blocked) this.#missAcknowledgement();
  }

  /** Data arrive and their acknowledgements do not: in the end this side gives up. */
  #missAcknowledgement(): void {
    if (this.#unacknowledged || !this.#open) return;
    this.#unacknowledged = true;
    this.#net.world.schedule(this.#net.dice.between(...GIVE_UP_US), undefined, () => {
      this.#unacknowledged = false;
      if (this.#net.link(this.peerHost, this.#host.name).blocked) this.break('timed out');
    });
  }

  /** A reset that met a blocked link: it gets through when the link opens, or the other side gives up by itself. */
  #retryReset(peer: End): void {
    peer.giveUpLater();
    this.#net.world.schedule(this.#net.dice.between(...GIVE_UP_US), undefined, () => {
      peer.break('timed out');
    });
  }

  /** Hands on what has arrived, one segment a turn of the receiving process. */
  deliver(): void {
    if (this.#delivering || this.#received.length === 0 || this.handler === undefined) return;
    this.#delivering = true;
    this.#net.world.schedule(0, this.process, () => {
      this.#delivering = false;
      this.#deliverOne();
    });
  }

  #deliverOne(): void {
    if (!this.#open || !this.#reading) return;
    const segment = this.#received.shift();
    if (segment === undefined) return;
    if (segment.close !== 'no') {
      this.#open = false;
      this.#host.ends.delete(this);
      this.#tellClose(segment.close === 'reset' ? 'connection reset' : undefined);
      return;
    }
    const { bytes } = segment;
    this.#net.world.trace.note(this.process.name, `receive from ${this.remote}`, bytes.length * 0x1_0000_0000 + crc32(bytes));
    this.#net.ledger.received(this.#host.name, this.peerHost, this, bytes);
    this.handler?.onData(bytes);
    bytes.fill(POISON);
    this.peer?.consumed(bytes.length);
    this.deliver();
  }

  /** The peer has consumed bytes: the window opens, a little later when something waits for it. */
  consumed(bytes: number): void {
    this.#unread -= bytes;
    if (this.#waiting.length === 0 && !this.#wantsDrain) return;
    this.#net.world.schedule(this.#net.travelUs(this.peerHost, this.#host.name, 0), this.process, () => {
      if (!this.#open) return;
      this.#pump();
      if (this.#wantsDrain && this.#waitingBytes <= LOW_WATER) {
        this.#wantsDrain = false;
        this.handler?.onDrain();
      }
    });
  }

  #tellClose(why: string | undefined): void {
    if (this.#closeTold) return;
    this.#closeTold = true;
    this.#net.world.trace.note(this.process.name, `closed with ${this.remote}`, why ?? '');
    this.handler?.onClose(why === undefined ? undefined : new Error(why));
  }
}
