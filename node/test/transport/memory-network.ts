/** Byte streams within one process: chunks arrive in the next turn, cut as the test likes, and are overwritten when the borrow ends. */

import { CoterieError } from '../../src/base/errors.ts';
import type { Clock } from '../../src/env/clock.ts';
import type { Address, Connection, ConnectionHandler, Listener, Network } from '../../src/env/network.ts';

const HIGH_WATER_BYTES = 256 * 1024;

export class MemoryConnection implements Connection {
  readonly remote: string;
  readonly #clock: Clock;
  readonly #cut: (bytes: number) => number;
  readonly #waiting: Uint8Array[] = [];
  #buffered = 0;
  #full = false;
  #delivering = false;
  other: MemoryConnection | undefined;
  handler: ConnectionHandler | undefined;
  paused = false;
  open = true;
  ending = false;

  constructor(remote: string, clock: Clock, cut: (bytes: number) => number) {
    this.remote = remote;
    this.#clock = clock;
    this.#cut = cut;
  }

  get buffered(): number {
    return this.#buffered;
  }

  write(chunk: Uint8Array): boolean {
    if (!this.open || this.ending) return false;
    this.#waiting.push(new Uint8Array(chunk));
    this.#buffered += chunk.length;
    this.#full = this.#buffered >= HIGH_WATER_BYTES;
    this.deliverSoon();
    return !this.#full;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    this.other?.deliverSoon();
  }

  end(): void {
    this.ending = true;
    this.deliverSoon();
  }

  destroy(): void {
    if (!this.open) return;
    this.open = false;
    this.#clock.soon(() => this.handler?.onClose());
    const { other } = this;
    this.#clock.soon(() => {
      if (other?.open !== true) return;
      other.open = false;
      other.handler?.onClose();
    });
  }

  deliverSoon(): void {
    if (this.#delivering) return;
    this.#delivering = true;
    this.#clock.soon(() => {
      this.#delivering = false;
      this.#deliver();
    });
  }

  /** Hands what was written to the other end, as long as it reads. */
  #deliver(): void {
    const { other } = this;
    while (other?.open === true && !other.paused && this.open) {
      const bytes = this.#waiting.shift();
      if (bytes === undefined) break;
      const size = Math.max(1, Math.min(bytes.length, this.#cut(bytes.length)));
      const piece = bytes.slice(0, size);
      if (size < bytes.length) this.#waiting.unshift(bytes.subarray(size));
      this.#buffered -= size;
      other.handler?.onData(piece);
      piece.fill(0xdb);
    }
    if (this.#full && this.#buffered < HIGH_WATER_BYTES / 4 && this.open) {
      this.#full = false;
      this.handler?.onDrain();
    }
    if (this.ending && this.#waiting.length === 0) this.destroy();
  }
}

export class MemoryNetwork implements Network {
  readonly #clock: Clock;
  readonly #cut: (bytes: number) => number;
  readonly #listeners = new Map<number, (connection: Connection) => ConnectionHandler>();
  #nextPort = 1;
  /** Both ends of every connection ever made; the side that opened it first. */
  readonly connections: (readonly [MemoryConnection, MemoryConnection])[] = [];
  /** Ports at which nobody answers, neither yes nor no. */
  readonly silent = new Set<number>();

  /** @param cut how many of so many bytes arrive in one piece */
  constructor(clock: Clock, cut: (bytes: number) => number = (bytes) => bytes) {
    this.#clock = clock;
    this.#cut = cut;
  }

  listen(address: Address, accept: (connection: Connection) => ConnectionHandler): Promise<Listener> {
    const port = address.port === 0 ? this.#nextPort++ : address.port;
    if (this.#listeners.has(port)) return Promise.reject(new CoterieError('PORT_IN_USE', `${String(port)} is in use`));
    this.#listeners.set(port, accept);
    return Promise.resolve({
      address: { host: address.host, port },
      close: () => {
        this.#listeners.delete(port);
        return Promise.resolve();
      },
    });
  }

  connect(
    address: Address,
    timeoutMs: number,
    opened: (connection: Connection) => ConnectionHandler,
    failed: (error: Error) => void,
  ): void {
    if (this.silent.has(address.port)) {
      this.#clock.after(timeoutMs, () => {
        failed(new Error('timed out'));
      });
      return;
    }
    this.#clock.soon(() => {
      const accept = this.#listeners.get(address.port);
      if (accept === undefined) {
        failed(new Error('refused'));
        return;
      }
      const near = new MemoryConnection(`memory:${String(address.port)}`, this.#clock, this.#cut);
      const far = new MemoryConnection('memory:client', this.#clock, this.#cut);
      near.other = far;
      far.other = near;
      this.connections.push([near, far]);
      far.handler = accept(far);
      near.handler = opened(near);
    });
  }
}
