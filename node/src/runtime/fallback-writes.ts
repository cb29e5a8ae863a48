/**
 * The part of a write that goes to fallbacks: one for each primary that is unhealthy when the write begins, or fails while it is under way. Only writes that
 * meet a failure have one of these.
 *
 * Invariants: a fallback stands in for one primary of a write; one that refuses is followed by another while there is one that was not asked.
 */

import type { ErrorCode } from '../base/errors.ts';
import { partitionOfDiskKey } from '../cluster/ring/token.ts';
import { acknowledged, type WriteOut, type WriteState, writeStep } from '../cluster/quorum/write.ts';
import { encodeHint } from '../transport/messages/hint.ts';
import { MESSAGE } from '../transport/messages/message-type.ts';
import type { NodeCore } from './core.ts';
import type { StandIns } from './fallbacks.ts';
import type { WriteCommand } from './write-command.ts';

/** Failures after which a primary is away as far as this write is concerned. One that sheds load is not: it must not be given more of it. */
const AWAY: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'PEER_UNREACHABLE',
  'CLOSED',
  'DISK_FULL',
  'DISK_FAILED',
  'DATA_DAMAGED',
  'TIMEOUT',
]);

/** Whether somebody should stand in for a primary that failed so. */
export function needsStandIn(code: ErrorCode): boolean {
  return AWAY.has(code);
}

export interface FallbackWriteParts {
  readonly core: NodeCore;
  readonly command: WriteCommand;
  readonly state: WriteState;
  readonly out: WriteOut;
  /** Who stands in for whom now. */
  readonly standIns: StandIns;
  /** The slot that this node stands in for itself, if it does. */
  readonly own: number | undefined;
  /** How long the sending may take from now on. */
  readonly deadlineMs: () => number;
  /** The oldest generation of the partition that anything in the write was read under. */
  readonly generation: number;
  /**
   * Lends the coordinator's copy, which holds the write, with the oldest generation that anything in it was read under: in this turn if it can; not
   * at all where it cannot be read.
   */
  readonly copy: (use: (bytes: Uint8Array, generation: number) => void, fail: (code: ErrorCode) => void) => void;
}

export class FallbackWrites {
  readonly #parts: FallbackWriteParts;
  /** Members that were asked, this node among them where it stands in itself. */
  readonly #asked: Set<number>;

  constructor(parts: FallbackWriteParts) {
    this.#parts = parts;
    this.#asked = new Set([parts.core.members.self, ...parts.standIns.bySlot.filter((member) => member >= 0)]);
  }

  /** Sends `bytes`, borrowed within the call, to the fallbacks of the unhealthy primaries but the one that this node stands in for. */
  start(bytes: Uint8Array): void {
    const { standIns, own } = this.#parts;
    for (const [slot, member] of standIns.bySlot.entries()) {
      if (member >= 0 && slot !== own) this.#send(slot, member, bytes, this.#parts.generation);
    }
  }

  /** Finds a fallback for a primary that has failed; to be told before the failure itself. */
  standInFor(slot: number): void {
    const { state, out } = this.#parts;
    if ((state.fallbacks & (1 << slot)) !== 0) return;
    const member = this.#another();
    if (member === undefined) {
      this.#missed(slot);
      return;
    }
    writeStep(state, { kind: 'fallback', replica: slot }, out);
    this.#sendCopy(slot, member);
  }

  #another(): number | undefined {
    const { core, standIns } = this.#parts;
    const member = standIns.spare.find((candidate) => !this.#asked.has(candidate) && core.members.isHealthy(candidate));
    if (member !== undefined) this.#asked.add(member);
    return member;
  }

  #sendCopy(slot: number, member: number): void {
    this.#parts.copy(
      (bytes, generation) => {
        this.#send(slot, member, bytes, generation);
      },
      (code) => {
        this.#fail(slot, code);
      },
    );
  }

  #send(slot: number, member: number, bytes: Uint8Array, generation: number): void {
    const { core, command, state, out, deadlineMs } = this.#parts;
    const { transport, members, topology, store } = core;
    // No fallback may take what this node itself refuses by now.
    if (!store.generations.admits(partitionOfDiskKey(topology, command.diskKey), generation)) {
      this.#fail(slot, 'GENERATION_STALE');
      return;
    }
    const object = encodeHint({ slot, key: command.diskKey, object: bytes, w: Math.max(command.w, command.bucket.W), generation });
    transport.request(members.nameOf(member), MESSAGE.hint, object, deadlineMs(), topology.epoch, (reply) => {
      if (reply.kind === 'reply') {
        writeStep(state, acknowledged(state.n + slot), out);
        return;
      }
      const next = this.#another();
      if (next === undefined) this.#fail(slot, reply.code);
      else this.#sendCopy(slot, next);
    });
  }

  /** Nobody keeps the write for this primary. */
  #missed(slot: number): void {
    const { core, command } = this.#parts;
    core.missed(command.diskKey, slot);
  }

  #fail(slot: number, code: ErrorCode): void {
    const { state, out } = this.#parts;
    // One that is only slow may have it, or get it yet.
    if ((state.acked & (1 << slot)) === 0) this.#missed(slot);
    writeStep(state, { kind: 'failed', replica: state.n + slot, code }, out);
  }
}
