/**
 * One write to a strong key at its coordinator: performs what cluster/quorum/strong-write.ts decides. Any node can be the coordinator.
 *
 * Invariants: the dot in the tag comes from a durable lease, and was never used before; the value is encoded once, under one tag; a failure
 * before anything was sent to be stored has outcome `none`.
 */

import { asCoterieError, CoterieError, type ErrorCode, type Outcome } from '../base/errors.ts';
import type { Timer } from '../env/clock.ts';
import {
  newStrongWrite,
  type Phase,
  type StrongWriteEvent,
  type StrongWriteOut,
  type StrongWriteState,
  strongWriteStep,
} from '../cluster/quorum/strong-write.ts';
import { partitionOfDiskKey } from '../cluster/ring/token.ts';
import type { RegisterRecord } from '../cluster/versioning/register.ts';
import { encodeRegister } from '../cluster/versioning/register-codec.ts';
import { makeTag, type Tag } from '../cluster/versioning/tag.ts';
import { MESSAGE } from '../transport/messages/message-type.ts';
import {
  decodeStrongAcceptAnswer,
  decodeStrongPrepareAnswer,
  decodeStrongReadAnswer,
  encodeStrongAccept,
  encodeStrongPrepare,
  encodeStrongRead,
} from '../transport/messages/strong.ts';
import type { Reply } from '../transport/request.ts';
import type { Sink } from './answer.ts';
import { CHECKSUM, type NodeCore } from './core.ts';
import type { Accepted, HeldTag, Promised } from './registers.ts';
import { bodyHash, owned, remainingMs, type WriteAnswer, type WriteCommand } from './write-command.ts';

/** Copies keep going out for so long after a client has stopped waiting. */
const LEAST_REPLICATION_MS = 1000;
/** Attempts that meet wait for up to so long, each of them differently long. */
const MOST_PAUSE_MS = 40;

export class StrongWriteOperation implements StrongWriteOut {
  readonly #core: NodeCore;
  readonly #command: WriteCommand;
  readonly #sink: Sink<WriteAnswer>;
  #state: StrongWriteState | undefined;
  /** The encoded value, once it has its tag. */
  #bytes: Uint8Array | undefined;
  #deadline: Timer | undefined;
  #over = false;

  constructor(core: NodeCore, command: WriteCommand, sink: Sink<WriteAnswer>) {
    this.#core = core;
    // Every write waits for others before it stores anything.
    this.#command = owned(command);
    this.#sink = sink;
  }

  get command(): WriteCommand {
    return this.#command;
  }

  start(): void {
    this.#deadline = this.#core.wheel.after(this.#remainingMs(), () => {
      if (this.#state !== undefined) this.#step({ kind: 'deadline' });
      else this.#refuse(new CoterieError('TIMEOUT', 'the write could not begin in time', { outcome: 'none' }));
    });
    this.#begin();
  }

  #begin(): void {
    if (this.#over) return;
    const { standing, leases } = this.#core;
    const reason = standing.refusesToCoordinate();
    if (reason !== undefined) {
      this.#refuse(new CoterieError('NOT_SYNCHRONISED', `this node cannot coordinate writes: ${reason}`, { outcome: 'none' }));
      return;
    }
    if (leases.ready()) {
      this.#run();
      return;
    }
    leases.renew().then(
      () => {
        this.#begin();
      },
      (error: unknown) => {
        this.#refuse(asCoterieError(error));
      },
    );
  }

  #run(): void {
    const { leases, policies, members } = this.#core;
    const command = this.#command;
    const { bucket, replicas, operationId, w } = command;
    const dot = leases.dot();
    this.#state = newStrongWrite({
      n: replicas.length,
      r: bucket.R,
      w,
      operation: operationId === undefined ? undefined : policies.operation({ id: operationId, bodyHash: bodyHash(command) }),
      tagOf: (counter) => policies.writeTag(command.diskKey, counter, dot),
      ballotOf: (attempt) => makeTag(attempt, dot),
    });
    this.#step({ kind: 'start', reachable: members.reachableBits(replicas) });
  }

  askTag(replica: number): void {
    const { registers } = this.#core;
    const { diskKey } = this.#command;
    const told = ({ tag, live, counts }: HeldTag): void => {
      if (counts) this.#step({ kind: 'tag', replica, answer: { tag, live } });
      else this.#failed('ask', 1, replica, 'NOT_SYNCHRONISED');
    };
    if (this.#isOwn(replica)) {
      // What is above a copy that is lost yet is above what is left of it too.
      registers.read(diskKey, false, told, (error) => {
        this.#failed('ask', 1, replica, error.code);
      });
      return;
    }
    this.#ask(replica, MESSAGE.strongRead, encodeStrongRead({ key: diskKey, value: false, durable: false }), (reply) => {
      if (reply.kind === 'reply') told(decodeStrongReadAnswer(reply.payload));
      else this.#failed('ask', 1, replica, reply.code);
    });
  }

  prepare(replica: number, attempt: number): void {
    const { registers } = this.#core;
    const { diskKey, operationId: id = '' } = this.#command;
    const ballot = this.#state?.rules.ballotOf(attempt) ?? '';
    const told = ({ tag, live, counts, outvotedBy, record }: Promised): void => {
      if (!counts) this.#failed('ask', attempt, replica, 'NOT_SYNCHRONISED');
      else if (outvotedBy > 0) this.#step({ kind: 'outvoted', attempt, replica, by: outvotedBy });
      else this.#step({ kind: 'promised', attempt, replica, answer: { tag, live }, record });
    };
    if (this.#isOwn(replica)) {
      registers.prepare(diskKey, id, ballot, told, (error) => {
        this.#failed('ask', attempt, replica, error.code);
      });
      return;
    }
    this.#ask(replica, MESSAGE.strongPrepare, encodeStrongPrepare({ key: diskKey, id, ballot }), (reply) => {
      if (reply.kind === 'reply') told(decodeStrongPrepareAnswer(reply.payload));
      else this.#failed('ask', attempt, replica, reply.code);
    });
  }

  accept(replica: number, attempt: number, record: RegisterRecord): void {
    const { registers } = this.#core;
    const { diskKey } = this.#command;
    const told = ({ counts, outvotedBy }: Accepted): void => {
      if (!counts) this.#failed('agree', attempt, replica, 'NOT_SYNCHRONISED');
      else if (outvotedBy > 0) this.#step({ kind: 'outvoted', attempt, replica, by: outvotedBy });
      else this.#step({ kind: 'accepted', attempt, replica });
    };
    if (this.#isOwn(replica)) {
      registers.accept(diskKey, record, told, (error) => {
        this.#failed('agree', attempt, replica, error.code);
      });
      return;
    }
    this.#ask(replica, MESSAGE.strongAccept, encodeStrongAccept({ key: diskKey, record }), (reply) => {
      if (reply.kind === 'reply') told(decodeStrongAcceptAnswer(reply.payload));
      else this.#failed('agree', attempt, replica, reply.code);
    });
  }

  store(replica: number, tag: Tag): void {
    const { members, store, encoder, transport, topology } = this.#core;
    const { diskKey, replicas, kind, value } = this.#command;
    this.#bytes ??= encodeRegister({ tag, value: kind === 'delete' ? undefined : value, records: [] }, CHECKSUM);
    const bytes = this.#bytes;
    // Of registers nothing is collected: it only tells a store with an old disk that there is something to learn first.
    const generation = store.generations.of(partitionOfDiskKey(topology, diskKey));
    if (this.#isOwn(replica)) {
      store.merge(diskKey, bytes, generation, (error) => {
        if (error === undefined) this.#step({ kind: 'stored', replica });
        else this.#step({ kind: 'storeFailed', replica, code: error.code, certain: error.outcome === 'none' });
      });
      return;
    }
    const payload = encoder.writeRequest(diskKey, bytes, generation);
    const deadlineMs = Math.max(LEAST_REPLICATION_MS, this.#remainingMs());
    transport.request(members.nameOf(replicas[replica] ?? -1), MESSAGE.write, payload, deadlineMs, topology.epoch, (reply) => {
      if (reply.kind === 'reply') this.#step({ kind: 'stored', replica });
      else this.#step({ kind: 'storeFailed', replica, code: reply.code, certain: reply.outcome === 'none' });
    });
  }

  pause(attempt: number): void {
    const { metrics, random, wheel } = this.#core;
    metrics.counts.strongContests.add();
    wheel.after(1 + (random.u32() % (MOST_PAUSE_MS * Math.min(attempt, 8))), () => {
      this.#step({ kind: 'again' });
    });
  }

  acknowledge(existed: boolean, repeated: boolean): void {
    const { counts } = this.#core.metrics;
    this.#deadline?.cancel();
    counts.coordinated.add();
    counts.strongWrites.add();
    if (repeated) counts.operationsRepeated.add();
    this.#sink.succeed({ context: undefined, existed, siblings: this.#command.kind === 'delete' ? 0 : 1, changed: true, fallbacks: 0 });
  }

  fail(code: ErrorCode, message: string, outcome: Outcome): void {
    this.#deadline?.cancel();
    this.#sink.fail(new CoterieError(code, message, { outcome }));
  }

  settle(): void {
    this.#deadline?.cancel();
  }

  #isOwn(replica: number): boolean {
    return this.#command.replicas[replica] === this.#core.members.self;
  }

  #failed(phase: Phase, attempt: number, replica: number, code: ErrorCode): void {
    if (code === 'DATA_DAMAGED' && this.#isOwn(replica)) this.#core.metrics.counts.damagedReads.add();
    this.#step({ kind: 'failed', phase, attempt, replica, code });
  }

  #ask(replica: number, type: number, payload: Uint8Array, onReply: (reply: Reply) => void): void {
    const { members, transport, topology } = this.#core;
    const name = members.nameOf(this.#command.replicas[replica] ?? -1);
    transport.request(name, type, payload, this.#remainingMs(), topology.epoch, onReply);
  }

  #step(event: StrongWriteEvent): void {
    if (this.#state !== undefined) strongWriteStep(this.#state, event, this);
  }

  /** Fails before any effect. */
  #refuse(error: CoterieError): void {
    if (this.#over) return;
    this.#over = true;
    this.#deadline?.cancel();
    const { code, message, cause } = error;
    this.#sink.fail(new CoterieError(code, message, { outcome: 'none', cause }));
  }

  #remainingMs(): number {
    return remainingMs(this.#command, this.#core.clock.monotonicMs());
  }
}
