/**
 * TCP. All sockets read into one buffer, because what comes is lent only until `onData` returns: a read takes no memory of its own and passes
 * through no stream, which is a fifth of what a small request costs. What is written is copied at once, because the caller's bytes are
 * borrowed: small chunks into Node's buffer pool, large ones into buffers from a bounded free list, so that no flush allocates a large buffer
 * of its own. The system is tried at once; what it does not take waits in the socket, in order.
 */

import * as net from 'node:net';

import { CoterieError } from '../base/errors.ts';
import type { Address, Connection, ConnectionHandler, Listener, Network } from '../env/network.ts';
import { FreeList } from './free-list.ts';
import { systemCode } from './file-errors.ts';

/** Below it a chunk is copied into Node's pool. */
const SMALL_BYTES = 8 * 1024;
/** `write` answers false above it. */
const HIGH_WATER_BYTES = 256 * 1024;
/** Half a minute of silence, then the system probes whether the other end still lives. */
const KEEP_ALIVE_MS = 30_000;

/** What a socket reads at most at once. */
const READ_BYTES = 64 * 1024;
/** Of all sockets: each fills it and has it emptied within one callback. */
const READ_BUFFER = Buffer.allocUnsafeSlow(READ_BYTES);

/** Where one socket's bytes go. */
class Reader {
  onData: ((chunk: Uint8Array) => void) | undefined;
  readonly options: net.OnReadOpts = {
    buffer: READ_BUFFER,
    callback: (length) => {
      this.onData?.(READ_BUFFER.subarray(0, length));
      return true;
    },
  };
}

/** A socket that reads where it is told to, on the handle of an accepted one, which Node makes without asking. */
function socketOf(accepted: net.Socket, reader: Reader): net.Socket {
  const { _handle: handle } = accepted as unknown as { readonly _handle: unknown };
  const options = { handle, onread: reader.options, highWaterMark: HIGH_WATER_BYTES };
  return new net.Socket(options as net.SocketConstructorOpts);
}

class TcpConnection implements Connection {
  readonly remote: string;
  readonly #socket: net.Socket;
  readonly #free: FreeList;
  #closed = false;

  constructor(socket: net.Socket, free: FreeList) {
    this.#socket = socket;
    this.#free = free;
    this.remote = `${socket.remoteAddress ?? 'unknown'}:${String(socket.remotePort ?? 0)}`;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
  }

  attach(handler: ConnectionHandler, reader: Reader): void {
    let failure: Error | undefined;
    reader.onData = (chunk) => {
      if (!this.#closed) handler.onData(chunk);
    };
    this.#socket.on('drain', () => {
      handler.onDrain();
    });
    this.#socket.on('error', (error) => {
      failure = error;
    });
    this.#socket.on('close', () => {
      this.#closed = true;
      handler.onClose(failure);
    });
  }

  get buffered(): number {
    return this.#socket.writableLength;
  }

  write(chunk: Uint8Array): boolean {
    const socket = this.#socket;
    if (this.#closed || !socket.writable) return false;
    const length = chunk.length;
    if (length < SMALL_BYTES) {
      const copy = Buffer.allocUnsafe(length);
      copy.set(chunk);
      return socket.write(copy);
    }
    const buffer = this.#free.take(length);
    buffer.set(chunk);
    return socket.write(buffer.subarray(0, length), () => {
      this.#free.give(buffer);
    });
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#closed = true;
    this.#socket.destroy();
  }
}

export class NodeNetwork implements Network {
  readonly #free = new FreeList();

  listen(address: Address, accept: (connection: Connection) => ConnectionHandler): Promise<Listener> {
    const server = net.createServer({ pauseOnConnect: true }, (accepted) => {
      const reader = new Reader();
      const socket = socketOf(accepted, reader);
      const connection = new TcpConnection(socket, this.#free);
      connection.attach(accept(connection), reader);
      socket.resume();
    });
    return new Promise((resolve, reject) => {
      const refuse = (error: Error): void => {
        reject(listenError(error, address));
      };
      server.once('error', refuse);
      server.listen({ host: address.host, port: address.port, exclusive: true }, () => {
        server.off('error', refuse);
        // Later errors concern one connection that could not be accepted (too many open files); the listener itself goes on.
        server.on('error', () => undefined);
        resolve({ address: boundAddress(server, address), close: () => closeServer(server) });
      });
    });
  }

  connect(
    address: Address,
    timeoutMs: number,
    opened: (connection: Connection) => ConnectionHandler,
    failed: (error: Error) => void,
  ): void {
    const reader = new Reader();
    const options = { highWaterMark: HIGH_WATER_BYTES, onread: reader.options };
    const socket = new net.Socket(options);
    let failure: Error | undefined;
    const timer = setTimeout(() => {
      failure = new Error(`no connection within ${String(timeoutMs)} ms`);
      socket.destroy();
    }, timeoutMs);
    const onError = (error: Error): void => {
      failure ??= error;
    };
    const onClose = (): void => {
      clearTimeout(timer);
      failed(failure ?? new Error('closed before it stood'));
    };
    socket.on('error', onError);
    socket.on('close', onClose);
    socket.connect(address.port, address.host, () => {
      clearTimeout(timer);
      socket.off('error', onError);
      socket.off('close', onClose);
      const connection = new TcpConnection(socket, this.#free);
      connection.attach(opened(connection), reader);
    });
  }
}

function listenError(error: Error, address: Address): CoterieError {
  const where = `${address.host}:${String(address.port)}`;
  if (systemCode(error) === 'EADDRINUSE') return new CoterieError('PORT_IN_USE', `${where} is in use`, { cause: error });
  return new CoterieError('SETTING_INVALID', `cannot listen on ${where}: ${systemCode(error)}`, { cause: error });
}

function boundAddress(server: net.Server, asked: Address): Address {
  const bound = server.address();
  return typeof bound === 'object' && bound !== null ? { host: bound.address, port: bound.port } : asked;
}

function closeServer(server: net.Server): Promise<void> {
  return new Promise((resolve) => {
    // It answers only once every connection has ended too; the port is free before that.
    server.close();
    resolve();
  });
}
