/**
 * The role of a link that was accepted: the peer's requests come in, replies go out.
 *
 * A request is heard only if it is whole, in time, of a fitting epoch and of a known type; all of that is judged before its payload is
 * decoded. Unanswered requests and waiting replies are bounded: above the bound the link is not read.
 */

import { CoterieError, type ErrorCode, isCoterieError, type Outcome } from '../base/errors.ts';
import { Assembly } from './assembly.ts';
import { Deadline, type Deadlines } from './deadlines.ts';
import { FIRST_MESSAGE_TYPE, type Frame, FrameFlag, FrameType } from './frame.ts';
import { encodeFailure } from './handshake-codec.ts';
import type { Hello } from './handshake.ts';
import type { Link, LinkRole, LinkWorld } from './link.ts';
import type { Sender } from './outbox.ts';
import type { IncomingRequest } from './request.ts';

/** What a responder asks of its transport. */
export interface ResponderOwner {
  handlerOf(type: number): ((request: IncomingRequest) => void) | undefined;
  /** Whether a request of the peer's epoch may be heard. */
  admits(peer: string, epoch: number, type: number): boolean;
  epoch(): number;
  established(responder: Responder, theirs: Hello): void;
  closed(responder: Responder, error: CoterieError): void;
}

const NOTHING = new Uint8Array(0);

class Incoming extends Deadline implements IncomingRequest, Sender {
  readonly peer: string;
  readonly id: number;
  readonly type: number;
  payload: Uint8Array;
  readonly remainingMs: number;
  readonly sentMs: number;
  readonly epoch: number;
  onCancel: (() => void) | undefined;
  endsAt: number = Infinity;
  /** Its peer no longer waits. */
  dropped = false;
  answered = false;
  readonly #responder: Responder;

  constructor(responder: Responder, peer: string, frame: Frame, payload: Uint8Array, remainingMs: number, sentMs: number) {
    super();
    this.#responder = responder;
    this.peer = peer;
    this.id = frame.id;
    this.type = frame.type;
    this.payload = payload;
    this.remainingMs = remainingMs;
    this.sentMs = sentMs;
    this.epoch = frame.epoch;
  }

  reply(payload: Uint8Array): void {
    this.#responder.reply(this, payload);
  }

  fail(code: ErrorCode, message: string, outcome: Outcome): void {
    this.#responder.refuse(this, code, message, outcome);
  }

  override expire(): void {
    this.#responder.abandon(this);
  }

  /** A reply has no deadline of its own. */
  leftMs(): number {
    return 0;
  }
}

export class Responder implements LinkRole {
  readonly direction = 'in' as const;
  readonly expected: undefined = undefined;
  readonly #world: LinkWorld;
  readonly #deadlines: Deadlines;
  readonly #owner: ResponderOwner;
  readonly #requests = new Map<number, Incoming>();
  readonly #assembly: Assembly;
  #link: Link | undefined;
  #peer = '';
  #reading = false;

  constructor(world: LinkWorld, deadlines: Deadlines, owner: ResponderOwner) {
    this.#world = world;
    this.#deadlines = deadlines;
    this.#owner = owner;
    this.#assembly = new Assembly(world.limits);
  }

  /** The peer's name; empty before the handshake is over. */
  get peer(): string {
    return this.#peer;
  }

  get remote(): string {
    return this.#link?.remote ?? '';
  }

  /** Requests not answered yet. */
  get size(): number {
    return this.#requests.size;
  }

  bind(link: Link): void {
    this.#link = link;
  }

  /** Ends the link. */
  fail(error: CoterieError): void {
    this.#link?.fail(error);
  }

  reply(request: Incoming, payload: Uint8Array): void {
    const link = this.#settle(request);
    if (link === undefined) return;
    if (payload.length > this.#world.limits.maxMessageBytes) {
      const message = `a reply is above ${String(this.#world.limits.maxMessageBytes)} bytes`;
      link.outbox.put(FrameType.ERROR, 0, request.id, 0, 0, encodeFailure('FRAME_TOO_LARGE', message, 'unknown'));
    } else {
      link.outbox.send(request.type, FrameFlag.REPLY, request.id, 0, this.#owner.epoch(), payload, request);
    }
    this.#bound(link);
  }

  refuse(request: Incoming, code: ErrorCode, message: string, outcome: Outcome): void {
    const link = this.#settle(request);
    if (link === undefined) return;
    link.outbox.put(FrameType.ERROR, 0, request.id, 0, 0, encodeFailure(code, message, outcome));
    this.#bound(link);
  }

  /** The peer no longer waits for it. */
  abandon(request: Incoming): void {
    request.dropped = true;
    if (this.#settle(request) === undefined) return;
    const { onCancel } = request;
    request.onCancel = undefined;
    onCancel?.();
    this.#readOn();
  }

  /** Replies carry no deadline: none is looked for. */
  findSender(): undefined {
    return undefined;
  }

  established(theirs: Hello): void {
    this.#peer = theirs.name;
    this.#owner.established(this, theirs);
  }

  drained(): void {
    this.#readOn();
  }

  ponged(): void {
    // Only the side that opened the connection pings.
  }

  frame(frame: Frame, nowMs: number, waitedMs: number): boolean {
    if (frame.type === FrameType.CANCEL && frame.flags === 0 && frame.payload.length === 0) {
      this.#assembly.drop(frame.id);
      const request = this.#requests.get(frame.id);
      if (request !== undefined) this.abandon(request);
    } else if (frame.type >= FIRST_MESSAGE_TYPE && (frame.flags & FrameFlag.REPLY) === 0) {
      this.#requestFrame(frame, nowMs, waitedMs);
    } else {
      throw new CoterieError('FRAME_INVALID', `a frame of type ${String(frame.type)} is no request`);
    }
    return !this.#full();
  }

  closed(error: CoterieError): void {
    const lost = [...this.#requests.values()];
    this.#requests.clear();
    this.#assembly.clear();
    for (const request of lost) {
      request.answered = true;
      request.dropped = true;
      this.#deadlines.remove(request);
    }
    if (lost.length > 0) {
      // What ends the link may be a call of the user's; its callbacks run later.
      this.#world.clock.soon(() => {
        for (const request of lost) request.onCancel?.();
      });
    }
    this.#owner.closed(this, error);
  }

  #requestFrame(frame: Frame, nowMs: number, waitedMs: number): void {
    if (this.#requests.has(frame.id)) throw new CoterieError('FRAME_INVALID', 'a request id is in use');
    let { payload, remainingMs } = frame;
    let ageMs = waitedMs;
    if (frame.flags !== 0) {
      const whole = this.#assembly.add(frame, nowMs);
      if (whole === undefined) return;
      payload = whole.payload;
      remainingMs = whole.remainingMs;
      ageMs = waitedMs + nowMs - whole.startedMs;
    } else if (this.#assembly.has(frame.id)) {
      throw new CoterieError('FRAME_INVALID', 'a request is interrupted by another');
    }
    this.#hear(frame, payload, Math.floor(remainingMs - ageMs), nowMs, ageMs);
  }

  #hear(frame: Frame, payload: Uint8Array, remainingMs: number, nowMs: number, ageMs: number): void {
    const { counters } = this.#world;
    if (remainingMs <= 0) {
      counters.requestsLate += 1;
      return;
    }
    if (!this.#owner.admits(this.#peer, frame.epoch, frame.type)) {
      counters.requestsStale += 1;
      this.#turnAway(frame.id, 'EPOCH_STALE', `epoch ${String(frame.epoch)} is not heard at epoch ${String(this.#owner.epoch())}`);
      return;
    }
    const handler = this.#owner.handlerOf(frame.type);
    if (handler === undefined) {
      this.#turnAway(frame.id, 'UNSUPPORTED', `messages of type ${String(frame.type)} are not known here`);
      return;
    }
    counters.requestsReceived += 1;
    const request = new Incoming(this, this.#peer, frame, payload, remainingMs, this.#link?.timed === true ? nowMs - ageMs : -Infinity);
    this.#requests.set(request.id, request);
    this.#deadlines.add(request, nowMs + remainingMs);
    try {
      handler(request);
    } catch (error) {
      if (!isCoterieError(error) || error.code === 'FRAME_INVALID') throw error;
      request.fail(error.code, error.message, error.outcome ?? 'unknown');
    }
    // It was borrowed: whoever kept it finds nothing, instead of the bytes of a later request.
    request.payload = NOTHING;
  }

  #turnAway(id: number, code: ErrorCode, message: string): void {
    const link = this.#link;
    if (link === undefined) return;
    link.outbox.put(FrameType.ERROR, 0, id, 0, 0, encodeFailure(code, message, 'none'));
    this.#bound(link);
  }

  /** Takes an unanswered request out of everything; answers the link to reply on, or undefined if it had ended before. */
  #settle(request: Incoming): Link | undefined {
    if (request.answered) return undefined;
    request.answered = true;
    this.#requests.delete(request.id);
    this.#deadlines.remove(request);
    return this.#link;
  }

  /** After a reply was put: the link ends if the peer lets its replies pile up, and is read on if it had stopped. */
  #bound(link: Link): void {
    if (link.outbox.queuedBytes > 2 * this.#world.limits.maxQueueBytes) {
      link.fail(new CoterieError('BUSY', 'the peer does not read its replies'));
    } else {
      this.#readOn();
    }
  }

  #full(): boolean {
    const { maxIncoming, maxQueueBytes } = this.#world.limits;
    return this.#requests.size >= maxIncoming || (this.#link?.outbox.queuedBytes ?? 0) > maxQueueBytes;
  }

  /** Reads on in the next turn, once half of the bound is free: stopping and starting at every request would cost more. */
  #readOn(): void {
    const link = this.#link;
    if (link?.stopped !== true || this.#reading) return;
    const { maxIncoming, maxQueueBytes } = this.#world.limits;
    if (this.#requests.size > maxIncoming / 2 || link.outbox.queuedBytes > maxQueueBytes / 2) return;
    this.#reading = true;
    this.#world.clock.soon(() => {
      this.#reading = false;
      link.read();
    });
  }
}
