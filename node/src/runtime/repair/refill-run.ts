/** One lost range filled again from the other primaries: performs what cluster/repair/refill.ts decides. */

import type { ByteString } from '../../base/bytes.ts';
import { asCoterieError } from '../../base/errors.ts';
import type { PartitionId } from '../../base/ids.ts';
import { FIRST_GENERATION, LAST_GENERATION } from '../../cluster/collection/generation-table.ts';
import type { RefillEntry, RefillEvent, RefillOut, RefillState } from '../../cluster/repair/refill.ts';
import { newRefill, refillStep } from '../../cluster/repair/refill.ts';
import { decodeCopyAnswer, encodeCopyQuestion } from '../../transport/messages/ranges.ts';
import { MESSAGE } from '../../transport/messages/message-type.ts';
import type { NodeCore } from '../core.ts';
import { paused } from './tree-source.ts';

const PAGE_BYTES = 128 * 1024;
const PAGE_TIMEOUT_MS = 10_000;
/** Objects stored at a time. */
const STORE_AT_ONCE = 16;

/** A range within one partition, all of it or in part lost. */
export interface LostRange {
  readonly from: ByteString;
  readonly to: ByteString | undefined;
}

/** With the partition that it lies in. */
export interface LostPart extends LostRange {
  readonly partition: PartitionId;
}

export class RefillRun implements RefillOut {
  readonly #core: NodeCore;
  readonly #state: RefillState;
  readonly #partition: PartitionId;
  /** The oldest of the partition that any of the copies was read under. */
  #generation = LAST_GENERATION;
  /** @param short how many more sources it would take; undefined: the range is whole */
  readonly #ended: (short: number | undefined) => void;

  constructor(core: NodeCore, range: LostPart, needed: number, ended: (short: number | undefined) => void) {
    this.#core = core;
    this.#partition = range.partition;
    this.#state = newRefill(needed, range.from, range.to);
    this.#ended = ended;
  }

  start(members: readonly number[]): void {
    this.#step({ kind: 'start', members });
  }

  ask(member: number, from: ByteString, to: ByteString | undefined): void {
    const { transport, topology, members } = this.#core;
    const question = encodeCopyQuestion({ from, to: to ?? '', maxBytes: PAGE_BYTES });
    transport.request(members.nameOf(member), MESSAGE.copy, question, PAGE_TIMEOUT_MS, topology.epoch, (reply) => {
      if (reply.kind === 'failed') {
        this.#step({ kind: 'refused', member });
        return;
      }
      const { entries, next, synchronised, partitions } = decodeCopyAnswer(reply.payload);
      const { generation = FIRST_GENERATION } = partitions.find(({ partition }) => partition === this.#partition) ?? {};
      this.#generation = Math.min(this.#generation, generation);
      const kept = entries.map(({ key, object }) => ({ key, object: new Uint8Array(object) }));
      const end = next === undefined || (to !== undefined && next >= to) ? undefined : next;
      this.#step({ kind: 'page', member, entries: kept, end: end ?? to, whole: synchronised });
    });
  }

  merge(a: Uint8Array, b: Uint8Array): Uint8Array {
    const result = this.#core.policies.reconcileRepaired(a, b);
    return result.kind === 'keep' ? a : result.bytes;
  }

  store(entries: readonly RefillEntry[]): void {
    this.#perform(async () => {
      for (let at = 0; at < entries.length; at += STORE_AT_ONCE) {
        await Promise.all(entries.slice(at, at + STORE_AT_ONCE).map((entry) => this.#put(entry)));
      }
      return 'stored';
    });
  }

  heal(from: ByteString, to: ByteString | undefined): void {
    this.#perform(async () => {
      await this.#core.store.engine.heal(from, to);
      return 'healed';
    });
  }

  done(): void {
    this.#ended(undefined);
  }

  wait(short: number): void {
    this.#ended(short);
  }

  #perform(work: () => Promise<'stored' | 'healed'>): void {
    const { clock, pace, warn } = this.#core;
    const beganMs = clock.monotonicMs();
    work()
      .then(async (kind) => {
        await paused(clock, pace.pauseMs(clock.monotonicMs() - beganMs));
        this.#step({ kind });
      })
      .catch((error: unknown) => {
        const coded = asCoterieError(error);
        if (coded.code === 'INTERNAL') throw error;
        if (coded.code !== 'CLOSED') warn('refill-interrupted', { code: coded.code, message: coded.message });
        this.#step({ kind: 'failed' });
      });
  }

  #step(event: RefillEvent): void {
    try {
      refillStep(this.#state, event, this);
    } catch (error) {
      // A copy that passes its checksum and cannot be merged.
      const coded = asCoterieError(error);
      if (coded.code === 'INTERNAL') throw error;
      this.#core.warn('refill-interrupted', { code: coded.code, message: coded.message });
      this.#state.ended = true;
      this.#ended(0);
    }
  }

  #put({ key, object }: RefillEntry): Promise<void> {
    const { store, metrics } = this.#core;
    return new Promise((resolve, reject) => {
      store.refill(key, object, this.#generation, (error) => {
        if (error !== undefined) {
          reject(error);
          return;
        }
        metrics.counts.objectsRefilled.add();
        resolve();
      });
    });
  }
}
