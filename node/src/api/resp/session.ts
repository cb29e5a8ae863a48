/**
 * One client's session: requests in, replies out, in order.
 *
 * Invariants:
 * - Replies leave in the order of their requests. What is answered at once behind an unfinished request waits, encoded, in its slot; refusals in a
 *   row share one, as far as their replies together are no more than a chunk.
 * - Requests on one key take effect in order (key-order.ts); others overlap, up to `pipeline` of them.
 * - When a request must wait, or the client does not take its replies, the session stops reading: what it holds is bounded by the parser's
 *   bounds, `pipeline` results and one chunk of replies; what all sessions hold together, by `requests` and `sendBytes`.
 * - The shared writer is empty between turns.
 */

import { asCoterieError, CoterieError } from '../../base/errors.ts';
import type { Sink } from '../../runtime/answer.ts';
import type { Maybe } from '../../runtime/kv.ts';
import type { ByteBudget, ByteClaim } from '../byte-budget.ts';
import { EVERYBODY, type Identity } from '../credentials.ts';
import { pairTooLarge } from '../limits.ts';
import { isPromise } from '../maybe.ts';
import type { Call, ClientState, Command, RespNode, Shared } from './command.ts';
import { DEFAULT_BUCKET } from './commands/keyspace.ts';
import { KeyOrder } from './key-order.ts';
import { RequestParser } from './parser.ts';
import { isReplyError, ReplyError, replyOf, wrongArity } from './reply-error.ts';
import type { ReplyWriter } from './reply.ts';
import { type Awaited, type Queued, Ready, Refusals, Slot, type SlotOwner } from './slot.ts';

/** Where a session's replies go. env's `Connection` is one. */
export interface ReplySink {
  /** For logs and CLIENT LIST. */
  readonly remote: string;
  /** `chunk` is borrowed until the call returns. False asks to wait for `drained`. */
  write(chunk: Uint8Array): boolean;
  pause(): void;
  resume(): void;
  /** Sends what is buffered, then closes. */
  end(): void;
  /** Closes at once; what is buffered is lost. */
  destroy(): void;
}

/** A command as the server counts it. */
export interface CountedCommand {
  readonly command: Command;
  done(): void;
}

/** What a session needs of its server. */
export interface SessionHost extends Shared {
  readonly writer: ReplyWriter;
  readonly budget: ByteBudget;
  /** For replies that clients do not take. */
  readonly unsent: ByteBudget;
  /** Replies due, over all sessions. */
  due: number;
  /** The command by its name in lower case. */
  find(name: string): CountedCommand | undefined;
  /** Why a command of Redis is not offered; `undefined` for a name that is none. */
  refusal(name: string): string | undefined;
  failed(reply: string, cause?: unknown): void;
  /** Calls `session.flush` once, in a later turn. */
  flushSoon(session: RespSession): void;
}

const LETTERS_GET = (103 << 16) | (101 << 8) | 116;
const LETTERS_SET = (115 << 16) | (101 << 8) | 116;
/** What a sink may have taken in before it asks to wait. */
const SINK_BYTES = 256 * 1024;
/** Replies are sent on once there are as many bytes of them. */
const CHUNK_BYTES = 64 * 1024;
/** A browser sent here by a hostile page begins with one of these; Redis ends such a session at once, and so do we. */
const HTTP_WORDS = new Set(['post', 'host:']);

export class RespSession implements Call, SlotOwner {
  readonly shared: SessionHost;
  readonly node: RespNode;
  readonly client: ClientState;
  readonly request: RequestParser;
  readonly writer: ReplyWriter;

  readonly #sink: ReplySink;
  readonly #get: CountedCommand | undefined;
  readonly #set: CountedCommand | undefined;
  readonly #order = new KeyOrder();
  #slots: Queued[] = [];
  /** The first slot not yet sent; those before it are. */
  #first = 0;
  #protocol: 2 | 3 = 2;
  #running: Command | undefined;
  /** The last refusal under overload, encoded: they are nearly all alike. */
  #refusal: { readonly error: CoterieError; readonly reply: string; readonly bytes: Uint8Array } | undefined;
  /** Where the running request's result goes. */
  #slot: Awaited | undefined;
  /** A request waits for earlier ones. */
  #held = false;
  /** The client does not take its replies. */
  #choked = false;
  #paused = false;
  /** Bytes taken from the budget of replies that clients do not take. */
  #unsent = 0;
  /** No more requests are taken; behind the last reply the connection ends. */
  #ending = false;
  #closed = false;
  /** `flush` is to come. */
  #flushes = false;

  constructor(host: SessionHost, sink: ReplySink, id: number) {
    this.shared = host;
    this.node = host.node;
    this.writer = host.writer;
    this.#sink = sink;
    this.#get = host.find('get');
    this.#set = host.find('set');
    const now = host.node.nowMs();
    this.client = {
      id,
      remote: sink.remote,
      sinceMs: now,
      lastMs: now,
      lastCommand: '',
      name: '',
      libraryName: '',
      libraryVersion: '',
      bucket: DEFAULT_BUCKET,
      protocol: 2,
      identity: host.gate.open ? EVERYBODY : undefined,
    };
    this.request = new RequestParser(host.limits, host.budget, !host.gate.open);
  }

  /** Takes received bytes, borrowed until the call returns. */
  received(chunk: Uint8Array): void {
    if (this.#ending || this.#closed) return;
    this.client.lastMs = this.node.nowMs();
    if (!this.request.feed(chunk)) this.#overBudget();
    this.#pump();
  }

  /** The sink takes replies again. */
  drained(): void {
    if (!this.#choked || this.#closed) return;
    this.#choked = false;
    this.#sent();
    this.flush();
  }

  /** Sends the replies that have come, in order, and goes on with what waited for them. */
  flush(): void {
    this.#flushes = false;
    if (this.#closed) return;
    this.#drainSlots();
    this.#pump();
  }

  /** Takes no more requests; ends behind the replies still due. */
  finish(): void {
    this.#ending = true;
    this.flush();
  }

  /** The connection is gone. */
  gone(): void {
    this.#closed = true;
    this.request.close();
    this.#sent();
    this.shared.due -= this.#slots.length - this.#first;
    // What is still being gathered is given back when it ends (`settled`).
    for (const slot of this.#slots) if (slot.settled) slot.claim?.release();
    this.#slots = [];
    this.#first = 0;
  }

  // What commands call.

  answer<T>(result: Maybe<T>, write: (writer: ReplyWriter, result: T) => void, claim?: ByteClaim): void {
    if (!isPromise(result)) {
      write(this.writer, result);
      claim?.release();
      return;
    }
    const slot = this.#newSlot(write, claim);
    result.then(
      (value) => {
        slot.succeed(value);
      },
      (error: unknown) => {
        slot.fail(error);
      },
    );
  }

  reply<T>(write: (writer: ReplyWriter, result: T) => void, claim?: ByteClaim): Sink<T> {
    return this.#newSlot(write, claim);
  }

  #newSlot<T>(write: (writer: ReplyWriter, result: T) => void, claim: ByteClaim | undefined): Slot<T> {
    const command = this.#running;
    if (command === undefined) throw new Error('broken invariant: only a running command answers');
    const slot = new Slot(this, this.#protocol, command, write, claim);
    this.#slot = slot;
    return slot;
  }

  // What slots call.

  settled(slot: Awaited): void {
    this.#order.leave(slot.keys);
    if (this.#closed) {
      slot.claim?.release();
      return;
    }
    if (this.#slots[this.#first] !== slot && !this.#held) return;
    if (this.#flushes) return;
    this.#flushes = true;
    this.shared.flushSoon(this);
  }

  speak(protocol: 2 | 3): void {
    this.#protocol = protocol;
    this.writer.protocol = protocol;
    this.client.protocol = protocol;
  }

  admit(identity: Identity): void {
    this.client.identity = identity;
    this.request.stranger = false;
  }

  end(): void {
    this.#ending = true;
  }

  // The loop.

  #pump(): void {
    this.#held = false;
    this.writer.protocol = this.#protocol;
    while (!this.#ending && !this.#choked) {
      const state = this.request.next();
      if (state === 'more') break;
      if (state === 'broken') {
        this.#refuseInOrder(`ERR Protocol error: ${this.request.failure}`);
        this.#ending = true;
        break;
      }
      if (!this.#execute()) {
        this.request.hold();
        this.#held = true;
        break;
      }
      if (this.writer.length >= CHUNK_BYTES) this.#send();
    }
    if (!this.#ending && !this.request.settle()) this.#overBudget();
    this.#send();
    this.#end();
    const pause = !this.#ending && (this.#held || this.#choked);
    if (pause !== this.#paused && !this.#closed) {
      this.#paused = pause;
      if (pause) this.#sink.pause();
      else this.#sink.resume();
    }
  }

  /** False where the request must wait for earlier ones. */
  #execute(): boolean {
    const { request } = this;
    if (request.outgrown > 0) {
      this.#refuseInOrder(this.#outgrown());
      return true;
    }
    const letters = request.letters(0);
    const counted =
      letters === LETTERS_GET && this.#get !== undefined
        ? this.#get
        : letters === LETTERS_SET && this.#set !== undefined
          ? this.#set
          : this.shared.find(request.text(0).toLowerCase());
    if (counted === undefined) {
      this.#refuseInOrder(this.#unknown());
      return true;
    }
    const { command } = counted;
    const due = this.#slots.length - this.#first;
    const { pipeline, requests } = this.shared.limits;
    const full = due > 0 && (due >= pipeline || this.shared.due >= requests);
    // One more of a run of refusals takes no place.
    if (full && this.#run() === undefined) return false;
    // Before anything is done for it: under overload most requests end here, and what they cost is taken from those that are served.
    const refusal = command.keys === 'none' || this.client.identity === undefined ? undefined : this.node.refusal();
    if (refusal !== undefined && this.#shed(counted, refusal, due, full)) return true;
    if (full) return false;
    if (due > 0) {
      if (command.alone === true || this.#order.mustWait(command, request)) return false;
      // Behind a command on many keys everything waits.
      if (this.#running?.alone === true) return false;
    }
    this.#running = command;
    this.client.lastCommand = command.name;
    counted.done();
    const mark = this.writer.length;
    const deferred = this.#perform(command, mark);
    if (due > 0 && !deferred) this.#queue(mark);
    return true;
  }

  /** Refuses a request for which nothing was done; false where there is no place for the reply. */
  #shed(counted: CountedCommand, error: CoterieError, due: number, full: boolean): boolean {
    const { reply, bytes } = this.#encoded(error);
    if (due === 0) {
      this.writer.raw(bytes);
    } else if (this.#run()?.add(bytes) !== true) {
      if (full) return false;
      this.#slots.push(new Refusals(this.#protocol, bytes, CHUNK_BYTES));
      this.shared.due += 1;
    }
    this.client.lastCommand = counted.command.name;
    counted.done();
    this.shared.failed(reply);
    return true;
  }

  /** The run of refusals at the end of the line, where it can take one more. */
  #run(): Refusals | undefined {
    const last = this.#slots.at(-1);
    return last instanceof Refusals && last.open && last.protocol === this.#protocol ? last : undefined;
  }

  #encoded(error: CoterieError): { readonly reply: string; readonly bytes: Uint8Array } {
    const known = this.#refusal;
    if (known?.error === error) return known;
    // Nothing was done, so that it is all the same whether it was to write.
    const reply = replyOf(error, false);
    if (known?.reply === reply) {
      this.#refusal = { ...known, error };
      return known;
    }
    const mark = this.writer.length;
    this.writer.error(reply);
    const bytes = Uint8Array.from(this.writer.view(mark));
    this.writer.cut(mark);
    this.#refusal = { error, reply, bytes };
    return this.#refusal;
  }

  /** Answers whether the reply comes later. */
  #perform(command: Command, mark: number): boolean {
    this.#slot = undefined;
    try {
      const { arity } = command;
      const { argc } = this.request;
      if (arity > 0 ? argc !== arity : argc < -arity) throw wrongArity(command.name);
      if (this.client.identity === undefined && command.stranger !== true) throw new ReplyError('NOAUTH Authentication required.');
      command.run(this);
      const slot = this.#slotNow();
      if (slot === undefined) return false;
      if (!slot.settled) {
        this.#enqueue(slot, command);
        return true;
      }
      slot.reply(this.writer);
    } catch (error) {
      this.writer.cut(mark);
      this.writer.error(this.failure(error, command));
    }
    return false;
  }

  /** It changes within a command's `run`, which narrowing would not see. */
  #slotNow(): Awaited | undefined {
    return this.#slot;
  }

  #enqueue(slot: Awaited, command: Command): void {
    slot.queued = true;
    slot.keys = this.#order.enter(command, this.request);
    this.#slots.push(slot);
    this.shared.due += 1;
  }

  /** Moves the reply written from `mark` on behind the unfinished requests. */
  #queue(mark: number): void {
    this.#lineUp(new Ready(this.#protocol, Uint8Array.from(this.writer.view(mark))), mark);
  }

  /** The reply takes its place behind the unfinished requests; it was written from `mark` on. */
  #lineUp(ready: Ready, mark: number): void {
    this.#slots.push(ready);
    this.writer.cut(mark);
    this.shared.due += 1;
  }

  #drainSlots(): void {
    while (this.#first < this.#slots.length && !this.#choked) {
      const slot = this.#slots[this.#first];
      if (slot?.settled !== true) break;
      this.#first += 1;
      this.shared.due -= 1;
      this.writer.protocol = slot.protocol;
      slot.reply(this.writer);
      if (this.writer.length >= CHUNK_BYTES) this.#send();
    }
    if (this.#first === this.#slots.length) {
      this.#slots.length = 0;
      this.#first = 0;
    } else if (this.#first >= this.shared.limits.pipeline) {
      this.#slots.splice(0, this.#first);
      this.#first = 0;
    }
  }

  #send(): void {
    if (this.writer.length === 0) return;
    if (!this.#closed && !this.#sink.write(this.writer.view())) this.#choke(this.writer.length);
    this.writer.cut(0);
  }

  /** The client does not take its replies: they are counted until it does, or the session ends. */
  #choke(bytes: number): void {
    this.#choked = true;
    const { unsent } = this.shared;
    const held = bytes + SINK_BYTES;
    if (unsent.take(held)) {
      this.#unsent += held;
      return;
    }
    this.shared.failed('BUSY');
    this.#ending = true;
    this.#sink.destroy();
  }

  #sent(): void {
    this.shared.unsent.give(this.#unsent);
    this.#unsent = 0;
  }

  #end(): void {
    if (!this.#ending || this.#closed || this.#slots.length > this.#first) return;
    this.#closed = true;
    this.request.close();
    this.#sink.end();
  }

  // Failures.

  failure(error: unknown, command: Command): string {
    if (isReplyError(error)) {
      this.shared.failed(error.reply);
      return error.reply;
    }
    const coded = asCoterieError(error);
    const reply = replyOf(coded, command.writes);
    this.shared.failed(reply, coded.code === 'INTERNAL' ? (coded.cause ?? coded) : undefined);
    return reply;
  }

  /** Replies with an error behind the unfinished requests. */
  #refuseInOrder(reply: string): void {
    this.shared.failed(reply);
    const mark = this.writer.length;
    this.writer.error(reply);
    if (this.#slots.length > this.#first) this.#queue(mark);
  }

  #unknown(): string {
    const { request } = this;
    const given = request.text(0);
    const name = given.toLowerCase();
    if (HTTP_WORDS.has(name)) {
      this.#ending = true;
      return 'ERR this is the Redis protocol; HTTP has a port of its own';
    }
    const reason = this.shared.refusal(name);
    if (reason !== undefined) return `ERR UNSUPPORTED ${reason}`;
    let some = '';
    for (let index = 1; index < request.argc && some.length < 128; index += 1) {
      some += `'${request.text(index).slice(0, 128 - some.length)}' `;
    }
    return `ERR unknown command '${given.slice(0, 128)}', with args beginning with: ${some}`;
  }

  #outgrown(): string {
    const { outgrown } = this.request;
    const { limits } = this.node;
    if (outgrown > limits.pairBytes) return replyOf(pairTooLarge(outgrown, limits), false);
    const most = this.shared.limits.requestBytes;
    return replyOf(new CoterieError('REQUEST_INVALID', `a request has at most ${most} bytes`), false);
  }

  #overBudget(): void {
    this.#refuseInOrder('BUSY BUSY this node holds as many unfinished requests as it can');
    this.#ending = true;
  }
}
