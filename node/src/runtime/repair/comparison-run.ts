/**
 * One partition compared with one other replica: performs what cluster/repair/comparison.ts decides.
 *
 * Invariants: what comes is merged, never put over what is here; at most one page of items and MOVE_KEYS objects are held; a failure of either side
 * ends it, and it is begun anew later.
 */

import type { ByteString } from '../../base/bytes.ts';
import { asCoterieError, CoterieError, type ErrorCode } from '../../base/errors.ts';
import type { PartitionId } from '../../base/ids.ts';
import {
  type ComparisonEvent,
  type ComparisonOut,
  type ComparisonResult,
  type ComparisonState,
  comparisonStep,
  newComparison,
} from '../../cluster/repair/comparison.ts';
import type { HashTrees, NodeHash } from '../../cluster/repair/hash-trees.ts';
import {
  decodeFetchAnswer,
  decodeHashes,
  decodeItems,
  encodeFetchQuestion,
  encodeItemsQuestion,
  encodeNodesQuestion,
} from '../../transport/messages/repair.ts';
import { MESSAGE } from '../../transport/messages/message-type.ts';
import { digestOf } from '../content.ts';
import type { NodeCore } from '../core.ts';
import { readItems } from './leaf-items.ts';
import { paused } from './tree-source.ts';

const PAGE_ITEMS = 1024;
const QUESTION_TIMEOUT_MS = 10_000;
/** Objects sent at a time. */
const SEND_AT_ONCE = 8;

export class ComparisonRun implements ComparisonOut {
  readonly #core: NodeCore;
  readonly #trees: HashTrees;
  readonly #peer: string;
  readonly #state: ComparisonState;
  readonly #ended: (result: ComparisonResult | CoterieError) => void;
  #beganMs = 0;
  /** Digests of the other's copies, of the page at hand. */
  #theirs: ReadonlyMap<ByteString, ByteString> = new Map();

  constructor(
    core: NodeCore,
    trees: HashTrees,
    peer: string,
    partition: PartitionId,
    ended: (result: ComparisonResult | CoterieError) => void,
  ) {
    this.#core = core;
    this.#trees = trees;
    this.#peer = peer;
    this.#state = newComparison(trees.space, partition);
    this.#ended = ended;
  }

  start(root: NodeHash): void {
    this.#step({ kind: 'start', root });
  }

  own(level: number, index: number): NodeHash {
    return this.#trees.node(this.#state.partition, level, index);
  }

  askNodes(level: number, indexes: readonly number[]): void {
    const question = encodeNodesQuestion({ partition: this.#state.partition, level, indexes });
    this.#perform(async () => {
      const hashes = await this.#ask(MESSAGE.treeNodes, question, (payload) => decodeHashes(payload, indexes.length));
      if (!hashes.sound) throw new CoterieError('NOT_SYNCHRONISED', 'the other store is not synchronised');
      return { kind: 'nodes', hashes: hashes.hashes };
    });
  }

  askItems(from: ByteString, to: ByteString | undefined): void {
    const { store, clock, pace } = this.#core;
    const { partition } = this.#state;
    this.#perform(async () => {
      const question = encodeItemsQuestion({ partition, from, to: to ?? '', limit: PAGE_ITEMS });
      const { items, end } = await this.#ask(MESSAGE.leafItems, question, decodeItems);
      const until = end === '' ? to : end;
      // The other's page bounds this one: what is here beyond it may be there too.
      const page = await readItems(
        store.engine,
        from,
        until,
        PAGE_ITEMS,
        (workedMs) => paused(clock, pace.pauseMs(workedMs)),
        () => clock.monotonicMs(),
        (entry) => !store.generations.isCollected(partition, entry),
      );
      const upTo = page.end ?? (end === '' ? undefined : end);
      const theirs = upTo === undefined ? items : items.filter(({ key }) => key < upTo);
      this.#theirs = new Map(theirs.map(({ key, digest }) => [key, digest]));
      this.#core.metrics.counts.leafItemsCompared.add(page.items.length);
      return { kind: 'items', own: page.items, theirs, end: upTo };
    });
  }

  move(fetch: readonly ByteString[], send: readonly ByteString[]): void {
    this.#perform(async () => {
      let left = fetch;
      while (left.length > 0) {
        const { objects, looked, generation } = await this.#ask(MESSAGE.fetch, encodeFetchQuestion(left), (payload) => {
          const answer = decodeFetchAnswer(payload);
          return { ...answer, objects: answer.objects.map(({ key, object }) => ({ key, object: new Uint8Array(object) })) };
        });
        if (looked === 0) throw new CoterieError('FRAME_INVALID', 'nothing was looked at');
        const wanted = new Set(left);
        await Promise.all(objects.filter(({ key }) => wanted.has(key)).map(({ key, object }) => this.#merge(key, object, generation)));
        left = left.slice(looked);
      }
      for (let at = 0; at < send.length; at += SEND_AT_ONCE) {
        await Promise.all(send.slice(at, at + SEND_AT_ONCE).map((key) => this.#send(key)));
      }
      return { kind: 'moved' };
    });
  }

  done(result: ComparisonResult): void {
    this.#core.metrics.counts.leavesCompared.add(this.#state.listed);
    this.#ended(result);
  }

  fail(code: ErrorCode): void {
    this.#ended(new CoterieError(code, `partition ${String(this.#state.partition)} could not be compared with ${this.#peer}`));
  }

  /** Feeds what `work` ends with, after the pause that clients are owed. */
  #perform(work: () => Promise<ComparisonEvent>): void {
    const { clock, pace } = this.#core;
    this.#beganMs = clock.monotonicMs();
    work()
      .then(async (event) => {
        await paused(clock, pace.pauseMs(clock.monotonicMs() - this.#beganMs));
        this.#step(event);
      })
      .catch((error: unknown) => {
        const coded = asCoterieError(error);
        if (coded.code === 'INTERNAL') throw error;
        this.#step({ kind: 'failed', code: coded.code });
      });
  }

  #step(event: ComparisonEvent): void {
    comparisonStep(this.#state, event, this);
  }

  #ask<Answer>(type: number, payload: Uint8Array, decode: (payload: Uint8Array) => Answer): Promise<Answer> {
    const { transport, topology } = this.#core;
    return new Promise((resolve, reject) => {
      transport.request(this.#peer, type, payload, QUESTION_TIMEOUT_MS, topology.epoch, (reply) => {
        if (reply.kind === 'failed') {
          reject(new CoterieError(reply.code, reply.message));
          return;
        }
        // Borrowed: decoded within the call.
        try {
          resolve(decode(reply.payload));
        } catch (error) {
          reject(asCoterieError(error));
        }
      });
    });
  }

  #merge(key: ByteString, object: Uint8Array, generation: number): Promise<void> {
    const { store, metrics } = this.#core;
    return new Promise((resolve, reject) => {
      store.mergeRepaired(key, object, generation, (error) => {
        if (error !== undefined) {
          reject(error);
          return;
        }
        metrics.counts.objectsFetched.add();
        metrics.counts.repairBytes.add(object.length);
        resolve();
      });
    });
  }

  #send(key: ByteString): Promise<void> {
    const { store, transport, encoder, topology, policies, metrics } = this.#core;
    return new Promise((resolve, reject) => {
      store.read(
        key,
        (bytes) => {
          // What was merged here may be just what the other has.
          if (bytes === undefined || this.#theirs.get(key) === digestOf(bytes)) {
            resolve();
            return;
          }
          const object = policies.transferred(bytes);
          metrics.counts.repairBytes.add(object.length);
          // Of the turn in which the copy was read.
          const request = encoder.writeRequest(key, object, store.generations.of(this.#state.partition));
          transport.request(this.#peer, MESSAGE.write, request, QUESTION_TIMEOUT_MS, topology.epoch, (reply) => {
            if (reply.kind === 'reply') {
              metrics.counts.objectsSent.add();
              resolve();
            } else {
              reject(new CoterieError(reply.code, reply.message));
            }
          });
        },
        reject,
      );
    });
  }
}
