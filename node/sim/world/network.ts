/**
 * Simulated TCP: byte streams between hosts, with what TCP does and does not hide.
 *
 * Inside one connection bytes arrive once, in order, cut anywhere; a lost packet is a delay of everything behind it. What programs see of
 * a bad network is: delay, back-pressure (a window), connections that break with bytes in flight, connections that stay half open, and
 * different connections overtaking each other. Each direction of each pair of hosts can be blocked on its own.
 *
 * Invariants: callbacks never run inside the call that causes them; a received chunk is overwritten when `onData` returns; a written one is
 * copied before `write` returns; nothing of a dead process is sent, and nothing is delivered to it.
 */

import { crc32 } from 'node:zlib';
import { CoterieError } from '../../src/base/errors.ts';
import type { Address, Connection, ConnectionHandler, Listener, Network } from '../../src/env/network.ts';
import type { Dice } from './dice.ts';
import { ProbeLedger } from './probe-ledger.ts';
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

interface Host {
  readonly name: string;
  /** A machine without power neither answers nor refuses. */
  on: boolean;
  readonly listeners: Map<number, { readonly process: Process; readonly accept: (connection: Connection) => ConnectionHandler }>;
  readonly ends: Set<End>;
}

export class SimNetwork {
  readonly world: World;
  readonly dice: Dice;
  /** Who probed whom. */
  readonly ledger: ProbeLedger;
  readonly #hosts = new Map<string, Host>();
  readonly #links = new Map<string, Link>();

  constructor(world: World) {
    this.world = world;
    this.dice = world.dice.fork();
    this.ledger = new ProbeLedger(() => world.nowUs);
  }

  addHost(name: string): void {
    this.#hosts.set(name, { name, on: true, listeners: new Map(), ends: new Set() });
  }

  setLink(from: string, to: string, link: Link): void {
    this.#links.set(`${from}>${to}`, link);
  }

  link(from: string, to: string): Link {
    const link = this.#links.get(`${from}>${to}`);
    if (link === undefined) throw new Error(`no link from ${from} to ${to}`);
    return link;
  }

  host(name: string): Host {
    const host = this.#hosts.get(name);
    if (host === undefined) throw new Error(`no host ${name}`);
    return host;
  }

  /** The network as one incarnation on a host sees it. */
  for(process: Process, hostName: string): Network {
    const host = this.host(hostName);
    return {
      listen: (address, accept) => this.#listen(process, host, address, accept),
      connect: (address, timeoutMs, opened, failed) => {
        this.#connect(process, host, address, timeoutMs, opened, failed);
      },
    };
  }

  /**
   * The death of an incarnation. A killed process's kernel resets its connections; a machine that lost power says nothing: the other sides
   * find out by themselves.
   */
  died(process: Process, hostName: string, power: boolean): void {
    const host = this.host(hostName);
    this.ledger.died(hostName);
    if (power) host.on = false;
    for (const [port, listener] of host.listeners) if (listener.process === process) host.listeners.delete(port);
    for (const end of [...host.ends]) {
      if (end.process !== process) continue;
      end.forget();
      if (!power) end.sendReset(0);
      else end.peer?.giveUpLater();
    }
  }

  powerOn(hostName: string): void {
    this.host(hostName).on = true;
  }

  block(from: string, to: string): void {
    this.link(from, to).blocked = true;
    this.world.trace.note('net', 'block', `${from}>${to}`);
  }

  unblock(from: string, to: string): void {
    const link = this.link(from, to);
    if (!link.blocked) return;
    link.blocked = false;
    this.world.trace.note('net', 'unblock', `${from}>${to}`);
    for (const end of this.host(from).ends) if (end.peerHost === to) end.flushStalled();
  }

  /** Breaks every connection between two hosts; what was on its way is lost. Answers how many. */
  reset(a: string, b: string): number {
    let broken = 0;
    for (const end of [...this.host(a).ends]) {
      if (end.peerHost !== b) continue;
      const peer = end.peer;
      end.break('connection reset');
      peer?.break('connection reset');
      broken += 1;
    }
    return broken;
  }

  /** Bytes that the fullest connection of a host holds for its peer's window. */
  mostBuffered(host: string): number {
    return Math.max(0, ...[...this.host(host).ends].map((end) => end.buffered));
  }

  #listen(process: Process, host: Host, address: Address, accept: (connection: Connection) => ConnectionHandler): Promise<Listener> {
    process.check();
    const port = address.port === 0 ? 30_000 + host.listeners.size : address.port;
    if (host.listeners.has(port)) return Promise.reject(new CoterieError('PORT_IN_USE', `port ${String(port)} is in use`));
    host.listeners.set(port, { process, accept });
    return Promise.resolve({
      address: { host: host.name, port },
      close: (): Promise<void> => {
        process.check();
        host.listeners.delete(port);
        return Promise.resolve();
      },
    });
  }

  #connect(
    process: Process,
    from: Host,
    address: Address,
    timeoutMs: number,
    opened: (connection: Connection) => ConnectionHandler,
    failed: (error: Error) => void,
  ): void {
    process.check();
    this.ledger.connects(from.name, address.host);
    const { world } = this;
    let settled = false;
    const fail = (why: string): void => {
      if (settled) return;
      settled = true;
      timer.cancel();
      this.ledger.connectFailed(from.name, address.host);
      failed(new Error(`connect ${address.host}:${String(address.port)}: ${why}`));
    };
    const timer = process.after(timeoutMs, () => {
      fail('timed out');
    });
    const there = this.travelUs(from.name, address.host, 0);
    const back = this.travelUs(address.host, from.name, 0);
    world.schedule(there, undefined, () => {
      if (settled || !process.alive) return;
      const host = this.#hosts.get(address.host);
      if (host?.on !== true || this.link(from.name, address.host).blocked || this.link(address.host, from.name).blocked) return;
      const listener = host.listeners.get(address.port);
      if (listener === undefined) {
        world.schedule(back, process, () => {
          fail('refused');
        });
        return;
      }
      world.schedule(0, listener.process, () => {
        if (settled || !process.alive) return;
        const server = new End(this, listener.process, host, from.name);
        const client = new End(this, process, from, host.name);
        server.join(client);
        server.handler = listener.accept(server);
        world.schedule(back, process, () => {
          if (settled) {
            client.destroy();
            return;
          }
          settled = true;
          timer.cancel();
          client.handler = opened(client);
          client.deliver();
        });
      });
    });
  }

  /** How long `bytes` take from one host to another now. */
  travelUs(from: string, to: string, bytes: number): number {
    const link = this.link(from, to);
    const third = this.dice.fraction();
    let us = link.delayUs + link.jitterUs * third * third * third + (bytes * 1e6) / link.bytesPerSecond;
    if (link.loss > 0 && this.dice.chance(link.loss)) us += link.retransmitUs;
    return Math.floor(us);
  }
}

interface Segment {
  readonly bytes: Uint8Array;
  /** A close travels in order behind the data: orderly, or a reset. */
  readonly close: 'no' | 'end' | 'reset';
}

/** One end of a connection. It sends into its peer's receive queue. */
class End implements Connection {
  readonly remote: string;
  readonly process: Process;
  readonly peerHost: string;
  handler: ConnectionHandler | undefined;
  peer: End | undefined;
  readonly #net: SimNetwork;
  readonly #host: Host;
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

  constructor(net: SimNetwork, process: Process, host: Host, peerHost: string) {
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
