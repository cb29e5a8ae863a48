/**
 * Simulated TCP: byte streams between hosts, with what TCP does and does not hide.
 *
 * Inside one connection bytes arrive once, in order, cut anywhere (connection-end.ts); a lost packet is a delay of everything behind it. What
 * programs see of a bad network is: delay, back-pressure (a window), connections that break with bytes in flight, connections that stay half
 * open, and different connections overtaking each other. Each direction of each pair of hosts can be blocked on its own.
 */

import { CoterieError } from '../../src/base/errors.ts';
import type { Address, Connection, ConnectionHandler, Listener, Network } from '../../src/env/network.ts';
import type { Dice } from './dice.ts';
import { End, type EndHost, type EndNetwork, type Link } from './connection-end.ts';
import { ProbeLedger } from './probe-ledger.ts';
import type { Process } from './process.ts';
import type { World } from './world.ts';

interface Host extends EndHost {
  readonly listeners: Map<number, { readonly process: Process; readonly accept: (connection: Connection) => ConnectionHandler }>;
}

export class SimNetwork implements EndNetwork {
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
