/**
 * Cuts a stream of bytes into frames.
 *
 * Frames that lie whole in a received chunk are handed on where they are; only what a chunk's end cuts off is copied, and kept until the
 * rest arrives. What a frame claims is checked before anything is kept for it, so that at most one frame's bytes wait here, plus, while
 * the sink has stopped the parser, the chunk it stopped in and those that were already on their way.
 *
 * After it has thrown, a parser is of no more use: the stream has lost its place.
 */

import { CoterieError } from '../base/errors.ts';
import {
  ALL_FLAGS,
  CHUNK_BYTES,
  COUNTED_HEADER_BYTES,
  CRC_AT,
  type Frame,
  frameCrc,
  HEADER_BYTES,
  readU32,
  REMAINING_AT,
} from './frame.ts';

export interface FrameSink {
  /** Takes a frame. False stops the parser before the next one, until `resume`. */
  frame(frame: Frame): boolean;
}

/** `length` is the first field. */
const LENGTH_BYTES = 4;
const SMALLEST_HELD = 4096;
/** A holding buffer above it is let go once it is empty. */
const KEPT_BYTES = 2 * CHUNK_BYTES;
const EMPTY = new Uint8Array(0);
const HIGHEST_EPOCH_WORD = 0x1f_ffff;
const TWO_32 = 0x1_0000_0000;

interface MutableFrame extends Frame {
  type: number;
  flags: number;
  id: number;
  remainingMs: number;
  epoch: number;
  payload: Uint8Array;
}

export class FrameParser {
  readonly #sink: FrameSink;
  readonly #frame: MutableFrame = { type: 0, flags: 0, id: 0, remainingMs: 0, epoch: 0, payload: EMPTY };
  /** Bytes that wait, at #held[0] to #held[#heldBytes]. */
  #held = EMPTY;
  #heldBytes = 0;
  #stopped = false;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** The sink has stopped it. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** Bytes that wait here. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /**
   * Takes bytes, borrowed until it returns.
   *
   * @throws CoterieError FRAME_INVALID, FRAME_TOO_LARGE; and what the sink throws
   */
  push(chunk: Uint8Array): void {
    if (this.#stopped) {
      this.#hold(chunk, 0, chunk.length);
      return;
    }
    const at = this.#heldBytes > 0 ? this.#completeHeld(chunk) : 0;
    const end = this.#parse(chunk, at, chunk.length);
    if (end < chunk.length) this.#hold(chunk, end, chunk.length);
  }

  /** Goes on after the sink has stopped it, first with what waits. Throws as `push` does. */
  resume(): void {
    if (!this.#stopped) return;
    this.#stopped = false;
    const bytes = this.#heldBytes;
    const end = this.#parse(this.#held, 0, bytes);
    if (end > 0) this.#keepFrom(end);
  }

  /** Takes from the chunk what the held frame lacks, and hands it on if it is whole; answers where the chunk goes on. */
  #completeHeld(chunk: Uint8Array): number {
    let at = 0;
    if (this.#heldBytes < LENGTH_BYTES) {
      at = Math.min(LENGTH_BYTES - this.#heldBytes, chunk.length);
      this.#hold(chunk, 0, at);
      if (this.#heldBytes < LENGTH_BYTES) return at;
    }
    const size = checkedSize(this.#held, 0);
    const take = Math.min(size - this.#heldBytes, chunk.length - at);
    this.#hold(chunk, at, at + take);
    if (this.#heldBytes < size) return at + take;
    this.#heldBytes = 0;
    this.#deliver(this.#held, 0, size);
    if (this.#heldBytes === 0 && this.#held.length > KEPT_BYTES) this.#held = EMPTY;
    return at + take;
  }

  /** Hands on the whole frames from `at`; answers the position after the last of them. */
  #parse(bytes: Uint8Array, at: number, end: number): number {
    let position = at;
    while (!this.#stopped && end - position >= LENGTH_BYTES) {
      const size = checkedSize(bytes, position);
      if (end - position < size) break;
      this.#deliver(bytes, position, size);
      position += size;
    }
    return position;
  }

  #deliver(bytes: Uint8Array, at: number, size: number): void {
    const payloadBytes = size - HEADER_BYTES;
    if (readU32(bytes, at + CRC_AT) !== frameCrc(bytes, at, payloadBytes)) throw invalid('the checksum of a frame is wrong');
    const frame = this.#frame;
    frame.type = bytes[at + 4] ?? 0;
    frame.flags = bytes[at + 5] ?? 0;
    frame.id = readU32(bytes, at + 6);
    frame.remainingMs = readU32(bytes, at + REMAINING_AT);
    const high = readU32(bytes, at + 14);
    frame.epoch = high * TWO_32 + readU32(bytes, at + 18);
    if (high > HIGHEST_EPOCH_WORD) throw invalid('an epoch is 2^53 or above');
    if (frame.type === 0) throw invalid('a frame has type 0');
    if (frame.flags > ALL_FLAGS) throw invalid('a frame has unknown flags');
    // Never a Buffer, even of one: its `slice` would alias what it seems to copy.
    frame.payload = payloadBytes === 0 ? EMPTY : new Uint8Array(bytes.buffer, bytes.byteOffset + at + HEADER_BYTES, payloadBytes);
    if (!this.#sink.frame(frame)) this.#stopped = true;
    frame.payload = EMPTY;
  }

  #hold(bytes: Uint8Array, from: number, to: number): void {
    const size = this.#heldBytes + to - from;
    if (size > this.#held.length) {
      let room = Math.max(SMALLEST_HELD, this.#held.length);
      while (room < size) room *= 2;
      const grown = new Uint8Array(room);
      grown.set(this.#held.subarray(0, this.#heldBytes));
      this.#held = grown;
    }
    this.#held.set(bytes.subarray(from, to), this.#heldBytes);
    this.#heldBytes = size;
  }

  /** Drops the held bytes before `at`. */
  #keepFrom(at: number): void {
    const rest = this.#heldBytes - at;
    if (rest === 0 && this.#held.length > KEPT_BYTES) this.#held = EMPTY;
    else this.#held.copyWithin(0, at, this.#heldBytes);
    this.#heldBytes = rest;
  }
}

/** The size of the frame at `at` in bytes, header included, as its first field claims. */
function checkedSize(bytes: Uint8Array, at: number): number {
  const length = readU32(bytes, at);
  if (length < COUNTED_HEADER_BYTES) throw invalid('a frame is shorter than its header');
  if (length > COUNTED_HEADER_BYTES + CHUNK_BYTES) {
    throw new CoterieError(
      'FRAME_TOO_LARGE',
      `a frame claims ${String(length)} bytes; ${String(COUNTED_HEADER_BYTES + CHUNK_BYTES)} are allowed`,
    );
  }
  return LENGTH_BYTES + length;
}

function invalid(message: string): CoterieError {
  return new CoterieError('FRAME_INVALID', message);
}
