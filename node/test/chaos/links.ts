/**
 * The connections between nodes, each through a TCP proxy of this process, so that any direction between two nodes can be slowed down or cut.
 *
 * A cut is silent, as on a network that loses every packet: connections stay open and nothing comes through; what was under way comes when the
 * link is healed. New connections are taken and stay without an answer.
 */

import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

const HOST = '127.0.0.1';

/** One direction's pump: what `from` sends arrives at `to`, late or not at all. */
class Pump {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #link: Link;
  /** Bytes on their way through a slow link. */
  #underWay = 0;

  constructor(link: Link, from: Socket, to: Socket) {
    this.#link = link;
    this.#from = from;
    this.#to = to;
    from.on('data', (chunk: Buffer) => this.#forward(chunk));
    from.on('error', () => undefined);
    from.on('close', () => this.#later(() => to.destroy()));
    to.on('drain', () => this.adjust());
  }

  /** Lets bytes in, or not. */
  adjust(): void {
    if (this.#link.isCut || this.#underWay > 1024 * 1024 || this.#to.writableNeedDrain) this.#from.pause();
    else this.#from.resume();
  }

  #forward(chunk: Buffer): void {
    this.#underWay += chunk.length;
    this.#later(() => {
      this.#underWay -= chunk.length;
      if (!this.#to.destroyed) this.#to.write(chunk);
      this.adjust();
    });
    this.adjust();
  }

  #later(then: () => void): void {
    if (this.#link.delayMs === 0) then();
    else setTimeout(then, this.#link.delayMs);
  }
}

/** The way from one node to another: where the first dials to reach the second. */
export class Link {
  /** Added in each direction of its connections. */
  readonly delayMs: number;
  /** The port of the node that it leads to; 0 until that is known. */
  #target = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #pumps = new Set<Pump>();
  /** Connections taken and not passed on yet. */
  #held: Socket[] = [];
  #cut = false;

  private constructor(server: Server, delayMs: number) {
    this.#server = server;
    this.delayMs = delayMs;
    server.on('connection', (socket) => this.#taken(socket));
  }

  static async open(delayMs: number): Promise<Link> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen({ host: HOST, port: 0 }, resolve));
    return new Link(server, delayMs);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get isCut(): boolean {
    return this.#cut;
  }

  leadTo(port: number): void {
    this.#target = port;
    this.#release();
  }

  cut(): void {
    this.#cut = true;
    for (const pump of this.#pumps) pump.adjust();
  }

  heal(): void {
    this.#cut = false;
    for (const pump of this.#pumps) pump.adjust();
    this.#release();
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #taken(socket: Socket): void {
    this.#know(socket);
    this.#held.push(socket);
    this.#release();
  }

  #release(): void {
    if (this.#cut || this.#target === 0) return;
    const held = this.#held;
    this.#held = [];
    for (const socket of held) if (!socket.destroyed) this.#pass(socket);
  }

  #pass(near: Socket): void {
    const far = connect({ host: HOST, port: this.#target });
    this.#know(far);
    const pumps = [new Pump(this, near, far), new Pump(this, far, near)];
    for (const pump of pumps) this.#pumps.add(pump);
    far.on('close', () => {
      for (const pump of pumps) this.#pumps.delete(pump);
    });
  }

  #know(socket: Socket): void {
    socket.setNoDelay(true);
    socket.on('error', () => undefined);
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
  }
}
