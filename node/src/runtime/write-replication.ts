/**
 * The second half of a write: the object that its coordinator has made goes to the coordinator's own store and to the other primaries, and to whoever
 * stands in for one; those who have it are counted (cluster/quorum/write.ts).
 *
 * Invariant: what the engine refuses before any effect is thrown by `start`, and nobody else has been sent it.
 */

import { CoterieError, type ErrorCode } from '../base/errors.ts';
import { acknowledged, fallbacksCounted, newWrite, timedOut, type WriteOut, type WriteState, writeStep } from '../cluster/quorum/write.ts';
import type { ObjectHeader } from '../cluster/versioning/codec.ts';
import type { Entry } from '../storage/entry.ts';
import { MESSAGE } from '../transport/messages/message-type.ts';
import type { NodeCore } from './core.ts';
import { FallbackWrites, needsStandIn } from './fallback-writes.ts';
import type { StandIns } from './fallbacks.ts';
import type { Hinted } from './hint-store.ts';
import type { Done } from './local-store.ts';
import type { WriteCommand } from './write-command.ts';

/** Copies keep going out for so long after a client has stopped waiting. */
const LEAST_REPLICATION_MS = 1000;

/** Where a write's coordinator stands. */
export interface WritePlace {
  /** Position in the replica list of this node, or of the primary that it stands in for. */
  readonly slot: number;
  readonly standsIn: boolean;
  /** Who stands in for whom, where a primary is unhealthy and fallbacks may be counted. */
  readonly standIns: StandIns | undefined;
}

/** Bits of the primaries that somebody stands in for. */
export function fallbackSlots({ slot, standsIn, standIns }: WritePlace): number {
  return (standIns?.slots ?? 0) | (standsIn ? 1 << slot : 0);
}

export class WriteReplication {
  readonly #core: NodeCore;
  readonly #command: WriteCommand;
  readonly #place: WritePlace;
  /** The oldest of the partition that anything in the write was read under: what is sent is as old. */
  readonly #generation: number;
  readonly #out: WriteOut;
  readonly #state: WriteState;
  #fallbackWrites: FallbackWrites | undefined;

  constructor(core: NodeCore, command: WriteCommand, place: WritePlace, generation: number, out: WriteOut) {
    this.#core = core;
    this.#command = command;
    this.#place = place;
    this.#generation = generation;
    this.#out = out;
    this.#state = newWrite(command.replicas.length, core.policies.writeQuorum(command.w), fallbackSlots(place));
  }

  /** Whether the client has its answer. */
  get answered(): boolean {
    return this.#state.answered;
  }

  /** Acknowledgements counted that are a fallback's alone. */
  get fallbacks(): number {
    return this.#state.fallbacks === 0 ? 0 : fallbacksCounted(this.#state);
  }

  /**
   * Hands out the object. @param bytes borrowed for the call, @param header theirs, @param stored what this node had of the key
   *
   * @throws CoterieError what the engine refuses, with outcome `none`
   */
  start(bytes: Uint8Array, header: ObjectHeader, stored: Entry | Hinted | undefined): void {
    const { members, encoder, transport, topology } = this.#core;
    const { replicas, diskKey } = this.#command;
    const { slot, standsIn, standIns } = this.#place;
    const n = replicas.length;
    const own = standsIn ? n + slot : slot;
    // Until the others have been sent theirs, what the engine says is only noted: who is answered may ask for more at once.
    let handing = true;
    let said: CoterieError | 'stored' | undefined;
    this.#putOwn(stored, bytes, header, (error) => {
      if (handing) said = error ?? 'stored';
      else this.#count(own, error?.code);
    });
    handing = false;
    if (said !== undefined && said !== 'stored' && said.outcome === 'none') throw said;
    if (standIns !== undefined) this.#fallbackWritesOf(standIns).start(bytes);
    const others = n > 1 || standsIn;
    const payload = others ? encoder.writeRequest(diskKey, bytes, this.#generation) : bytes;
    const deadlineMs = others ? this.#deadlineMs() : 0;
    let down = 0;
    for (let replica = 0; replica < n; replica += 1) {
      if (replica === own) continue;
      const member = replicas[replica] ?? -1;
      if (members.isDown(member)) {
        down |= 1 << replica;
        continue;
      }
      transport.request(members.nameOf(member), MESSAGE.write, payload, deadlineMs, topology.epoch, (reply) => {
        this.#count(replica, reply.kind === 'reply' ? undefined : reply.code);
      });
    }
    for (let replica = 0; down >>> replica !== 0; replica += 1) {
      if ((down & (1 << replica)) !== 0) this.#count(replica, 'PEER_UNREACHABLE');
    }
    if (said !== undefined) this.#count(own, said === 'stored' ? undefined : said.code);
  }

  /** The client's time is over. */
  timedOut(): void {
    writeStep(this.#state, timedOut(), this.#out);
  }

  /** How long the sending may take from now on. */
  #deadlineMs(): number {
    return Math.max(LEAST_REPLICATION_MS, Math.ceil(this.#command.dueMs - this.#core.clock.monotonicMs()));
  }

  /** Stores the object where this node coordinates it: among its data, or as a hint. */
  #putOwn(stored: Entry | Hinted | undefined, bytes: Uint8Array, header: ObjectHeader, done: Done): void {
    const { store, hints } = this.#core;
    const { diskKey, w, bucket } = this.#command;
    const { slot, standsIn } = this.#place;
    if (standsIn) hints.put(slot, diskKey, bytes, Math.max(w, bucket.W), this.#generation, done);
    else store.put(diskKey, stored !== undefined && 'kind' in stored ? stored : undefined, bytes, header, done);
  }

  /** A replica has it durably, or says why not. */
  #count(replica: number, failure: ErrorCode | undefined): void {
    if (failure === undefined) {
      writeStep(this.#state, acknowledged(replica), this.#out);
      return;
    }
    if (replica < this.#state.n && needsStandIn(failure)) {
      const { sloppy, diskKey } = this.#command;
      const { slot, standIns } = this.#place;
      if (sloppy) this.#fallbackWritesOf(standIns ?? this.#core.fallbacks.ofKey(diskKey)).standInFor(replica);
      else if (replica !== slot) this.#core.missed(diskKey, replica);
    }
    writeStep(this.#state, { kind: 'failed', replica, code: failure }, this.#out);
  }

  #fallbackWritesOf(standIns: StandIns): FallbackWrites {
    const { slot, standsIn } = this.#place;
    this.#fallbackWrites ??= new FallbackWrites({
      core: this.#core,
      command: this.#command,
      state: this.#state,
      out: this.#out,
      standIns,
      own: standsIn ? slot : undefined,
      deadlineMs: () => this.#deadlineMs(),
      generation: this.#generation,
      copy: (use, fail) => {
        this.#lendCopy(use, ({ code }) => {
          fail(code);
        });
      },
    });
    return this.#fallbackWrites;
  }

  #lendCopy(use: (bytes: Uint8Array, generation: number) => void, fail: (error: CoterieError) => void): void {
    const { store, hints } = this.#core;
    const { diskKey } = this.#command;
    const generation = this.#generation;
    const gone = (): void => {
      fail(new CoterieError('NOT_FOUND', 'the coordinator’s copy of the write is gone', { outcome: 'unknown' }));
    };
    if (this.#place.standsIn) {
      const lendHinted = (hinted: Hinted | undefined): void => {
        if (hinted === undefined) gone();
        else use(hinted.bytes, Math.min(generation, hinted.generation));
      };
      hints.read(diskKey, lendHinted, fail);
      return;
    }
    const lendOwn = (bytes: Uint8Array | undefined): void => {
      if (bytes === undefined) gone();
      else use(bytes, generation);
    };
    store.read(diskKey, lendOwn, fail);
  }
}
