/**
 * The role of a link that this node opened: its requests go out, the replies come back.
 *
 * Every request ends exactly once: by a reply, a failure the peer reports, its deadline, its cancellation, or the loss of the link.
 * A reply to a request that has ended is ignored.
 *
 * Some types of requests are *prompt*: a peer that is well answers them at once, without asking others. How long one of them has been
 * waiting says how the peer is.
 */

import { CoterieError, type ErrorCode, isCoterieError } from '../base/errors.ts';
import { Assembly } from './assembly.ts';
import { Deadline, type Deadlines } from './deadlines.ts';
import { CHUNK_BYTES, FIRST_MESSAGE_TYPE, type Frame, FrameFlag, FrameType, MAX_REMAINING_MS } from './frame.ts';
import { decodeFailure } from './handshake-codec.ts';
import type { Hello } from './handshake.ts';
import { DRIFT_MOST, MARK_EVERY_MS } from './lateness.ts';
import type { Link, LinkRole, LinkWorld } from './link.ts';
import type { Sender } from './outbox.ts';
import type { Reply, RequestHandle } from './request.ts';

export interface RequesterWorld extends LinkWorld {
  /** Types of the prompt requests. */
  readonly prompt: ReadonlySet<number>;
}

/** What the peer's keeper hears of its link. */
export interface RequesterOwner {
  established(theirs: Hello): void;
  closed(error: CoterieError): void;
}

const NOTHING = new Uint8Array(0);
/** Requests that are no prompt ones and are passed over in the search for the oldest that is. */
const MOST_PASSED_OVER = 64;

class OutgoingRequest extends Deadline implements RequestHandle, Sender {
  readonly id: number;
  readonly type: number;
  readonly chunked: boolean;
  endsAt: number = Infinity;
  /** Undefined once the request has ended. */
  onReply: ((reply: Reply) => void) | undefined;
  readonly sentMs: number;
  readonly #requester: Requester;
  readonly #dueMs: number;

  constructor(
    requester: Requester,
    id: number,
    type: number,
    chunked: boolean,
    sentMs: number,
    dueMs: number,
    onReply: (reply: Reply) => void,
  ) {
    super();
    this.sentMs = sentMs;
    this.#requester = requester;
    this.id = id;
    this.type = type;
    this.chunked = chunked;
    this.#dueMs = dueMs;
    this.onReply = onReply;
  }

  get dropped(): boolean {
    return this.onReply === undefined;
  }

  leftMs(nowMs: number): number {
    return Math.min(MAX_REMAINING_MS, Math.max(1, Math.ceil(this.#dueMs - nowMs)));
  }

  cancel(): void {
    this.#requester.cancel(this);
  }

  override expire(): void {
    this.#requester.expire(this);
  }
}

export class Requester implements LinkRole {
  readonly direction = 'out' as const;
  readonly expected: string;
  readonly #world: RequesterWorld;
  readonly #deadlines: Deadlines;
  readonly #owner: RequesterOwner;
  readonly #requests = new Map<number, OutgoingRequest>();
  readonly #assembly: Assembly;
  #link: Link | undefined;
  #lastId = 0;
  /** When the first prompt request was sent that ran out of time since the peer last answered one; Infinity without one. */
  #missedMs = Infinity;
  /** The shortest way to the peer and back, as it may have grown since, and when that request was sent. */
  #tripMs = Infinity;
  #trippedMs = 0;

  constructor(expected: string, world: RequesterWorld, deadlines: Deadlines, owner: RequesterOwner) {
    this.expected = expected;
    this.#world = world;
    this.#deadlines = deadlines;
    this.#owner = owner;
    this.#assembly = new Assembly(world.limits);
  }

  get size(): number {
    return this.#requests.size;
  }

  get queuedBytes(): number {
    return this.#link?.outbox.queuedBytes ?? 0;
  }

  bind(link: Link): void {
    this.#link = link;
  }

  /** Monotonic time of the last that was heard of the peer on this connection. */
  get heardMs(): number {
    return this.#link?.aliveMs ?? -Infinity;
  }

  /** For how many milliseconds the peer has left a ping or a prompt request unanswered; 0 where it owes nothing. */
  waitedMs(nowMs: number): number {
    let sinceMs = Math.min(this.#missedMs, this.#link?.pingedMs ?? Infinity);
    // In the order in which they were sent: the first prompt one is the oldest.
    let seen = 0;
    for (const request of this.#requests.values()) {
      if (this.#world.prompt.has(request.type)) {
        sinceMs = Math.min(sinceMs, request.sentMs);
        break;
      }
      seen += 1;
      if (seen === MOST_PASSED_OVER) break;
    }
    return Math.max(0, nowMs - sinceMs);
  }

  /**
   * By how much a request that is sent now may be late without the peer's noticing (IncomingRequest.sentMs), in ms; Infinity while that has no bound.
   *
   * The peer takes the mark before the request of the shortest trip to have come at once. It had come in that trip at the latest, after as long as a
   * mark may be older than what follows it; the mark before this request may be as old; and both clocks and the peer's allowance may have drifted.
   */
  unseenMs(nowMs: number): number {
    return this.#tripMs + 2 * MARK_EVERY_MS + 2 * DRIFT_MOST * (nowMs - this.#trippedMs);
  }

  /** A reply has come: the peer had read the request by then. */
  #tripped(sentMs: number, nowMs: number): void {
    const tripMs = nowMs - sentMs;
    if (tripMs > this.#tripMs + 2 * DRIFT_MOST * (sentMs - this.#trippedMs)) return;
    this.#tripMs = tripMs;
    this.#trippedMs = sentMs;
  }

  ponged(): void {
    this.#missedMs = Infinity;
  }

  /** Ends the link. */
  fail(error: CoterieError): void {
    this.#link?.fail(error);
  }

  /** Sends a request, or answers why it cannot be sent. The caller has checked the arguments. */
  request(
    type: number,
    payload: Uint8Array,
    deadlineMs: number,
    epoch: number,
    onReply: (reply: Reply) => void,
  ): RequestHandle | ErrorCode {
    const link = this.#link;
    if (link?.up !== true) return 'PEER_UNREACHABLE';
    const { limits, counters, clock } = this.#world;
    if (this.#requests.size >= limits.maxRequests) return 'BUSY';
    const queuedBytes = link.outbox.queuedBytes;
    // A message larger than the queue still passes when nothing waits before it.
    if (queuedBytes > 0 && queuedBytes + payload.length > limits.maxQueueBytes) return 'BUSY';
    const nowMs = clock.monotonicMs();
    const dueMs = nowMs + deadlineMs;
    const request = new OutgoingRequest(this, this.#freeId(), type, payload.length > CHUNK_BYTES, nowMs, dueMs, onReply);
    this.#requests.set(request.id, request);
    this.#deadlines.add(request, dueMs);
    link.outbox.send(type, 0, request.id, Math.min(MAX_REMAINING_MS, Math.ceil(deadlineMs)), epoch, payload, request);
    counters.requestsSent += 1;
    return request;
  }

  cancel(request: OutgoingRequest): void {
    if (!this.#finish(request)) return;
    const outbox = this.#link?.outbox;
    if (outbox === undefined) return;
    if (request.endsAt > outbox.sentTo) outbox.forget();
    if (request.chunked || request.endsAt <= outbox.sentTo) outbox.put(FrameType.CANCEL, 0, request.id, 0, 0, NOTHING);
  }

  expire(request: OutgoingRequest): void {
    const onReply = this.#finish(request);
    const outbox = this.#link?.outbox;
    if (onReply === undefined || outbox === undefined) return;
    const sent = request.endsAt <= outbox.sentTo;
    const { prompt, limits, clock } = this.#world;
    if (prompt.has(request.type) && clock.monotonicMs() - request.sentMs >= limits.promptMs) {
      this.#missedMs = Math.min(this.#missedMs, request.sentMs);
    }
    if (!sent) {
      outbox.forget();
      // The chunks that have left would be kept by the peer for nothing.
      if (request.chunked) outbox.put(FrameType.CANCEL, 0, request.id, 0, 0, NOTHING);
    }
    this.#world.counters.requestsFailed += 1;
    onReply({ kind: 'failed', code: 'TIMEOUT', message: `no reply from ${this.expected} in time`, outcome: sent ? 'unknown' : 'none' });
  }

  findSender(id: number): Sender | undefined {
    return this.#requests.get(id);
  }

  established(theirs: Hello): void {
    this.#owner.established(theirs);
  }

  drained(): void {
    // Requests that did not fit were refused at once: nothing waits for room.
  }

  frame(frame: Frame, nowMs: number): boolean {
    if (frame.type === FrameType.ERROR) this.#failureFrame(frame);
    else if (frame.type >= FIRST_MESSAGE_TYPE && (frame.flags & FrameFlag.REPLY) !== 0) this.#replyFrame(frame, nowMs);
    else throw new CoterieError('FRAME_INVALID', `a frame of type ${String(frame.type)} is no reply`);
    return true;
  }

  closed(error: CoterieError): void {
    const lost = [...this.#requests.values()];
    const sentTo = this.#link?.outbox.sentTo ?? 0;
    this.#requests.clear();
    this.#assembly.clear();
    const code = error.code === 'CLOSED' ? 'CLOSED' : 'PEER_UNREACHABLE';
    if (lost.length > 0) {
      // What ends the link may be a call of the user's; its callbacks run later.
      this.#world.clock.soon(() => {
        for (const request of lost) {
          const outcome = request.endsAt <= sentTo ? 'unknown' : 'none';
          this.#end(request)?.({ kind: 'failed', code, message: `${this.expected}: ${error.message}`, outcome });
        }
      });
    }
    this.#world.counters.requestsFailed += lost.length;
    this.#owner.closed(error);
  }

  #freeId(): number {
    do this.#lastId = this.#lastId === 0xffff_ffff ? 1 : this.#lastId + 1;
    while (this.#requests.has(this.#lastId));
    return this.#lastId;
  }

  #replyFrame(frame: Frame, nowMs: number): void {
    // A late one too: the peer has answered.
    if (this.#world.prompt.has(frame.type)) this.#missedMs = Infinity;
    const request = this.#requests.get(frame.id);
    if (request === undefined) return;
    if (request.type !== frame.type) throw new CoterieError('FRAME_INVALID', 'a reply has another type than its request');
    let payload = frame.payload;
    if (frame.flags !== FrameFlag.REPLY) {
      const whole = this.#assembly.add(frame, nowMs);
      if (whole === undefined) return;
      payload = whole.payload;
    } else if (this.#assembly.has(frame.id)) {
      throw new CoterieError('FRAME_INVALID', 'a reply is interrupted by another');
    }
    this.#world.counters.repliesReceived += 1;
    this.#tripped(request.sentMs, nowMs);
    this.#deliver(request, { kind: 'reply', payload, epoch: frame.epoch });
  }

  #failureFrame(frame: Frame): void {
    if (frame.flags !== 0) throw new CoterieError('FRAME_INVALID', 'a failure has flags');
    const { code, message, outcome } = decodeFailure(frame.payload);
    const request = this.#requests.get(frame.id);
    if (request === undefined) return;
    this.#world.counters.requestsFailed += 1;
    this.#deliver(request, { kind: 'failed', code, message, outcome });
  }

  /** Runs the callback. A reply that it cannot decode is the peer's fault: the request fails, and the link with it. */
  #deliver(request: OutgoingRequest, reply: Reply): void {
    const onReply = this.#finish(request);
    if (onReply === undefined) return;
    try {
      onReply(reply);
    } catch (error) {
      if (reply.kind === 'reply' && isCoterieError(error) && error.code === 'FRAME_INVALID') {
        onReply({ kind: 'failed', code: 'FRAME_INVALID', message: error.message, outcome: 'unknown' });
      }
      throw error;
    }
  }

  /** Takes the request out of everything; answers its callback unless it had ended before. */
  #finish(request: OutgoingRequest): ((reply: Reply) => void) | undefined {
    this.#requests.delete(request.id);
    if (this.#assembly.heldBytes > 0) this.#assembly.drop(request.id);
    return this.#end(request);
  }

  #end(request: OutgoingRequest): ((reply: Reply) => void) | undefined {
    const { onReply } = request;
    request.onReply = undefined;
    this.#deadlines.remove(request);
    return onReply;
  }
}
