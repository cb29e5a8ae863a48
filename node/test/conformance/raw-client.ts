/** A plain TCP client of the Redis protocol: bytes out, whole replies in. */

import { connect, type Socket } from 'node:net';

import { replyEnd } from './reply-reader.ts';

/** What a closed connection answers. */
export const CLOSED = '(closed)';

export class RawClient {
  readonly #socket: Socket;
  #received: Buffer = Buffer.alloc(0);
  #closed = false;
  #wake: (() => void) | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#wake?.();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#closed = true;
      this.#wake?.();
    });
  }

  static async connect(port: number, host = '127.0.0.1'): Promise<RawClient> {
    const socket = connect({ port, host, noDelay: true });
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return new RawClient(socket);
  }

  send(bytes: Buffer): void {
    this.#socket.write(bytes);
  }

  /** The next reply as it is on the wire (latin1), or CLOSED. */
  async reply(): Promise<string> {
    for (;;) {
      const end = replyEnd(this.#received, 0);
      if (end !== undefined) {
        const text = this.#received.toString('latin1', 0, end);
        this.#received = this.#received.subarray(end);
        return text;
      }
      if (this.#closed) return CLOSED;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  close(): void {
    this.#socket.destroy();
  }
}
