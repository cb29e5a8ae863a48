/**
 * One read of a strong key: performs what cluster/quorum/strong-read.ts decides.
 *
 * Invariants: the answer owns its bytes if it is later than the call that asked; whatever a replica sends that is damaged counts as no answer;
 * nothing is asked of anybody after the deadline.
 */

import { asCoterieError, CoterieError, type ErrorCode } from '../base/errors.ts';
import type { Timer } from '../env/clock.ts';
import {
  newStrongRead,
  type StrongReadEvent,
  type StrongReadOut,
  type StrongReadState,
  strongReadStep,
  type Tagged,
} from '../cluster/quorum/strong-read.ts';
import { verifyChecksum } from '../cluster/versioning/codec.ts';
import { readTag } from '../cluster/versioning/register-codec.ts';
import { NO_TAG } from '../cluster/versioning/tag.ts';
import { partitionOfDiskKey } from '../cluster/ring/token.ts';
import { MESSAGE } from '../transport/messages/message-type.ts';
import { decodeStrongReadAnswer, encodeStrongRead } from '../transport/messages/strong.ts';
import type { Reply } from '../transport/request.ts';
import type { Sink } from './answer.ts';
import { CHECKSUM, type NodeCore } from './core.ts';
import type { ReadQuestion } from './read-operation.ts';

const HEDGE: StrongReadEvent = { kind: 'hedge' };
const DEADLINE: StrongReadEvent = { kind: 'deadline' };

export interface StrongReadQuestion extends ReadQuestion {
  /** How many replicas must hold the answer: the bucket's W. */
  readonly w: number;
}

export class StrongReadOperation implements StrongReadOut {
  readonly #core: NodeCore;
  readonly #question: StrongReadQuestion;
  readonly #sink: Sink<Tagged>;
  readonly #state: StrongReadState;
  readonly #startMs: number;
  #deadline: Timer | undefined;
  #hedge: Timer | undefined;
  #valueFrom = -1;

  constructor(core: NodeCore, question: StrongReadQuestion, sink: Sink<Tagged>) {
    this.#core = core;
    this.#question = question;
    this.#sink = sink;
    const { replicas, r, w } = question;
    this.#state = newStrongRead(replicas.length, r, core.policies.writesBack() ? w : 1);
    this.#startMs = core.clock.monotonicMs();
  }

  start(): void {
    const { members, standing, hedging, wheel } = this.#core;
    const { replicas, timeoutMs } = this.#question;
    hedging.began();
    let reachable = members.reachableBits(replicas);
    const own = replicas.indexOf(members.self);
    // A store that does not count would only answer itself that it does not.
    if (own >= 0 && !standing.countsInReads()) reachable &= ~(1 << own);
    const healthy = members.healthyBits(replicas) & reachable;
    const source = own >= 0 && (reachable & (1 << own)) !== 0 ? own : members.pick(healthy === 0 ? reachable : healthy);
    this.#step({ kind: 'start', reachable, source });
    if (this.#state.settled) return;
    this.#deadline = wheel.after(timeoutMs, () => {
      this.#hedge?.cancel();
      this.#step(DEADLINE);
    });
    if (!this.#hasValue()) {
      this.#hedge = wheel.after(hedging.delayMs, () => {
        if (!this.#hasValue() && hedging.take()) this.#step(HEDGE);
      });
    }
  }

  #hasValue(): boolean {
    return this.#state.answered || this.#state.best.tag !== NO_TAG;
  }

  askValue(replica: number, hedged: boolean): void {
    const { members, registers, metrics } = this.#core;
    if (hedged) metrics.counts.hedges.add();
    const member = this.#question.replicas[replica] ?? -1;
    const { diskKey } = this.#question;
    if (member === members.self) {
      registers.read(
        diskKey,
        true,
        (held, bytes) => {
          const content = { tag: held.tag, bytes: bytes === undefined ? undefined : new Uint8Array(bytes) };
          this.#step(held.counts ? { kind: 'value', replica, content } : { kind: 'valueFailed', replica, code: 'NOT_SYNCHRONISED' });
        },
        (error) => {
          this.#noteDamage(error);
          this.#step({ kind: 'valueFailed', replica, code: error.code });
        },
      );
      return;
    }
    this.#valueFrom = replica;
    const askedMs = this.#core.clock.monotonicMs();
    this.#ask(member, MESSAGE.strongRead, encodeStrongRead({ key: diskKey, value: true, durable: true }), (reply) => {
      this.#onValue(replica, reply, askedMs);
    });
  }

  askTag(replica: number): void {
    const { members, registers } = this.#core;
    const member = this.#question.replicas[replica] ?? -1;
    const { diskKey } = this.#question;
    if (member === members.self) {
      // Happens only where this store was not chosen as the source.
      registers.read(
        diskKey,
        true,
        ({ tag, counts }) => {
          this.#step(counts ? { kind: 'tag', replica, tag } : { kind: 'tagFailed', replica, code: 'NOT_SYNCHRONISED' });
        },
        (error) => {
          this.#noteDamage(error);
          this.#step({ kind: 'tagFailed', replica, code: error.code });
        },
      );
      return;
    }
    this.#ask(member, MESSAGE.strongRead, encodeStrongRead({ key: diskKey, value: false, durable: true }), (reply) => {
      if (reply.kind === 'failed') {
        this.#step({ kind: 'tagFailed', replica, code: reply.code });
        return;
      }
      const { tag, counts } = decodeStrongReadAnswer(reply.payload);
      this.#step(counts ? { kind: 'tag', replica, tag } : { kind: 'tagFailed', replica, code: 'NOT_SYNCHRONISED' });
    });
  }

  writeBack(replica: number, { bytes }: Tagged): void {
    const { members, store, topology, encoder, metrics, policies } = this.#core;
    if (bytes === undefined) return;
    if (!policies.writesBack()) {
      this.#step({ kind: 'wrote', replica });
      return;
    }
    const done = (failed: boolean): void => {
      if (!failed) metrics.counts.readRepairs.add();
      this.#step({ kind: failed ? 'writeFailed' : 'wrote', replica });
    };
    const member = this.#question.replicas[replica] ?? -1;
    const { diskKey } = this.#question;
    const generation = store.generations.of(partitionOfDiskKey(topology, diskKey));
    if (member === members.self) {
      store.merge(diskKey, bytes, generation, (error) => {
        done(error !== undefined);
      });
      return;
    }
    this.#ask(member, MESSAGE.write, encoder.writeRequest(diskKey, bytes, generation), (reply) => {
      done(reply.kind === 'failed');
    });
  }

  answer(content: Tagged, waited: boolean): void {
    this.#hedge?.cancel();
    const { counts } = this.#core.metrics;
    if (waited) counts.strongWriteBacks.add();
    else counts.strongReadsAtOnce.add();
    this.#sink.succeed(content);
  }

  fail(code: ErrorCode, message: string): void {
    this.#hedge?.cancel();
    this.#sink.fail(new CoterieError(code, message));
  }

  settle(): void {
    this.#deadline?.cancel();
  }

  #ask(member: number, type: number, payload: Uint8Array, onReply: (reply: Reply) => void): void {
    const { members, transport, topology } = this.#core;
    transport.request(members.nameOf(member), type, payload, this.#remainingMs(), topology.epoch, onReply);
  }

  #onValue(replica: number, reply: Reply, askedMs: number): void {
    if (reply.kind === 'failed') {
      this.#step({ kind: 'valueFailed', replica, code: reply.code });
      return;
    }
    if (replica === this.#valueFrom) this.#core.hedging.observe(this.#core.clock.monotonicMs() - askedMs);
    const { object, counts } = decodeStrongReadAnswer(reply.payload);
    if (!counts) {
      this.#step({ kind: 'valueFailed', replica, code: 'NOT_SYNCHRONISED' });
      return;
    }
    let content: Tagged;
    try {
      content = contentOf(object);
    } catch (error) {
      const coded = asCoterieError(error);
      if (coded.code === 'INTERNAL') throw error;
      this.#step({ kind: 'valueFailed', replica, code: coded.code });
      return;
    }
    this.#step({ kind: 'value', replica, content });
  }

  #noteDamage(error: CoterieError): void {
    if (error.code === 'DATA_DAMAGED') this.#core.metrics.counts.damagedReads.add();
  }

  #step(event: StrongReadEvent): void {
    strongReadStep(this.#state, event, this);
  }

  #remainingMs(): number {
    return Math.max(1, Math.ceil(this.#startMs + this.#question.timeoutMs - this.#core.clock.monotonicMs()));
  }
}

/** A copy of what another store sent. @throws CoterieError DATA_DAMAGED */
function contentOf(object: Uint8Array | undefined): Tagged {
  if (object === undefined) return { tag: NO_TAG, bytes: undefined };
  verifyChecksum(object, CHECKSUM);
  return { tag: readTag(object), bytes: new Uint8Array(object) };
}
