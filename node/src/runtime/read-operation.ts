/**
 * One coordinated read: performs what cluster/quorum/read.ts decides.
 *
 * Invariants: an answer that is given later than within the call that asked owns its bytes; whatever a replica sends that is damaged counts as
 * no answer; nothing is asked of anybody after the deadline.
 */

import type { ByteString } from '../base/bytes.ts';
import { asCoterieError, CoterieError, type ErrorCode } from '../base/errors.ts';
import type { PartitionId } from '../base/ids.ts';
import type { Timer } from '../env/clock.ts';
import { partitionOfDiskKey } from '../cluster/ring/token.ts';
import {
  type Content,
  fallbacksAnswering,
  newRead,
  type ReadDependencies,
  type ReadEvent,
  type ReadOut,
  type ReadState,
  readStep,
} from '../cluster/quorum/read.ts';
import { verifyChecksum } from '../cluster/versioning/codec.ts';
import { MESSAGE } from '../transport/messages/message-type.ts';
import { decodeHinted } from '../transport/messages/hint.ts';
import { decodeDigestReply, decodeValueReply } from '../transport/messages/replica.ts';
import type { Reply } from '../transport/request.ts';
import type { Sink } from './answer.ts';
import { contentOf, digestOf, isAhead, mergeContents } from './content.ts';
import { CHECKSUM, type NodeCore } from './core.ts';
import type { StandIns } from './fallbacks.ts';
import type { Hinted } from './hint-store.ts';

const HEDGE: ReadEvent = { kind: 'hedge' };
const DEADLINE: ReadEvent = { kind: 'deadline' };

export interface ReadQuestion {
  readonly diskKey: ByteString;
  /** The primaries, as indexes of members. */
  readonly replicas: readonly number[];
  readonly r: number;
  readonly timeoutMs: number;
  /** Fallbacks may be counted. */
  readonly sloppy: boolean;
}

/** What a read ends with. */
export interface ReadAnswer extends Content {
  /** Answers counted that are a fallback's alone; absent for none. */
  readonly fallbacks?: number;
}

export class ReadOperation implements ReadOut, ReadDependencies {
  readonly #core: NodeCore;
  readonly #question: ReadQuestion;
  readonly #sink: Sink<ReadAnswer>;
  readonly #state: ReadState;
  readonly #startMs: number;
  #deadline: Timer | undefined;
  #hedge: Timer | undefined;
  #valueFrom = -1;
  #standIns: StandIns | undefined;
  readonly #partition: PartitionId;
  /** Of the partition, when the read began. */
  readonly #begun: number;
  /** The oldest that anything that was read was read under, also by who hinted it: what is repaired with is as old. */
  #generation: number;

  constructor(core: NodeCore, question: ReadQuestion, sink: Sink<ReadAnswer>) {
    this.#core = core;
    this.#question = question;
    this.#sink = sink;
    this.#state = newRead(question.replicas.length, question.r, this);
    this.#startMs = core.clock.monotonicMs();
    this.#partition = partitionOfDiskKey(core.topology, question.diskKey);
    this.#begun = core.store.generations.begin(this.#partition);
    this.#generation = this.#begun;
  }

  start(): void {
    const { members, standing, hedging, wheel, admission } = this.#core;
    const { replicas, timeoutMs } = this.#question;
    hedging.began();
    let reachable = members.reachableBits(replicas);
    const own = replicas.indexOf(members.self);
    // A store that does not count would only answer itself that it does not.
    if (own >= 0 && !standing.countsInReads()) reachable &= ~(1 << own);
    const healthy = members.healthyBits(replicas) & reachable;
    if (this.#question.sloppy && healthy !== (1 << replicas.length) - 1) {
      this.#standIns = this.#core.fallbacks.ofKey(this.#question.diskKey);
    }
    const fallbacks = this.#standIns?.slots ?? 0;
    const source = own >= 0 && (reachable & (1 << own)) !== 0 ? own : members.pick(healthy === 0 ? reachable : healthy);
    this.#step({ kind: 'start', reachable, source: reachable === 0 ? -1 : source, fallbacks });
    if (this.#state.settled) return;
    this.#deadline = wheel.after(timeoutMs, () => {
      this.#hedge?.cancel();
      this.#step(DEADLINE);
    });
    if (!this.#state.answered && this.#state.merged === undefined) {
      this.#hedge = wheel.after(hedging.delayMs, () => {
        // Under overload a second question makes both answers later.
        const wanted = !this.#state.answered && this.#state.merged === undefined && !admission.overloaded;
        if (wanted && hedging.take()) this.#step(HEDGE);
      });
    }
  }

  merge(a: Content, b: Content): Content {
    return mergeContents(this.#core.policies, a, b);
  }

  askValue(replica: number, hedged: boolean): void {
    const { members, encoder, metrics } = this.#core;
    if (hedged) metrics.counts.hedges.add();
    if (replica >= this.#question.replicas.length) {
      this.#askHint(replica);
      return;
    }
    const member = this.#question.replicas[replica] ?? -1;
    if (member === members.self) {
      this.#readOwn(replica);
      return;
    }
    this.#valueFrom = replica;
    const askedMs = this.#core.clock.monotonicMs();
    this.#ask(member, MESSAGE.readValue, encoder.readRequest(this.#question.diskKey), (reply) => {
      this.#onValue(replica, reply, askedMs);
    });
  }

  askDigest(replica: number): void {
    const { members, store, encoder, metrics } = this.#core;
    const member = this.#question.replicas[replica] ?? -1;
    if (member === members.self) {
      // Happens only where this store was not chosen as the source.
      store.read(
        this.#question.diskKey,
        (bytes) => {
          const digest = bytes === undefined ? '' : digestOf(bytes);
          this.#step({ kind: 'digest', replica, digest });
        },
        (error) => {
          if (error.code === 'DATA_DAMAGED') metrics.counts.damagedReads.add();
          this.#step({ kind: 'digestFailed', replica, code: error.code });
        },
      );
      return;
    }
    this.#ask(member, MESSAGE.readDigest, encoder.readRequest(this.#question.diskKey), (reply) => {
      this.#onDigest(replica, reply);
    });
  }

  repair(replica: number, bytes: Uint8Array): void {
    const { members, store, encoder, policies, metrics, topology, transport } = this.#core;
    if (!policies.repairs(replica)) {
      this.#step({ kind: 'repaired', replica });
      return;
    }
    const member = this.#question.replicas[replica] ?? -1;
    const done = (error: unknown): void => {
      if (error === undefined) metrics.counts.readRepairs.add();
      this.#step({ kind: error === undefined ? 'repaired' : 'repairFailed', replica });
    };
    if (member === members.self) {
      store.merge(this.#question.diskKey, bytes, this.#generation, done);
      return;
    }
    const payload = encoder.writeRequest(this.#question.diskKey, bytes, this.#generation);
    transport.request(members.nameOf(member), MESSAGE.write, payload, this.#remainingMs(), topology.epoch, (reply) => {
      done(reply.kind === 'reply' ? undefined : reply);
    });
  }

  answer(content: Content, merged: boolean): void {
    this.#hedge?.cancel();
    const { counts } = this.#core.metrics;
    if (merged) counts.readsMerged.add();
    const fallbacks = this.#standIns === undefined ? 0 : fallbacksAnswering(this.#state);
    if (fallbacks > 0) counts.sloppyReads.add();
    this.#sink.succeed(fallbacks === 0 ? content : { ...content, fallbacks });
  }

  fail(code: ErrorCode, message: string): void {
    this.#hedge?.cancel();
    this.#sink.fail(new CoterieError(code, message));
  }

  settle(): void {
    this.#deadline?.cancel();
    this.#core.store.generations.end(this.#partition, this.#begun);
  }

  /** Asks a fallback, perhaps this node itself, for its hinted copy. */
  #askHint(replica: number): void {
    const { members, encoder, hints, standing } = this.#core;
    const { diskKey, replicas } = this.#question;
    const member = this.#standIns?.bySlot[replica - replicas.length] ?? -1;
    if (member === members.self) {
      if (!standing.knowsHints) {
        this.#step({ kind: 'valueFailed', replica, code: 'NOT_SYNCHRONISED' });
        return;
      }
      const use = (hinted: Hinted | undefined): void => {
        this.#onHint(replica, hinted?.bytes, hinted?.generation ?? 0);
      };
      hints.read(diskKey, use, ({ code }) => {
        this.#step({ kind: 'valueFailed', replica, code });
      });
      return;
    }
    this.#ask(member, MESSAGE.readHint, encoder.readRequest(diskKey), (reply) => {
      if (reply.kind === 'failed') this.#step({ kind: 'valueFailed', replica, code: reply.code });
      else {
        const hinted = decodeHinted(reply.payload);
        this.#onHint(replica, hinted?.object, hinted?.generation ?? 0);
      }
    });
  }

  #onHint(replica: number, object: Uint8Array | undefined, generation: number): void {
    // An old disk may have brought back what was confirmed and collected long ago.
    if (object === undefined || !this.#core.store.generations.admits(this.#partition, generation)) {
      this.#step({ kind: 'unhinted', replica });
      return;
    }
    this.#generation = Math.min(this.#generation, generation);
    let content: Content;
    try {
      verifyChecksum(object, CHECKSUM);
      content = contentOf(owned(object));
    } catch (error) {
      this.#step({ kind: 'valueFailed', replica, code: expected(error) });
      return;
    }
    if (isAhead(content, this.#core.clock.wallMs())) this.#step({ kind: 'valueFailed', replica, code: 'CLOCK_SKEW' });
    else this.#step({ kind: 'value', replica, content });
  }

  #readOwn(replica: number): void {
    const { store, metrics } = this.#core;
    store.read(
      this.#question.diskKey,
      (bytes) => {
        this.#onContent(replica, contentOf(owned(bytes)));
      },
      (error) => {
        if (error.code === 'DATA_DAMAGED') metrics.counts.damagedReads.add();
        this.#step({ kind: 'valueFailed', replica, code: error.code });
      },
    );
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
    const { object, counts } = decodeValueReply(reply.payload);
    if (!counts) {
      this.#step({ kind: 'valueFailed', replica, code: 'NOT_SYNCHRONISED' });
      return;
    }
    let content: Content;
    try {
      if (object !== undefined) verifyChecksum(object, CHECKSUM);
      content = contentOf(owned(object));
    } catch (error) {
      this.#step({ kind: 'valueFailed', replica, code: expected(error) });
      return;
    }
    this.#onContent(replica, content);
  }

  #onContent(replica: number, content: Content): void {
    this.#step({ kind: isAhead(content, this.#core.clock.wallMs()) ? 'suspect' : 'value', replica, content });
  }

  #onDigest(replica: number, reply: Reply): void {
    if (reply.kind === 'failed') {
      this.#step({ kind: 'digestFailed', replica, code: reply.code });
      return;
    }
    const { digest, counts } = decodeDigestReply(reply.payload);
    this.#step(counts ? { kind: 'digest', replica, digest } : { kind: 'digestFailed', replica, code: 'NOT_SYNCHRONISED' });
  }

  #step(event: ReadEvent): void {
    try {
      readStep(this.#state, event, this);
    } catch (error) {
      // Contents that pass their checksum and still cannot be merged.
      const code = expected(error);
      this.#state.answered = true;
      this.#state.over = true;
      this.fail(code, 'a copy of the key is damaged');
    }
  }

  #remainingMs(): number {
    return Math.max(1, Math.ceil(this.#startMs + this.#question.timeoutMs - this.#core.clock.monotonicMs()));
  }
}

/** A copy: what the engine and the transport lend is gone after the turn. */
function owned(bytes: Uint8Array | undefined): Uint8Array | undefined {
  return bytes === undefined ? undefined : new Uint8Array(bytes);
}

/** The code of an expected failure; what is unexpected goes on up. */
function expected(error: unknown): ErrorCode {
  const coded = asCoterieError(error);
  if (coded.code === 'INTERNAL') throw error;
  return coded.code;
}
