/**
 * Wrong input for the peer protocol, from a seed. Half of the mutations repair the checksum afterwards, so that what lies behind it is
 * reached too.
 */

import { encodeFailure, encodeHello, encodeWelcome } from '../../src/transport/handshake-codec.ts';
import { hello, type SeededRandom, UNKNOWN } from '../transport/cluster.ts';
import {
  CANCEL,
  CONTINUED_FLAG,
  ERROR,
  HELLO,
  MARK,
  MORE_FLAG,
  PING,
  PONG,
  type RawFrame,
  rawFrame,
  REPLY_FLAG,
  WELCOME,
} from '../transport/raw-peer.ts';

/** What the stream under attack is in the middle of. */
export type Stage = 'handshake' | 'requests' | 'replies';

/** Message types that the node under attack answers at once, keeps, and cannot decode. */
export const ECHO = 20;
export const KEEP = 21;
export const BROKEN = 22;

const INTERESTING_LENGTHS = [0, 1, 21, 22, 23, 65_557, 65_558, 65_559, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
const INTERESTING_EPOCHS = [0n, 1n, 2n ** 32n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n];
const CHUNK = Buffer.alloc(65_536, 'chunk');

export class InputMaker {
  readonly #random: SeededRandom;
  /** Earlier inputs, to splice from. */
  readonly #pool: Buffer[] = [];
  #nextId = 1;

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  /** @param ids of the requests under way, for replies */
  input(stage: Stage, ids: readonly number[] = []): Buffer {
    const frames = Array.from({ length: 1 + this.#below(4) }, () => this.#frame(stage, ids));
    const bytes = this.#mutate(frames);
    if (bytes.length < 10_000) this.#pool[this.#below(64)] = bytes;
    return bytes;
  }

  /** Pieces of an input as the network might cut it. */
  pieces(bytes: Buffer): Buffer[] {
    if (this.#below(3) > 0) return [bytes];
    const pieces: Buffer[] = [];
    for (let at = 0; at < bytes.length;) {
      const end = Math.min(bytes.length, at + 1 + this.#below(this.#below(2) === 0 ? 8 : 4000));
      pieces.push(bytes.subarray(at, end));
      at = end;
    }
    return pieces;
  }

  #below(limit: number): number {
    return this.#random.below(limit);
  }

  #frame(stage: Stage, ids: readonly number[]): RawFrame {
    switch (stage) {
      case 'handshake':
        return this.#below(2) === 0
          ? { type: HELLO, payload: encodeHello(hello(1 + this.#below(5), { protocol: { min: this.#below(3), max: this.#below(3) } })) }
          : { type: WELCOME, payload: encodeWelcome({ protocol: this.#below(3), remembered: UNKNOWN }) };
      case 'requests':
        return this.#request();
      case 'replies':
        return this.#reply(ids[this.#below(ids.length + 1)] ?? this.#below(9));
    }
  }

  #request(): RawFrame {
    const id = this.#nextId;
    const request = { id, remainingMs: this.#below(4) === 0 ? this.#below(3) : 60, epoch: BigInt(this.#below(100)) };
    this.#nextId = this.#below(20) === 0 ? 1 + this.#below(1000) : this.#nextId + 1;
    switch (this.#below(10)) {
      case 0:
        return this.#below(2) === 0 ? { type: PING } : { type: MARK, payload: this.#clock() };
      case 1:
        return { type: CANCEL, id: Math.max(1, id - this.#below(4)) };
      case 2:
        return { ...request, type: KEEP, payload: this.#payload() };
      case 3:
        return { ...request, type: BROKEN, payload: this.#payload() };
      case 4:
        return this.#below(20) === 0 ? { ...request, type: ECHO, payload: CHUNK, flags: this.#below(8) & 6 } : { ...request, type: ECHO };
      case 5:
        return { ...request, type: ECHO, payload: this.#payload(), flags: this.#below(2) === 0 ? MORE_FLAG : CONTINUED_FLAG };
      case 6:
        return { ...request, type: this.#below(256) };
      default:
        return { ...request, type: ECHO, payload: this.#payload() };
    }
  }

  /** Of a mark: mostly a time that can be. */
  #clock(): Buffer {
    const clock = Buffer.alloc(8);
    clock.writeBigUInt64BE(BigInt(this.#below(10)) * 2n ** BigInt(this.#below(56)));
    return clock;
  }

  #reply(id: number): RawFrame {
    const flags = REPLY_FLAG;
    switch (this.#below(8)) {
      case 0:
        return { type: PONG };
      case 1:
        return { type: ERROR, id, payload: encodeFailure('BUSY', 'full', this.#below(2) === 0 ? 'none' : 'unknown') };
      case 2:
        return { type: ECHO, flags: flags | MORE_FLAG, id, payload: this.#below(20) === 0 ? CHUNK : this.#payload() };
      case 3:
        return { type: ECHO, flags: flags | CONTINUED_FLAG, id, payload: this.#payload() };
      case 4:
        return { type: this.#below(256), flags, id, payload: this.#payload() };
      default:
        return { type: ECHO, flags, id, epoch: BigInt(this.#below(100)), payload: this.#payload() };
    }
  }

  #payload(): Buffer {
    const size = this.#below(8) === 0 ? this.#below(1500) : this.#below(40);
    return Buffer.alloc(size, this.#below(256));
  }

  #mutate(frames: RawFrame[]): Buffer {
    switch (this.#below(10)) {
      case 0:
        return this.#flip(Buffer.concat(frames.map(rawFrame)));
      case 1: {
        const bytes = Buffer.concat(frames.map(rawFrame));
        return bytes.subarray(0, this.#below(bytes.length + 1));
      }
      case 2:
        return this.#splice(Buffer.concat(frames.map(rawFrame)));
      case 3: {
        const raws = frames.map(rawFrame);
        const length = INTERESTING_LENGTHS[this.#below(INTERESTING_LENGTHS.length + 4)] ?? this.#random.u32() >>> this.#below(32);
        raws[this.#below(raws.length)]?.writeUInt32BE(length);
        return Buffer.concat(raws);
      }
      case 4:
        return Buffer.concat([...frames, ...frames].toSorted(() => this.#below(3) - 1).map(rawFrame));
      case 5:
        return Buffer.from(this.#random.bytes(this.#below(100)));
      default:
        return Buffer.concat(frames.map((frame) => rawFrame(this.#below(2) === 0 ? this.#wrong(frame) : frame)));
    }
  }

  /** One field replaced; the checksum will be right. */
  #wrong(frame: RawFrame): RawFrame {
    switch (this.#below(6)) {
      case 0:
        return { ...frame, type: this.#below(256) };
      case 1:
        return { ...frame, flags: this.#below(this.#below(4) === 0 ? 256 : 8) };
      case 2:
        return { ...frame, id: this.#random.u32() >>> this.#below(32) };
      case 3:
        return { ...frame, remainingMs: this.#random.u32() >>> this.#below(32) };
      case 4:
        return { ...frame, epoch: INTERESTING_EPOCHS[this.#below(INTERESTING_EPOCHS.length)] ?? 0n };
      default: {
        const payload = Buffer.from(frame.payload ?? Buffer.alloc(0));
        return { ...frame, payload: this.#below(2) === 0 ? this.#flip(payload) : this.#splice(payload) };
      }
    }
  }

  #flip(bytes: Buffer): Buffer {
    for (let flips = 1 + this.#below(8); flips > 0 && bytes.length > 0; flips -= 1) {
      const at = this.#below(bytes.length);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << this.#below(8));
    }
    return bytes;
  }

  /** A piece taken out, doubled, or put in from an earlier input. At most a chunk, so that it may be a payload again. */
  #splice(bytes: Buffer): Buffer {
    const from = this.#below(bytes.length + 1);
    const to = Math.min(bytes.length, from + this.#below(60));
    const other = this.#pool[this.#below(64)] ?? bytes;
    const start = this.#below(other.length + 1);
    const middles = [
      Buffer.alloc(0),
      Buffer.concat([bytes.subarray(from, to), bytes.subarray(from, to)]),
      other.subarray(start, start + 200),
    ];
    const middle = middles[this.#below(middles.length)] ?? bytes;
    return Buffer.concat([bytes.subarray(0, from), middle, bytes.subarray(to)]).subarray(0, 65_536);
  }
}
