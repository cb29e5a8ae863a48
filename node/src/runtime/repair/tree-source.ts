/**
 * The asked side of a comparison: hashes of this store's trees, the items of its leaves, and the objects that another replica lacks.
 *
 * Invariants: only of partitions that both members are primaries of; a store that is not synchronised says so, and a range that it cannot read whole
 * is an error, so that what is missing here never looks like an answer; a bounded number of scans runs at a time.
 */

import type { ByteString } from '../../base/bytes.ts';
import { asCoterieError, CoterieError } from '../../base/errors.ts';
import type { PartitionId } from '../../base/ids.ts';
import { LAST_GENERATION } from '../../cluster/collection/generation-table.ts';
import type { HashTrees } from '../../cluster/repair/hash-trees.ts';
import { partitionOfDiskKey, partitionRange } from '../../cluster/ring/token.ts';
import {
  decodeFetchQuestion,
  decodeItemsQuestion,
  decodeNodesQuestion,
  decodeRootsQuestion,
  encodeFetchAnswer,
  encodeHashes,
  encodeItems,
  type FetchedEntry,
  type ItemsQuestion,
  type WireHash,
} from '../../transport/messages/repair.ts';
import { MESSAGE } from '../../transport/messages/message-type.ts';
import type { IncomingRequest } from '../../transport/request.ts';
import type { NodeCore } from '../core.ts';
import { readItems } from './leaf-items.ts';

/** Scans and fetches for others under way at a time; further ones are refused with BUSY, and asked again later. */
const MOST_UNDER_WAY = 8;
const FETCH_BYTES = 512 * 1024;

export class TreeSource {
  readonly #core: NodeCore;
  readonly #trees: HashTrees;
  #underWay = 0;

  constructor(core: NodeCore, trees: HashTrees) {
    this.#core = core;
    this.#trees = trees;
  }

  get underWay(): number {
    return this.#underWay;
  }

  serve(): void {
    const { transport } = this.#core;
    transport.handle(MESSAGE.treeRoots, (request) => {
      const partitions = decodeRootsQuestion(request.payload);
      this.#answerHashes(request, partitions, (partition) => this.#trees.node(partition, 0, 0));
    });
    transport.handle(MESSAGE.treeNodes, (request) => {
      const { partition, level, indexes } = decodeNodesQuestion(request.payload);
      this.#answerHashes(request, indexes, (index) => this.#trees.node(partition, level, index));
    });
    transport.handle(MESSAGE.leafItems, (request) => {
      const question = decodeItemsQuestion(request.payload);
      this.#scan(request, () => this.#items(request.peer, question));
    });
    transport.handle(MESSAGE.fetch, (request) => {
      const keys = decodeFetchQuestion(request.payload);
      this.#scan(request, () => this.#fetch(request.peer, keys));
    });
  }

  /** Whether both members are primaries of the partition. */
  #shares(peer: string, partition: number): boolean {
    const { topology, members } = this.#core;
    const replicas = topology.partitions[partition] ?? [];
    return replicas.includes(members.self) && replicas.includes(members.indexOf(peer));
  }

  #answerHashes(request: IncomingRequest, asked: readonly number[], hash: (number: number) => WireHash): void {
    const { sound } = this.#core.standing;
    request.reply(encodeHashes({ hashes: asked.map(hash), sound }));
  }

  #scan(request: IncomingRequest, answer: () => Promise<Uint8Array>): void {
    if (this.#underWay >= MOST_UNDER_WAY) {
      request.fail('BUSY', 'enough ranges are being compared already', 'none');
      return;
    }
    this.#underWay += 1;
    answer()
      .then(
        (payload) => {
          request.reply(payload);
        },
        (error: unknown) => {
          const coded = asCoterieError(error);
          request.fail(coded.code, coded.message, 'none');
        },
      )
      .finally(() => {
        this.#underWay -= 1;
      });
  }

  async #items(peer: string, { partition, from, to, limit }: ItemsQuestion): Promise<Uint8Array> {
    const { topology, store, pace, clock, standing } = this.#core;
    if (!this.#shares(peer, partition)) throw notShared();
    if (!standing.sound) throw new CoterieError('NOT_SYNCHRONISED', 'this store is not synchronised', { outcome: 'none' });
    const whole = partitionRange(topology, partition as PartitionId);
    const first = from > whole.from ? from : whole.from;
    const end = to === '' || (whole.to !== undefined && to > whole.to) ? whole.to : to;
    const page = await readItems(
      store.engine,
      first,
      end,
      limit,
      (workedMs) => paused(clock, pace.pauseMs(workedMs)),
      () => clock.monotonicMs(),
      (entry) => !store.generations.isCollected(partition as PartitionId, entry),
    );
    return encodeItems({ items: page.items, end: page.end ?? '' });
  }

  async #fetch(peer: string, keys: readonly ByteString[]): Promise<Uint8Array> {
    const { topology, store, policies } = this.#core;
    const objects: FetchedEntry[] = [];
    let bytes = 0;
    let looked = 0;
    let generation = LAST_GENERATION;
    for (const key of keys) {
      const partition = partitionOfDiskKey(topology, key);
      if (!this.#shares(peer, partition)) throw notShared();
      if (bytes >= FETCH_BYTES) break;
      // Before the copy is read: it may rise meanwhile.
      generation = Math.min(generation, store.generations.of(partition));
      const entry = await store.engine.get(key);
      looked += 1;
      if (entry === undefined || store.isCollected(key, entry)) continue;
      const object = policies.transferred(new Uint8Array(entry.value));
      objects.push({ key, object });
      bytes += key.length + object.length;
    }
    return encodeFetchAnswer({ objects, looked, generation });
  }
}

function notShared(): CoterieError {
  return new CoterieError('REQUEST_INVALID', 'this partition is not on both members', { outcome: 'none' });
}

/** Resolves after a pause; at once where there is none. */
export function paused(clock: NodeCore['clock'], ms: number): Promise<void> {
  return ms > 0 ? new Promise((resolve) => clock.after(ms, resolve)) : Promise.resolve();
}
