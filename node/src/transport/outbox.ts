/**
 * What one connection is about to send.
 *
 * Frames are encoded straight into one scratch buffer and leave together, once per turn of the loop. While the connection is congested they
 * wait in the scratch, whole frames only, first in first out. Payloads above one chunk wait beside it as copies and give one chunk each, in
 * turn, per flush, so that a large value does not hold up small requests.
 *
 * Before frames whose time runs down the stream is marked with this node's clock (lateness.ts).
 *
 * Positions count the bytes of frames ever put in. Invariant: a frame whose end lies above `sentTo` has certainly not been handed to the
 * connection in full. The opposite may fail: dropping a frame counts its bytes as sent.
 */

import type { Clock } from '../env/clock.ts';
import type { Connection } from '../env/network.ts';
import {
  CHUNK_BYTES,
  CRC_AT,
  frameCrc,
  FrameFlag,
  FrameType,
  HEADER_BYTES,
  MARK_BYTES,
  readU32,
  REMAINING_AT,
  writeFrame,
  writeMark,
  writeU32,
} from './frame.ts';
import { MARK_EVERY_MS } from './lateness.ts';
import type { TransportCounters } from './peer-status.ts';

/** The sender of a message, told where its last byte stands. */
export interface Sender {
  /** Position of the end of the last frame; Infinity while part of the message still waits beside the scratch. */
  endsAt: number;
  /** The message is of no more use: what has not left may be dropped. */
  readonly dropped: boolean;
  /** The `remaining` of a frame that leaves at `nowMs` (monotonic). */
  leftMs(nowMs: number): number;
}

/** A message above one chunk, and how much of it has become frames. */
interface Bulk {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly epoch: number;
  readonly payload: Uint8Array;
  readonly sender: Sender;
  taken: number;
}

const FIRST_SCRATCH_BYTES = 16 * 1024;
/** A scratch above it is let go once it is empty. */
const KEPT_SCRATCH_BYTES = 512 * 1024;
/** The connection is given at most about so much in one call. */
const FLUSH_BYTES = 256 * 1024;

export class Outbox {
  readonly #connection: Connection;
  readonly #clock: Clock;
  readonly #counters: TransportCounters;
  readonly #findSender: (id: number) => Sender | undefined;
  #scratch: Uint8Array = new Uint8Array(FIRST_SCRATCH_BYTES);
  #used = 0;
  readonly #bulks: Bulk[] = [];
  #bulkBytes = 0;
  #sentTo = 0;
  #scheduled = false;
  #congested = false;
  #stale = false;
  #closed = false;
  /** Monotonic time of the last mark. */
  #markedMs = -Infinity;
  readonly #mark = new Uint8Array(MARK_BYTES);

  /** @param findSender the sender of a request that may be dropped or whose remaining time runs down while it waits */
  constructor(connection: Connection, clock: Clock, counters: TransportCounters, findSender: (id: number) => Sender | undefined) {
    this.#connection = connection;
    this.#clock = clock;
    this.#counters = counters;
    this.#findSender = findSender;
  }

  get sentTo(): number {
    return this.#sentTo;
  }

  /** The connection has more than it can send now. */
  get congested(): boolean {
    return this.#congested;
  }

  /** Bytes that wait, here and in the connection. */
  get queuedBytes(): number {
    return this.#used + this.#bulkBytes + (this.#congested ? this.#connection.buffered : 0);
  }

  /** A message without a sender: of the transport itself, or an answer of one frame. The payload is at most one chunk. */
  put(type: number, flags: number, id: number, remainingMs: number, epoch: number, payload: Uint8Array): void {
    if (this.#closed) return;
    this.#append(type, flags, id, remainingMs, epoch, payload, 0, payload.length);
    this.#schedule();
  }

  /** A message of any size; `payload` is borrowed until the call returns. */
  send(type: number, flags: number, id: number, remainingMs: number, epoch: number, payload: Uint8Array, sender: Sender): void {
    if (this.#closed) return;
    if (payload.length <= CHUNK_BYTES) {
      if (remainingMs > 0) this.#markTime();
      this.#append(type, flags, id, remainingMs, epoch, payload, 0, payload.length);
      sender.endsAt = this.#sentTo + this.#used;
    } else {
      sender.endsAt = Infinity;
      this.#bulks.push({ type, flags, id, epoch, payload: new Uint8Array(payload), sender, taken: 0 });
      this.#bulkBytes += payload.length;
    }
    this.#schedule();
  }

  /** A sender was dropped while its message waits: its frames are taken out before they leave. */
  forget(): void {
    this.#stale = true;
  }

  /** Sends what the connection takes. */
  flush(): void {
    this.#scheduled = false;
    if (this.#closed || this.#congested) return;
    if (this.#stale) this.#refresh();
    this.#takeChunks();
    let at = 0;
    while (at < this.#used && !this.#congested) {
      const end = this.#flushEnd(at);
      this.#congested = !this.#connection.write(this.#scratch.subarray(at, end));
      this.#counters.bytesSent += end - at;
      this.#sentTo += end - at;
      at = end;
    }
    this.#release(at);
    // What waits beside the scratch goes on in the next turn, or when the connection has drained.
    if (!this.#congested && this.#bulks.length > 0) this.#schedule();
  }

  /** The connection has room again. What waited is brought up to date first: it may have waited long. */
  drained(): void {
    this.#congested = false;
    if (this.#used > 0) this.#stale = true;
    this.flush();
  }

  /** Frees everything; nothing is sent any more. */
  close(): void {
    this.#closed = true;
    this.#scratch = new Uint8Array(0);
    this.#used = 0;
    this.#bulks.length = 0;
    this.#bulkBytes = 0;
  }

  #schedule(): void {
    if (this.#scheduled || this.#congested) return;
    this.#scheduled = true;
    this.#clock.soon(() => {
      this.flush();
    });
  }

  #append(
    type: number,
    flags: number,
    id: number,
    remainingMs: number,
    epoch: number,
    payload: Uint8Array,
    from: number,
    to: number,
  ): void {
    const size = HEADER_BYTES + to - from;
    if (this.#used + size > this.#scratch.length) this.#grow(this.#used + size);
    this.#used = writeFrame(this.#scratch, this.#used, type, flags, id, remainingMs, epoch, payload, from, to);
  }

  #markTime(): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#markedMs < MARK_EVERY_MS) return;
    this.#markedMs = nowMs;
    writeMark(this.#mark, 0, nowMs);
    this.#append(FrameType.MARK, 0, 0, 0, 0, this.#mark, 0, MARK_BYTES);
  }

  #grow(size: number): void {
    let room = Math.max(FIRST_SCRATCH_BYTES, this.#scratch.length);
    while (room < size) room *= 2;
    const grown = new Uint8Array(room);
    grown.set(this.#scratch.subarray(0, this.#used));
    this.#scratch = grown;
  }

  /** Turns chunks into frames, one of each large message in turn, until a flush is full. */
  #takeChunks(): void {
    while (this.#bulks.length > 0 && this.#used < FLUSH_BYTES) {
      const bulk = this.#bulks.shift();
      if (bulk === undefined) return;
      const { payload, sender } = bulk;
      const from = bulk.taken;
      const to = sender.dropped ? payload.length : Math.min(from + CHUNK_BYTES, payload.length);
      this.#bulkBytes -= to - from;
      if (sender.dropped) continue;
      const last = to === payload.length;
      const leftMs = sender.leftMs(this.#clock.monotonicMs());
      if (leftMs > 0) this.#markTime();
      const flags = bulk.flags | (from > 0 ? FrameFlag.CONTINUED : 0) | (last ? 0 : FrameFlag.MORE);
      this.#append(bulk.type, flags, bulk.id, leftMs, bulk.epoch, payload, from, to);
      bulk.taken = to;
      if (last) sender.endsAt = this.#sentTo + this.#used;
      else this.#bulks.push(bulk);
    }
  }

  /** Where a write from `at` ends: whole frames, about FLUSH_BYTES. */
  #flushEnd(at: number): number {
    if (this.#used - at <= FLUSH_BYTES) return this.#used;
    let end = at;
    while (end - at < FLUSH_BYTES && end < this.#used) end += this.#frameSize(end);
    return end;
  }

  /** Drops what was sent, the first `at` bytes of the scratch. */
  #release(at: number): void {
    if (at < this.#used) this.#scratch.copyWithin(0, at, this.#used);
    else if (this.#scratch.length > KEPT_SCRATCH_BYTES) this.#scratch = new Uint8Array(FIRST_SCRATCH_BYTES);
    this.#used -= at;
  }

  /** Takes out the frames of dropped senders and writes the time that is left now into the others, and this time into the marks. */
  #refresh(): void {
    this.#stale = false;
    const scratch = this.#scratch;
    const nowMs = this.#clock.monotonicMs();
    let kept = 0;
    for (let at = 0; at < this.#used;) {
      const size = this.#frameSize(at);
      const flags = scratch[at + 5] ?? 0;
      const timed = readU32(scratch, at + REMAINING_AT) > 0 && (flags & FrameFlag.REPLY) === 0;
      const sender = timed ? this.#findSender(readU32(scratch, at + 6)) : undefined;
      if (scratch[at + 4] === FrameType.MARK) {
        writeMark(scratch, at + HEADER_BYTES, nowMs);
        writeU32(scratch, at + CRC_AT, frameCrc(scratch, at, MARK_BYTES));
        this.#markedMs = nowMs;
      }
      if (!timed || (sender !== undefined && !sender.dropped)) {
        if (sender !== undefined) {
          writeU32(scratch, at + REMAINING_AT, sender.leftMs(nowMs));
          writeU32(scratch, at + CRC_AT, frameCrc(scratch, at, size - HEADER_BYTES));
        }
        scratch.copyWithin(kept, at, at + size);
        kept += size;
      }
      at += size;
    }
    this.#sentTo += this.#used - kept;
    this.#used = kept;
  }

  #frameSize(at: number): number {
    return 4 + readU32(this.#scratch, at);
  }
}
