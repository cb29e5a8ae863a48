/**
 * Brings a client's write to its coordinator: the first healthy primary that is willing; where none is healthy, the first fallback, if fallbacks may be
 * counted, and else a primary that can at least be reached.
 *
 * Invariants: another primary is tried only while it is certain that nothing happened, or, for a blind write whose coordinator is silent, as a second
 * one (hedged-write.ts); what is doubtful ends with outcome `unknown`, and only the client, with its operation id, may try again.
 */

import { CoterieError, type ErrorCode } from '../base/errors.ts';
import { type CoordinateMessage, decodeCoordinate, decodeCoordinateAnswer, encodeCoordinate } from '../transport/messages/coordinate.ts';
import { MESSAGE } from '../transport/messages/message-type.ts';
import type { Reply } from '../transport/request.ts';
import type { Sink } from './answer.ts';
import type { NodeCore } from './core.ts';
import { type Attempt, remainingMs, type WriteAnswer, type WriteCommand } from './write-command.ts';
import { type Coordinators, HedgedWrite } from './hedged-write.ts';
import { SECOND_WITHIN_MS } from './write-hedging.ts';
import { WriteOperation } from './write-operation.ts';

/** Refusals that another primary may not share. */
export const ELSEWHERE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'NOT_SYNCHRONISED',
  'NO_QUORUM',
  'CLOCK_SKEW',
  'CLOSED',
  'CANCELLED',
  'DISK_FULL',
  'DISK_FAILED',
  'DATA_DAMAGED',
  'PEER_UNREACHABLE',
  'EPOCH_STALE',
]);

/** What an ambiguous end of a forward is called. */
export const DOUBTFUL: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['PEER_UNREACHABLE', 'CLOSED', 'CANCELLED', 'TIMEOUT', 'INTERNAL']);

/** What says of a forwarded write that another coordinator may be asked for it. */
type AttemptFields = Pick<CoordinateMessage, 'attempt' | 'beginWithinMs' | 'second' | 'latestMs' | 'silent'>;

/** No second coordinator is asked. */
export const UNNAMED: AttemptFields = { attempt: 0, beginWithinMs: 0, second: false, latestMs: 0, silent: 0 };

/** The position of the lowest bit of a mask that has one. */
function lowestBit(mask: number): number {
  return 31 - Math.clz32(mask & -mask);
}

export class WriteRouter implements Sink<WriteAnswer>, Coordinators {
  readonly #core: NodeCore;
  /** Borrows its bytes within the call that brought it; afterwards they come from `#operation` or `#payload`. */
  readonly #command: WriteCommand;
  readonly #sink: Sink<WriteAnswer>;
  /** Positions of the primaries that were tried, as bits. */
  #tried = 0;
  /** Members that were asked to stand in. */
  #standInsTried: number[] | undefined;
  #last: CoterieError | undefined;
  /** The own attempt at coordinating, which owns its bytes if it had to wait. */
  #operation: WriteOperation | undefined;
  /** The encoded command, once it was forwarded. */
  #payload: Uint8Array | undefined;
  /** The coordinator, as a member, that a second one may be asked beside; -1 where there is none. */
  #first = -1;
  /** Position of the primary that is asked as the second. */
  #second = -1;
  /** Names the write once a second coordinator may be asked for it. */
  #id = 0;
  /** The latest time that the first coordinator may give it. */
  #latestMs = 0;

  constructor(core: NodeCore, command: WriteCommand, sink: Sink<WriteAnswer>) {
    this.#core = core;
    this.#command = command;
    this.#sink = sink;
  }

  start(): void {
    const { members } = this.#core;
    const { replicas } = this.#command;
    const left = members.reachableBits(replicas) & ~this.#tried;
    const healthy = members.healthyBits(replicas) & left;
    if (healthy !== 0) {
      this.#coordinateAt(lowestBit(healthy));
      return;
    }
    const standIn = this.#command.sloppy ? this.#nextStandIn() : undefined;
    if (standIn !== undefined) this.#hand(standIn);
    else if (left !== 0) this.#coordinateAt(lowestBit(left));
    else this.#sink.fail(this.#last ?? new CoterieError('NO_QUORUM', 'no replica of the key can be reached', { outcome: 'none' }));
  }

  #coordinateAt(position: number): void {
    this.#tried |= 1 << position;
    this.#hand(this.#command.replicas[position] ?? -1);
  }

  /** The first fallback that was not tried. */
  #nextStandIn(): number | undefined {
    const { bySlot, spare } = this.#core.fallbacks.ofKey(this.#command.diskKey);
    const tried = (this.#standInsTried ??= []);
    const member = [...bySlot, ...spare].find((candidate) => candidate >= 0 && !tried.includes(candidate));
    if (member !== undefined) tried.push(member);
    return member;
  }

  #hand(member: number): void {
    this.#first = -1;
    if (member === this.#core.members.self) {
      this.#operation = new WriteOperation(this.#core, this.#present(), this);
      this.#operation.start();
    } else {
      this.#forward(member);
    }
  }

  succeed(answer: WriteAnswer): void {
    this.#sink.succeed(answer);
  }

  /** A coordinator, this node or another, has failed. */
  fail(error: CoterieError): void {
    if (this.#first >= 0 && error.code === 'CLOCK_SKEW' && error.outcome === 'none') {
      this.#askFirstAlone();
      return;
    }
    // A fallback that is full says nothing of another one.
    const full = error.code === 'BUSY' && this.#standInsTried !== undefined;
    if (error.outcome === 'none' && (full || ELSEWHERE.has(error.code))) {
      this.#last = error;
      this.start();
    } else {
      this.#sink.fail(error);
    }
  }

  #forward(member: number): void {
    const { members, transport, clock, leases, writeHedging } = this.#core;
    const name = members.nameOf(member);
    const admitted = writeHedging.admits(this.#command, name, clock.monotonicMs());
    const unseenMs = admitted ? transport.unseenMs(name) : Infinity;
    const afterMs = writeHedging.afterMs(unseenMs);
    if (afterMs === undefined) {
      this.#send(member, this.#encode(UNNAMED), this);
      return;
    }
    this.#first = member;
    if (this.#id === 0) this.#id = this.#core.attemptIds.next();
    const withinMs = writeHedging.firstWithinMs(afterMs, unseenMs);
    this.#latestMs = Math.max(clock.wallMs(), leases.latestMs) + Math.ceil(withinMs + unseenMs);
    const hedged = new HedgedWrite(this.#core, this, this);
    this.#send(member, this.#encode(this.#attempt(withinMs, false, 0)), hedged);
    hedged.begin(afterMs);
  }

  /** It refused for its clock's sake. */
  #askFirstAlone(): void {
    const { members, clock, writeHedging } = this.#core;
    const member = this.#first;
    this.#first = -1;
    writeHedging.setUnfit(members.nameOf(member), clock.monotonicMs());
    this.#send(member, this.#encode(UNNAMED), this);
  }

  heardMs(): number {
    const { members, transport } = this.#core;
    return transport.heardMs(members.nameOf(this.#first));
  }

  /** The next healthy primary. */
  findSecond(): number | undefined {
    const { members, transport, writeHedging } = this.#core;
    const { replicas } = this.#command;
    const healthy = members.healthyBits(replicas) & ~this.#tried;
    if (healthy === 0 || this.leftMs() <= 0) return undefined;
    this.#second = lowestBit(healthy);
    const member = replicas[this.#second] ?? -1;
    const unseenMs = member === members.self ? 0 : transport.unseenMs(members.nameOf(member));
    return writeHedging.isSoonSeen(unseenMs) ? unseenMs : undefined;
  }

  askSecond(sink: Sink<WriteAnswer>, silent: boolean): void {
    const { members, clock } = this.#core;
    const { replicas } = this.#command;
    const member = replicas[this.#second] ?? -1;
    const position = silent ? replicas.indexOf(this.#first) : -1;
    const silentBits = position < 0 ? 0 : 1 << position;
    this.#tried |= 1 << this.#second;
    if (member === members.self) {
      const beginByMs = clock.monotonicMs() + SECOND_WITHIN_MS;
      const attempt: Attempt = { id: this.#id, beginByMs, second: true, latestMs: this.#latestMs, silent: silentBits };
      new WriteOperation(this.#core, { ...this.#present(), attempt }, sink).start();
    } else this.#send(member, this.#encode(this.#attempt(SECOND_WITHIN_MS, true, silentBits)), sink);
  }

  #attempt(beginWithinMs: number, second: boolean, silent: number): AttemptFields {
    return { attempt: this.#id, beginWithinMs, second, latestMs: this.#latestMs, silent };
  }

  #send(member: number, payload: Uint8Array, sink: Sink<WriteAnswer>): void {
    const { members, transport, topology, metrics } = this.#core;
    metrics.counts.forwards.add();
    transport.request(members.nameOf(member), MESSAGE.coordinate, payload, this.#remainingMs(), topology.epoch, (reply) => {
      passOn(reply, sink);
    });
  }

  /** The command as it goes to a coordinator; what was sent before holds its bytes. */
  #encode(attempt: AttemptFields): Uint8Array {
    const { bucket, key, kind, expireAtMs, keepTtl, w, operationId, sloppy } = this.#command;
    // An own attempt that failed at once has not made the bytes its own; what was sent is.
    const { value, context } = this.#payload === undefined ? (this.#operation?.command ?? this.#command) : this.#present();
    const fields = { bucket: bucket.id, key, kind, value, expireAtMs, keepTtl, w, context, operationId, sloppy };
    return (this.#payload = encodeCoordinate({ ...fields, ...attempt }));
  }

  /** The command with bytes that are still there. */
  #present(): WriteCommand {
    if (this.#payload === undefined) return this.#command;
    const { value, context } = decodeCoordinate(this.#payload);
    return { ...this.#command, value, context };
  }

  leftMs(): number {
    return this.#command.dueMs - this.#core.clock.monotonicMs();
  }

  #remainingMs(): number {
    return remainingMs(this.#command, this.#core.clock.monotonicMs());
  }
}

/** A coordinator's answer to whoever asked it. */
function passOn(reply: Reply, sink: Sink<WriteAnswer>): void {
  if (reply.kind === 'reply') {
    const answer = decodeCoordinateAnswer(reply.payload);
    const { context } = answer;
    sink.succeed({ ...answer, context: context === undefined ? undefined : new Uint8Array(context) });
    return;
  }
  const { code, message, outcome } = reply;
  // A time-out is told as who counted it tells it: the coordinator, with the acknowledgements it had, or the wait for the coordinator.
  const silent = outcome === 'unknown' && DOUBTFUL.has(code) && code !== 'TIMEOUT';
  sink.fail(new CoterieError(silent ? 'TIMEOUT' : code, silent ? `the coordinator did not answer (${code})` : message, { outcome }));
}
