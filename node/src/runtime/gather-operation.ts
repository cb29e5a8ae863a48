/** Collects the copies of other primaries before a write: performs what cluster/quorum/gather.ts decides. */

import type { ByteString } from '../base/bytes.ts';
import { asCoterieError, CoterieError, type ErrorCode } from '../base/errors.ts';
import type { Timer } from '../env/clock.ts';
import { type GatherEvent, type GatherOut, type GatherState, gatherStep, newGather } from '../cluster/quorum/gather.ts';
import type { Content } from '../cluster/quorum/read.ts';
import { partitionOfDiskKey } from '../cluster/ring/token.ts';
import { verifyChecksum } from '../cluster/versioning/codec.ts';
import { MESSAGE } from '../transport/messages/message-type.ts';
import { decodeHinted } from '../transport/messages/hint.ts';
import { decodeValueReply } from '../transport/messages/replica.ts';
import type { Reply } from '../transport/request.ts';
import { contentOf, isAhead, mergeContents } from './content.ts';
import { CHECKSUM, type NodeCore } from './core.ts';
import type { StandIns } from './fallbacks.ts';

/** How long copies that are not needed, but may show an earlier attempt of the write, are waited for. */
const PATIENCE_MS = 50;

export interface GatherQuestion {
  readonly diskKey: ByteString;
  /** All primaries, as indexes of members. */
  readonly replicas: readonly number[];
  /** Who stands in for them, where fallbacks are asked too. */
  readonly standIns: StandIns | undefined;
  /** Position in `replicas` of this node, or of the primary that it stands in for. */
  readonly own: number;
  /** How many other copies are needed. */
  readonly need: number;
  /** Wait for all that can be asked, for a while. */
  readonly thorough: boolean;
  /** Primaries that are not waited for even then, as bits by position. */
  readonly silent: number;
  /** The digest of the own copy. */
  readonly expected: ByteString;
  readonly timeoutMs: number;
  /** @param generation the oldest that anything that came from a hint was read under; Infinity where nothing did */
  readonly done: (merged: Content, unanimous: boolean, generation: number) => void;
  readonly failed: (error: CoterieError) => void;
}

export class GatherOperation implements GatherOut {
  readonly #core: NodeCore;
  readonly #question: GatherQuestion;
  readonly #state: GatherState;
  #deadline: Timer | undefined;
  #patience: Timer | undefined;
  #oldest = Number.POSITIVE_INFINITY;

  constructor(core: NodeCore, question: GatherQuestion) {
    const n = question.replicas.length;
    this.#core = core;
    this.#question = question;
    this.#state = newGather({
      n,
      need: question.need,
      thorough: question.thorough,
      silent: question.silent,
      others: (2 ** n - 1) & ~(1 << question.own),
      expected: question.expected,
      merge: (a, b) => mergeContents(core.policies, a, b),
    });
  }

  start(): void {
    this.#deadline = this.#core.wheel.after(this.#question.timeoutMs, () => {
      this.#step({ kind: 'deadline' });
    });
    if (this.#question.thorough) {
      this.#patience = this.#core.wheel.after(PATIENCE_MS, () => {
        this.#step({ kind: 'patience' });
      });
    }
    this.#step({ kind: 'start', reachable: this.#reachable() });
  }

  /** Whom to ask: not this node itself, whose copy is at hand. */
  #reachable(): number {
    const { members } = this.#core;
    const { replicas, standIns, own } = this.#question;
    let mask = members.reachableBits(replicas);
    if (replicas[own] === members.self) mask &= ~(1 << own);
    for (const [slot, member] of (standIns?.bySlot ?? []).entries()) {
      if (member >= 0 && member !== members.self) mask |= 1 << (replicas.length + slot);
    }
    return mask;
  }

  askValue(replica: number): void {
    const { members, transport, encoder, topology } = this.#core;
    const { diskKey, replicas, standIns, timeoutMs } = this.#question;
    const n = replicas.length;
    const hinted = replica >= n;
    const name = members.nameOf((hinted ? standIns?.bySlot[replica - n] : replicas[replica]) ?? -1);
    transport.request(
      name,
      hinted ? MESSAGE.readHint : MESSAGE.readValue,
      encoder.readRequest(diskKey),
      timeoutMs,
      topology.epoch,
      (reply) => {
        if (hinted) this.#onHinted(replica, reply);
        else this.#onReply(replica, reply);
      },
    );
  }

  done(merged: Content, unanimous: boolean): void {
    this.#deadline?.cancel();
    this.#patience?.cancel();
    this.#question.done(merged, unanimous, this.#oldest);
  }

  fail(code: ErrorCode, message: string): void {
    this.#deadline?.cancel();
    this.#patience?.cancel();
    this.#question.failed(new CoterieError(code, message, { outcome: 'none' }));
  }

  #onHinted(replica: number, reply: Reply): void {
    if (reply.kind === 'failed') {
      this.#step({ kind: 'failed', replica, code: reply.code });
      return;
    }
    const hinted = decodeHinted(reply.payload);
    const { store, topology } = this.#core;
    if (hinted === undefined || !store.generations.admits(partitionOfDiskKey(topology, this.#question.diskKey), hinted.generation)) {
      this.#step({ kind: 'value', replica, content: contentOf(undefined) });
      return;
    }
    this.#oldest = Math.min(this.#oldest, hinted.generation);
    this.#onObject(replica, hinted.object);
  }

  #onReply(replica: number, reply: Reply): void {
    if (reply.kind === 'failed') {
      this.#step({ kind: 'failed', replica, code: reply.code });
      return;
    }
    const { object, counts } = decodeValueReply(reply.payload);
    if (!counts) {
      this.#step({ kind: 'failed', replica, code: 'NOT_SYNCHRONISED' });
      return;
    }
    this.#onObject(replica, object);
  }

  #onObject(replica: number, object: Uint8Array | undefined): void {
    let content: Content;
    try {
      if (object !== undefined) verifyChecksum(object, CHECKSUM);
      content = contentOf(object === undefined ? undefined : new Uint8Array(object));
    } catch (error) {
      this.#step({ kind: 'failed', replica, code: asCoterieError(error).code });
      return;
    }
    if (isAhead(content, this.#core.clock.wallMs())) this.#step({ kind: 'failed', replica, code: 'CLOCK_SKEW' });
    else this.#step({ kind: 'value', replica, content });
  }

  #step(event: GatherEvent): void {
    try {
      gatherStep(this.#state, event, this);
    } catch (error) {
      const coded = asCoterieError(error);
      if (coded.code === 'INTERNAL') throw error;
      this.#state.ended = true;
      this.fail(coded.code, coded.message);
    }
  }
}
