/**
 * Brings a client's write to its coordinator: the first healthy primary that is willing; where none is healthy, the first fallback, if fallbacks may be
 * counted, and else a primary that can at least be reached.
 *
 * Invariants: a write is sent on once; another primary is tried only while it is certain that nothing happened; what is doubtful ends with
 * outcome `unknown`, and only the client, with its operation id, may try again.
 */

import { CoterieError, type ErrorCode } from '../base/errors.ts';
import { decodeCoordinate, decodeCoordinateAnswer, encodeCoordinate } from '../transport/messages/coordinate.ts';
import { MESSAGE } from '../transport/messages/message-type.ts';
import type { Reply } from '../transport/request.ts';
import type { Sink } from './answer.ts';
import type { NodeCore } from './core.ts';
import type { WriteAnswer, WriteCommand } from './write-command.ts';
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

/** The position of the lowest bit of a mask that has one. */
function lowestBit(mask: number): number {
  return 31 - Math.clz32(mask & -mask);
}

export class WriteRouter implements Sink<WriteAnswer> {
  readonly #core: NodeCore;
  /** Borrows its bytes within the call that brought it; afterwards they come from `#operation` or `#payload`. */
  readonly #command: WriteCommand;
  readonly #sink: Sink<WriteAnswer>;
  readonly #startMs: number;
  /** Positions of the primaries that were tried, as bits. */
  #tried = 0;
  /** Members that were asked to stand in. */
  #standInsTried: number[] | undefined;
  #last: CoterieError | undefined;
  /** The own attempt at coordinating, which owns its bytes if it had to wait. */
  #operation: WriteOperation | undefined;
  /** The encoded command, once it was forwarded. */
  #payload: Uint8Array | undefined;

  constructor(core: NodeCore, command: WriteCommand, sink: Sink<WriteAnswer>) {
    this.#core = core;
    this.#command = command;
    this.#sink = sink;
    this.#startMs = core.clock.monotonicMs();
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
    const { members, transport, topology, metrics } = this.#core;
    metrics.counts.forwards.add();
    this.#payload ??= this.#encode();
    const name = members.nameOf(member);
    transport.request(name, MESSAGE.coordinate, this.#payload, this.#remainingMs(), topology.epoch, (reply) => {
      this.#onReply(reply);
    });
  }

  #encode(): Uint8Array {
    const command = this.#operation?.command ?? this.#command;
    const { bucket, key, kind, value, expireAtMs, keepTtl, w, context, operationId, sloppy } = command;
    return encodeCoordinate({ bucket: bucket.id, key, kind, value, expireAtMs, keepTtl, w, context, operationId, sloppy });
  }

  /** The command with bytes that are still there, and the time that is left. */
  #present(): WriteCommand {
    if (this.#payload === undefined) return this.#command;
    const { value, context } = decodeCoordinate(this.#payload);
    return { ...this.#command, value, context, timeoutMs: this.#remainingMs() };
  }

  #onReply(reply: Reply): void {
    if (reply.kind === 'reply') {
      const answer = decodeCoordinateAnswer(reply.payload);
      const { context } = answer;
      this.#sink.succeed({ ...answer, context: context === undefined ? undefined : new Uint8Array(context) });
      return;
    }
    const { code, message, outcome } = reply;
    if (outcome === 'unknown') {
      // A time-out is told as who counted it tells it: the coordinator, with the acknowledgements it had, or the wait for the coordinator.
      const silent = DOUBTFUL.has(code) && code !== 'TIMEOUT';
      this.#sink.fail(
        new CoterieError(silent ? 'TIMEOUT' : code, silent ? `the coordinator did not answer (${code})` : message, { outcome }),
      );
      return;
    }
    this.fail(new CoterieError(code, message, { outcome }));
  }

  #remainingMs(): number {
    return Math.max(1, Math.ceil(this.#startMs + this.#command.timeoutMs - this.#core.clock.monotonicMs()));
  }
}
