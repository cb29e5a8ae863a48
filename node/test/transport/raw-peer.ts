/** A peer made by hand: frames are built and read here without the code under test, and may be as wrong as a test likes. */

import { crc32 } from 'node:zlib';

import type { Address, Connection, Network } from '../../src/env/network.ts';
import { encodeHello, encodeWelcome } from '../../src/transport/handshake-codec.ts';
import type { Hello } from '../../src/transport/handshake.ts';
import { UNKNOWN } from './cluster.ts';

export interface RawFrame {
  type: number;
  flags?: number;
  id?: number;
  remainingMs?: number;
  epoch?: bigint;
  payload?: Uint8Array;
}

export const HELLO = 1;
export const WELCOME = 2;
export const ERROR = 3;
export const CANCEL = 4;
export const PING = 5;
export const PONG = 6;
export const MARK = 7;
export const REPLY_FLAG = 1;
export const MORE_FLAG = 2;
export const CONTINUED_FLAG = 4;

export function rawFrame({ type, flags = 0, id = 0, remainingMs = 0, epoch = 0n, payload = new Uint8Array(0) }: RawFrame): Buffer {
  const frame = Buffer.alloc(26 + payload.length);
  frame.writeUInt32BE(22 + payload.length, 0);
  frame.writeUInt8(type, 4);
  frame.writeUInt8(flags, 5);
  frame.writeUInt32BE(id, 6);
  frame.writeUInt32BE(remainingMs, 10);
  frame.writeBigUInt64BE(epoch, 14);
  frame.writeUInt32BE(crc32(payload, crc32(frame.subarray(0, 22))), 22);
  frame.set(payload, 26);
  return frame;
}

/** Cuts whole frames off the front of `bytes`; answers them and the rest. */
export function readRawFrames(bytes: Buffer): { frames: Required<RawFrame>[]; rest: Buffer } {
  const frames: Required<RawFrame>[] = [];
  let rest = bytes;
  while (rest.length >= 26 && rest.length >= 4 + rest.readUInt32BE(0)) {
    const size = 4 + rest.readUInt32BE(0);
    const payload = rest.subarray(26, size);
    if (rest.readUInt32BE(22) !== crc32(payload, crc32(rest.subarray(0, 22)))) throw new Error('a frame under test has a wrong checksum');
    frames.push({
      type: rest.readUInt8(4),
      flags: rest.readUInt8(5),
      id: rest.readUInt32BE(6),
      remainingMs: rest.readUInt32BE(10),
      epoch: rest.readBigUInt64BE(14),
      payload: Buffer.from(payload),
    });
    rest = rest.subarray(size);
  }
  return { frames, rest };
}

/** One end of a connection, in the test's hands. */
export class RawPeer {
  readonly frames: Required<RawFrame>[] = [];
  closed = false;
  connection: Connection | undefined;
  failure: Error | undefined;
  #bytes: Buffer = Buffer.alloc(0);

  /** Starts to connect; the connection stands once the network has had its turn. */
  static connect(network: Network, address: Address): RawPeer {
    const peer = new RawPeer();
    network.connect(
      address,
      1000,
      (connection) => peer.attach(connection),
      (error) => {
        peer.failure = error;
      },
    );
    return peer;
  }

  attach(connection: Connection): { onData(chunk: Uint8Array): void; onDrain(): void; onClose(): void } {
    this.connection = connection;
    return {
      onData: (chunk) => {
        const { frames, rest } = readRawFrames(Buffer.concat([this.#bytes, chunk]));
        this.#bytes = rest;
        this.frames.push(...frames);
      },
      onDrain: () => undefined,
      onClose: () => {
        this.closed = true;
      },
    };
  }

  send(...frames: RawFrame[]): void {
    this.sendBytes(Buffer.concat(frames.map(rawFrame)));
  }

  sendBytes(bytes: Uint8Array): void {
    this.connection?.write(bytes);
  }

  /** Both frames of a handshake that the other side accepts. */
  shakeHands(hello: Hello): void {
    this.send(
      { type: HELLO, payload: encodeHello(hello) },
      { type: WELCOME, payload: encodeWelcome({ protocol: 1, remembered: UNKNOWN }) },
    );
  }

  /** Frames of one type, so far. */
  of(type: number): Required<RawFrame>[] {
    return this.frames.filter((frame) => frame.type === type);
  }
}
