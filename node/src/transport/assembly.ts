/**
 * Joins the chunks of large messages. What one connection may hold is bounded, per message and in all; memory is taken only as bytes
 * arrive, whatever the peer may yet send.
 */

import { CoterieError } from '../base/errors.ts';
import { CHUNK_BYTES, type Frame, FrameFlag } from './frame.ts';
import type { TransportLimits } from './limits.ts';

/** A message whose chunks are not all there. */
interface Partial {
  readonly type: number;
  readonly epoch: number;
  /** Monotonic time at which the first chunk came, and the time the sender gave then. */
  readonly startedMs: number;
  readonly remainingMs: number;
  buffer: Uint8Array;
  bytes: number;
}

/** A whole message. */
export interface Assembled {
  readonly payload: Uint8Array;
  /** Of the first chunk. */
  readonly remainingMs: number;
  readonly startedMs: number;
}

export class Assembly {
  readonly #limits: TransportLimits;
  readonly #partials = new Map<number, Partial>();
  #heldBytes = 0;

  constructor(limits: TransportLimits) {
    this.#limits = limits;
  }

  /** Bytes reserved for unfinished messages. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  has(id: number): boolean {
    return this.#partials.has(id);
  }

  /**
   * Takes a chunk (a frame with MORE or CONTINUED); answers the message with its last one.
   *
   * @throws CoterieError FRAME_INVALID for a chunk out of place, FRAME_TOO_LARGE
   */
  add(frame: Frame, nowMs: number): Assembled | undefined {
    const first = (frame.flags & FrameFlag.CONTINUED) === 0;
    let partial = this.#partials.get(frame.id);
    if (first !== (partial === undefined)) throw new CoterieError('FRAME_INVALID', 'a chunk stands where it does not belong');
    if (partial === undefined) {
      partial = {
        type: frame.type,
        epoch: frame.epoch,
        startedMs: nowMs,
        remainingMs: frame.remainingMs,
        buffer: new Uint8Array(0),
        bytes: 0,
      };
      this.#partials.set(frame.id, partial);
    }
    const more = (frame.flags & FrameFlag.MORE) !== 0;
    if (partial.type !== frame.type || partial.epoch !== frame.epoch || (more && frame.payload.length !== CHUNK_BYTES)) {
      throw new CoterieError('FRAME_INVALID', 'a chunk does not fit those before it');
    }
    this.#append(partial, frame.payload);
    if (more) return undefined;
    this.drop(frame.id);
    return { payload: partial.buffer.subarray(0, partial.bytes), remainingMs: partial.remainingMs, startedMs: partial.startedMs };
  }

  /** The message will not be finished. */
  drop(id: number): void {
    this.#heldBytes -= this.#partials.get(id)?.buffer.length ?? 0;
    this.#partials.delete(id);
  }

  clear(): void {
    this.#partials.clear();
    this.#heldBytes = 0;
  }

  #append(partial: Partial, chunk: Uint8Array): void {
    const bytes = partial.bytes + chunk.length;
    const { maxMessageBytes, maxAssemblyBytes } = this.#limits;
    if (bytes > maxMessageBytes) throw new CoterieError('FRAME_TOO_LARGE', `a message is above ${String(maxMessageBytes)} bytes`);
    if (bytes > partial.buffer.length) {
      const room = Math.max(bytes, Math.min(2 * partial.buffer.length, maxMessageBytes));
      this.#heldBytes += room - partial.buffer.length;
      if (this.#heldBytes > maxAssemblyBytes) {
        throw new CoterieError('FRAME_TOO_LARGE', `unfinished messages are above ${String(maxAssemblyBytes)} bytes`);
      }
      const grown = new Uint8Array(room);
      grown.set(partial.buffer.subarray(0, partial.bytes));
      partial.buffer = grown;
    }
    partial.buffer.set(chunk, partial.bytes);
    partial.bytes = bytes;
  }
}
