/**
 * Brings a client's write to a coordinator: this node itself, which saves a hop; a primary, where this store may not make tags now (it is not
 * synchronised, say), or reaches too few replicas.
 *
 * Any number of coordinators may write one key at once: tags order them, not locks. As everywhere, another one is tried only while it is certain
 * that nothing happened; what is doubtful ends with outcome `unknown`.
 */

import { CoterieError } from '../base/errors.ts';
import { decodeCoordinateAnswer, encodeCoordinate } from '../transport/messages/coordinate.ts';
import { MESSAGE } from '../transport/messages/message-type.ts';
import type { Sink } from './answer.ts';
import type { NodeCore } from './core.ts';
import { StrongWriteOperation } from './strong-write-operation.ts';
import { remainingMs, type WriteAnswer, type WriteCommand } from './write-command.ts';
import { DOUBTFUL, ELSEWHERE, UNNAMED } from './write-router.ts';

export class StrongRouter implements Sink<WriteAnswer> {
  readonly #core: NodeCore;
  readonly #sink: Sink<WriteAnswer>;
  readonly #operation: StrongWriteOperation;
  /** Positions of the primaries that were tried, as bits. */
  #tried = 0;
  #payload: Uint8Array | undefined;

  constructor(core: NodeCore, command: WriteCommand, sink: Sink<WriteAnswer>) {
    this.#core = core;
    this.#sink = sink;
    this.#operation = new StrongWriteOperation(core, command, this);
  }

  start(): void {
    const own = this.#operation.command.replicas.indexOf(this.#core.members.self);
    if (own >= 0) this.#tried = 1 << own;
    this.#operation.start();
  }

  succeed(answer: WriteAnswer): void {
    this.#sink.succeed(answer);
  }

  /** A coordinator, this node or another, has failed. */
  fail(error: CoterieError): void {
    if (error.outcome !== 'none' || !ELSEWHERE.has(error.code)) {
      this.#sink.fail(error);
      return;
    }
    const { members } = this.#core;
    const { replicas } = this.#operation.command;
    const left = members.reachableBits(replicas) & ~this.#tried;
    const healthy = members.healthyBits(replicas) & left;
    if (left === 0 || this.#remainingMs() <= 1) {
      this.#sink.fail(error);
      return;
    }
    const position = members.pick(healthy === 0 ? left : healthy);
    this.#tried |= 1 << position;
    this.#forward(replicas[position] ?? -1);
  }

  #forward(member: number): void {
    const { members, transport, topology, metrics } = this.#core;
    metrics.counts.forwards.add();
    this.#payload ??= encodeCoordinate({ ...this.#operation.command, ...UNNAMED, bucket: this.#operation.command.bucket.id });
    transport.request(members.nameOf(member), MESSAGE.coordinate, this.#payload, this.#remainingMs(), topology.epoch, (reply) => {
      if (reply.kind === 'reply') {
        const { existed, siblings, changed } = decodeCoordinateAnswer(reply.payload);
        this.#sink.succeed({ context: undefined, existed, siblings, changed, fallbacks: 0 });
        return;
      }
      const { code, message, outcome } = reply;
      const silent = outcome === 'unknown' && DOUBTFUL.has(code) && code !== 'TIMEOUT';
      const told = silent ? `the coordinator did not answer (${code})` : message;
      this.fail(new CoterieError(silent ? 'TIMEOUT' : code, told, { outcome }));
    });
  }

  #remainingMs(): number {
    return remainingMs(this.#operation.command, this.#core.clock.monotonicMs());
  }
}
