/**
 * This node's part in collecting rounds: performs the steps that a round's leader, itself or another member, asks for (cluster/collection/round.ts).
 *
 * Invariants: whatever is answered is durable; a primary confirms and goes on only while it is synchronised and confirmed by its peers; a step that
 * does not fit the state of the partition changes nothing and says why.
 */

import { asCoterieError } from '../../base/errors.ts';
import type { PartitionId } from '../../base/ids.ts';
import { addCandidate, newSlices, sliceOf } from '../../cluster/collection/candidates.ts';
import { isCandidate } from '../../cluster/collection/generation-table.ts';
import {
  type Candidate,
  type CollectionItem,
  type CollectionReport,
  type CollectionState,
  type CollectionStep,
  MOST_LISTED,
  NO_STATE,
  type Obstacle,
} from '../../cluster/collection/round-messages.ts';
import { primaries } from '../../cluster/ring/preference.ts';
import { partitionOfDiskKey } from '../../cluster/ring/token.ts';
import { MAX_AHEAD_MS } from '../../cluster/versioning/hlc.ts';
import type { NodeCore } from '../core.ts';
import type { IdentityFile } from '../identity-file.ts';
import { scanCandidates } from './scan.ts';
import type { Reclaimer } from './reclaimer.ts';

/** Bytes of keys in one answer. */
const MOST_LISTED_BYTES = 512 * 1024;

export class CollectionMember {
  readonly #core: NodeCore;
  readonly #file: IdentityFile;
  readonly #reclaimer: Reclaimer;

  constructor(core: NodeCore, file: IdentityFile, reclaimer: Reclaimer) {
    this.#core = core;
    this.#file = file;
    this.#reclaimer = reclaimer;
  }

  /** @param leader the member that asks, by name */
  async perform(leader: string, step: CollectionStep, items: readonly CollectionItem[]): Promise<CollectionReport> {
    // Of the incarnation that begins the step: a rewind found meanwhile makes it another one.
    const { storeId, boot } = this.#file.durable;
    const states = await this.#states(leader, step, items);
    return { storeId, boot, states };
  }

  #states(leader: string, step: CollectionStep, items: readonly CollectionItem[]): Promise<readonly CollectionState[]> {
    switch (step) {
      case 'survey':
        return Promise.resolve(items.map((item) => this.#survey(item)));
      case 'confirm':
        return this.#confirm(items);
      case 'list':
        return this.#list(items);
      case 'retake':
        return this.#retake(items);
      case 'raise':
        return this.#raise(items);
      case 'drain':
        return Promise.resolve(items.map((item) => this.#state(item)));
      case 'seal':
        return this.#seal(items);
      case 'collect':
        return this.#collect(leader, items);
      case 'drop':
        return Promise.resolve(items.map((item) => this.#drop(item)));
    }
  }

  #isPrimary(partition: PartitionId): boolean {
    const { topology, members } = this.#core;
    return primaries(topology, partition).includes(members.self);
  }

  #state({ partition }: CollectionItem, obstacle?: Obstacle): CollectionState {
    const { store, hints } = this.#core;
    const { generations } = store;
    const { least } = generations.settledOf(partition);
    const floor = generations.floorOf(partition);
    return {
      ...NO_STATE,
      partition,
      obstacle,
      generation: generations.of(partition),
      least,
      floor: floor.generation,
      expiredByMs: floor.expiredByMs,
      requests: generations.olderOperations(partition),
      hints: this.#isPrimary(partition) ? 0 : hints.countOf(partition),
    };
  }

  /** Why a primary takes no part now. */
  #unfit(partition: PartitionId): Obstacle | undefined {
    return this.#isPrimary(partition) && !this.#core.standing.sound ? 'not-synchronised' : undefined;
  }

  #survey(item: CollectionItem): CollectionState {
    const { partition, expiredByMs } = item;
    const { pending } = this.#core.store.generations;
    const state = this.#state(item, this.#unfit(partition));
    if (!this.#isPrimary(partition)) return state;
    return { ...state, due: pending.isDue(partition, expiredByMs), young: pending.youngOf(partition) > 0 };
  }

  /** Why the candidates cannot be told now. */
  #unready({ partition, generation, expiredByMs }: CollectionItem): Obstacle | undefined {
    const { store, clock } = this.#core;
    if (generation !== store.generations.of(partition)) return 'generation';
    // By every clock that may judge it here, what expired by then is gone.
    if (clock.wallMs() < expiredByMs + MAX_AHEAD_MS) return 'clock';
    return this.#unfit(partition);
  }

  async #confirm(items: readonly CollectionItem[]): Promise<readonly CollectionState[]> {
    const { store, topology } = this.#core;
    const digests: number[][] = [];
    const damaged = new Set<PartitionId>();
    for (const item of items) {
      const slices = newSlices();
      digests.push(slices);
      if (this.#unready(item) !== undefined) continue;
      let candidates = 0;
      try {
        const nextMs = await scanCandidates(this.#core, item, undefined, (candidate) => {
          candidates += 1;
          addCandidate(slices, sliceOf(candidate.key, topology.tokenSpace.bits), candidate);
          return true;
        });
        store.generations.pending.scanned(item.partition, candidates, nextMs);
      } catch (error) {
        if (asCoterieError(error).code === 'INTERNAL') throw error;
        damaged.add(item.partition);
      }
    }
    // What was seen may still be on its way to the disk.
    const isDurable = await this.#durable();
    return items.map((item, at) => {
      const obstacle = this.#unready(item) ?? (damaged.has(item.partition) || !isDurable ? 'damaged' : undefined);
      return { ...this.#state(item, obstacle), slices: digests[at] ?? [] };
    });
  }

  async #durable(): Promise<boolean> {
    try {
      await this.#core.store.engine.sync();
      return true;
    } catch (error) {
      if (asCoterieError(error).code === 'INTERNAL') throw error;
      return false;
    }
  }

  async #list(items: readonly CollectionItem[]): Promise<readonly CollectionState[]> {
    const states: CollectionState[] = [];
    let left = MOST_LISTED;
    let bytes = MOST_LISTED_BYTES;
    for (const item of items) {
      const candidates: Candidate[] = [];
      let more = false;
      let obstacle = this.#unready(item);
      try {
        if (obstacle === undefined) {
          await scanCandidates(this.#core, item, item.slice, (candidate) => {
            more = left <= 0 || bytes <= 0;
            if (more) return false;
            candidates.push(candidate);
            left -= 1;
            bytes -= candidate.key.length;
            return true;
          });
        }
      } catch (error) {
        if (asCoterieError(error).code === 'INTERNAL') throw error;
        obstacle = 'damaged';
      }
      states.push({ ...this.#state(item, obstacle), candidates, more });
    }
    return states;
  }

  async #retake(items: readonly CollectionItem[]): Promise<readonly CollectionState[]> {
    const { store, topology } = this.#core;
    const states: CollectionState[] = [];
    for (const item of items) {
      const { partition, generation, expiredByMs, keys } = item;
      let obstacle = this.#unready(item);
      if (obstacle === undefined) {
        const wanted = keys.filter((key) => partitionOfDiskKey(topology, key) === partition);
        const outcomes = await Promise.allSettled(
          wanted.map((key) =>
            store.retake(key, (entry) => isCandidate(entry, generation + 1, expiredByMs) && !store.isCollected(key, entry)),
          ),
        );
        if (outcomes.some(({ status }) => status === 'rejected')) obstacle = 'damaged';
      }
      states.push(this.#state(item, obstacle));
    }
    return states;
  }

  async #raise(items: readonly CollectionItem[]): Promise<readonly CollectionState[]> {
    const { generations } = this.#core.store;
    // Within one turn: what is kept is counted, and from `raise` on no older hint is taken.
    const before = items.map((item) => {
      const state = this.#state(item, this.#unfit(item.partition));
      return state.hints > 0 ? { ...state, obstacle: 'hints' as const } : state;
    });
    const fitting = items.filter((item, at) => before[at]?.obstacle === undefined && before[at]?.generation === item.generation);
    try {
      if (fitting.length > 0) await generations.raise(fitting.map(({ partition, to }) => ({ partition, to })));
    } catch (error) {
      if (asCoterieError(error).code === 'INTERNAL') throw error;
      return items.map((item) => this.#state(item, 'damaged'));
    }
    return items.map((item, at) => {
      const { obstacle = this.#unfit(item.partition), generation = 0 } = before[at] ?? {};
      return { ...this.#state(item, obstacle), generation };
    });
  }

  async #seal(items: readonly CollectionItem[]): Promise<readonly CollectionState[]> {
    const { generations } = this.#core.store;
    const fits = ({ partition, generation }: CollectionItem): boolean => generations.of(partition) === generation + 1;
    const fitting = items.filter(fits);
    try {
      if (fitting.length > 0) await generations.seal(fitting.map(({ partition }) => partition));
    } catch (error) {
      if (asCoterieError(error).code === 'INTERNAL') throw error;
      return items.map((item) => this.#state(item, 'damaged'));
    }
    return items.map((item) => this.#state(item, fits(item) ? undefined : 'generation'));
  }

  async #collect(leader: string, items: readonly CollectionItem[]): Promise<readonly CollectionState[]> {
    const { store, standing } = this.#core;
    const isBehind = ({ partition, generation }: CollectionItem): boolean =>
      this.#isPrimary(partition) && store.generations.isBehind(partition, { least: 0, floor: generation });
    const behind = items.find(isBehind);
    if (behind !== undefined && standing.sound) {
      standing.foundRewound(leader, `partition ${String(behind.partition)} was collected at generation ${String(behind.generation)}`);
    }
    const floors = items
      .filter((item) => !isBehind(item))
      .map(({ partition, generation, expiredByMs }) => ({
        partition,
        floor: { generation, expiredByMs, sequence: store.engine.sequence },
      }));
    try {
      if (floors.length > 0) await store.generations.collect(floors);
    } catch (error) {
      if (asCoterieError(error).code === 'INTERNAL') throw error;
      return items.map((item) => this.#state(item, 'damaged'));
    }
    return items.map((item) => this.#state(item, isBehind(item) ? 'rewound' : undefined));
  }

  #drop(item: CollectionItem): CollectionState {
    const floor = this.#core.store.generations.floorOf(item.partition);
    if (floor.generation !== item.generation) return this.#state(item, 'generation');
    this.#reclaimer.add(item.partition, floor);
    return this.#state(item);
  }
}
