/**
 * The taking side: a blank or rewound store copies its partitions from the other primaries (rule and progress: cluster/membership/synchronisation.ts).
 *
 * Invariants: progress is recorded only after what it stands for is durable, so that an interrupted copy goes on where it was, or before; one
 * request at a time to each source; with nothing to do no timer runs; a partition of an old disk that its sources have gone on from, in generations, is
 * emptied before anything of it counts: what it holds may have been collected meanwhile (cluster/collection).
 */

import { type ByteString, toHex, fromByteString } from '../base/bytes.ts';
import { asCoterieError, CoterieError } from '../base/errors.ts';
import type { PartitionId, StoreId } from '../base/ids.ts';
import type { Clock, Timer } from '../env/clock.ts';
import {
  advanceWalk,
  judgeProgress,
  type Neighbours,
  resumeWalk,
  type SynchronisationState,
  type Walk,
  walkPosition,
} from '../cluster/membership/synchronisation.ts';
import { MESSAGE } from '../transport/messages/message-type.ts';
import { decodeReport, encodeCollection } from '../transport/messages/collection.ts';
import {
  type CopiedEntry,
  type CopiedPartition,
  type CopyAnswer,
  decodeCopyAnswer,
  encodeCopyQuestion,
} from '../transport/messages/ranges.ts';
import type { StoreIdentity } from '../cluster/membership/identity.ts';
import { FIRST_GENERATION } from '../cluster/collection/generation-table.ts';
import { partitionOfDiskKey, partitionRange } from '../cluster/ring/token.ts';
import type { NodeCore } from './core.ts';
import type { IdentityFile } from './identity-file.ts';
import type { SynchronisationView } from './kv.ts';

const PAGE_BYTES = 256 * 1024;
/** Merged at a time. */
const GROUP_BYTES = 32 * 1024;
const PAGE_TIMEOUT_MS = 10_000;
/** Pages after which progress is written down. */
const SAVE_EVERY = 4;
/** Partitions whose generations are asked for at a time. */
const SURVEYED = 1024;
const NO_ITEM = { generation: 0, to: 0, expiredByMs: 0, slice: 0, keys: [] } as const;

export class Synchroniser {
  readonly #core: NodeCore;
  readonly #file: IdentityFile;
  readonly #clock: Clock;
  readonly #retryMs: number;
  readonly #near: Neighbours;
  readonly #walking = new Set<string>();
  /** Peers that say that they are synchronised. */
  readonly #sound = new Set<string>();
  readonly #met = new Set<string>();
  readonly #meeting = new Set<string>();
  #heeding: Promise<void> = Promise.resolve();
  #finishing = false;
  /** Raised when everything is copied anew: what walks begun before have copied says nothing. */
  #round = 0;
  #startingOver = false;
  #stopped = false;
  #retry: Timer | undefined;

  constructor(core: NodeCore, file: IdentityFile, retryMs: number) {
    const { topology, members } = core;
    this.#core = core;
    this.#file = file;
    this.#clock = core.clock;
    this.#retryMs = retryMs;
    this.#near = {
      self: members.self,
      names: members.names,
      partitions: topology.partitions.filter((replicas) => replicas.includes(members.self)),
      n: topology.N,
      w: Math.min(...topology.buckets.map((bucket) => bucket.W)),
    };
  }

  stop(): void {
    this.#stopped = true;
    this.#retry?.cancel();
  }

  peerSays(member: string, synchronised: boolean): void {
    if (synchronised) this.#sound.add(member);
    else this.#sound.delete(member);
    this.advance();
  }

  view(): SynchronisationView {
    const total = this.#near.partitions.length;
    if (this.#core.standing.synchronised) {
      return { synchronised: true, partitionsTotal: total, partitionsDone: total, waitingFor: undefined };
    }
    const state = this.#judge();
    const idle = state.missing.filter((name) => !this.#walking.has(name));
    const waits = this.#walking.size === 0 && idle.length > 0;
    return {
      synchronised: false,
      partitionsTotal: total,
      partitionsDone: state.partitionsDone,
      waitingFor: waits ? `${idle.join(', ')}: too few synchronised replicas can be reached` : undefined,
    };
  }

  /** Does what can be done now; called whenever something changed. */
  advance(): void {
    if (this.#stopped) return;
    this.#greet();
    if (this.#finishing || this.#startingOver || this.#core.standing.synchronised) return;
    const state = this.#judge();
    if (state.synchronised) {
      this.#finish();
      return;
    }
    const { progress } = this.#file.current;
    for (const name of state.missing) {
      const walk = progress.sources[name];
      const store = this.#storeOf(name);
      if (store === undefined || this.#walking.has(name) || !this.#reachable(name)) continue;
      // What an unsynchronised source had is copied; to ask again makes sense once it has more.
      if (walk?.done === true && walk.storeId === store && !this.#sound.has(name)) continue;
      this.#walking.add(name);
      this.#begin(name, resumeWalk(progress, name, store));
    }
  }

  /**
   * Meets every peer once, also with nothing to copy: an old disk that shows in nothing else shows in its generations (cluster/collection), because
   * every member goes along with every round.
   */
  #greet(): void {
    const { members } = this.#core;
    for (const [index, name] of members.names.entries()) {
      if (index === members.self || this.#met.has(name) || this.#meeting.has(name) || !members.isReachable(index)) continue;
      this.#meeting.add(name);
      this.#meet(name).then(
        () => {
          this.#meeting.delete(name);
          this.#met.add(name);
          this.#core.standing.met();
        },
        (error: unknown) => {
          this.#meeting.delete(name);
          if (asCoterieError(error).code === 'INTERNAL') throw error;
          this.#again();
        },
      );
    }
  }

  #judge(): SynchronisationState {
    return judgeProgress(this.#file.current.progress, this.#near);
  }

  #storeOf(name: string): StoreId | undefined {
    return this.#file.current.peers[name]?.storeId;
  }

  #reachable(name: string): boolean {
    return this.#core.members.isReachable(this.#core.members.indexOf(name));
  }

  #finish(): void {
    this.#finishing = true;
    this.#core.standing.becomeSynchronised().then(
      () => {
        this.#finishing = false;
        this.advance();
      },
      (error: unknown) => {
        this.#finishing = false;
        this.#later(error);
      },
    );
  }

  #begin(name: string, walk: Walk): void {
    this.#walk(name, walk).then(
      () => {
        this.#walking.delete(name);
        this.advance();
      },
      (error: unknown) => {
        this.#walking.delete(name);
        this.#later(error);
      },
    );
  }

  #later(error: unknown): void {
    if (this.#stopped) return;
    const { code, message } = error as CoterieError;
    this.#core.warn('copy-interrupted', { code, message });
    const damaged = code === 'DATA_DAMAGED' && this.#core.store.engine.quarantined().length > 0;
    // Peers that tell news let it walk on before the pause is over: that is no reason to write again what could not be written.
    if (damaged && this.#retry === undefined) this.#startOver();
    else this.#again();
  }

  /** Whatever failed would fail again at once: a disk that cannot be written, a source that is away. */
  #again(): void {
    if (this.#stopped) return;
    this.#retry ??= this.#clock.after(this.#retryMs, () => {
      this.#retry = undefined;
      this.advance();
    });
  }

  /**
   * What was copied here has been damaged. Nothing of this store counts yet, and it mints nothing: what is lost is given up, and everything copied
   * anew.
   */
  #startOver(): void {
    if (this.#startingOver || this.#core.standing.synchronised) return;
    this.#startingOver = true;
    this.#round += 1;
    this.#giveUpLost().then(
      () => {
        this.#startingOver = false;
        this.advance();
      },
      (error: unknown) => {
        this.#startingOver = false;
        if (this.#stopped) return;
        const { code, message } = error as CoterieError;
        this.#core.warn('copy-not-begun-anew', { code, message });
        this.#again();
      },
    );
  }

  async #giveUpLost(): Promise<void> {
    // First: a copy that lacks what was given up must not pass for a whole one.
    await this.#file.change((identity) => ({ ...identity, progress: { sources: {} } }));
    const { engine } = this.#core.store;
    for (const { from, to } of engine.quarantined()) await engine.heal(from, to);
  }

  /** Answers whether a walk that begins now may still go on: not once this store, or the one in the source's slot, is another one, or was emptied. */
  #watch(name: string, source: StoreId): () => boolean {
    const { storeId, boot } = this.#file.current;
    const round = this.#round;
    return () => {
      const { current } = this.#file;
      const same = current.boot === boot && current.storeId === storeId && this.#storeOf(name) === source;
      return !this.#stopped && same && this.#round === round;
    };
  }

  /** Copies from `name` to the end. */
  async #walk(name: string, begun: Walk): Promise<void> {
    const mayGoOn = this.#watch(name, begun.storeId);
    let walk = begun;
    if ((await this.#meet(name)) || !mayGoOn()) return;
    for (let page = 1; !walk.done; page += 1) {
      const answer = await this.#ask(name, walk);
      if (!mayGoOn() || (await this.#heed(name, answer.partitions)) || !mayGoOn()) return;
      await this.#store(answer);
      // A rewind noticed meanwhile, or another store in the source's slot, begins everything anew.
      if (!mayGoOn()) return;
      const next = answer.next === undefined ? undefined : toHex(fromByteString(answer.next));
      const change = (identity: StoreIdentity): StoreIdentity => ({
        ...identity,
        progress: advanceWalk(identity.progress, name, walk, next, answer.synchronised),
      });
      if (next === undefined || page % SAVE_EVERY === 0) await this.#file.change(change);
      else this.#file.note(change);
      walk = this.#file.current.progress.sources[name] ?? { ...walk, done: true };
    }
  }

  /**
   * Learns under which generations the source is, before anything is copied: writes that carry them can then be taken. Of all partitions, because
   * hints are kept of those that this store is no primary of. Answers whether to begin anew.
   */
  async #meet(name: string): Promise<boolean> {
    const { topology } = this.#core;
    for (let from = 0; from < topology.Q; from += SURVEYED) {
      const items = Array.from({ length: Math.min(SURVEYED, topology.Q - from) }, (_, at) => ({
        ...NO_ITEM,
        partition: (from + at) as PartitionId,
      }));
      const { states } = decodeReport(await this.#request(name, MESSAGE.collect, encodeCollection({ step: 'survey', items })));
      const said = items.flatMap(({ partition }, at) => {
        const { generation = 0, floor = 0, least = 0 } = states[at] ?? {};
        return { partition, generation, floor, least };
      });
      if (await this.#heed(name, said)) return true;
    }
    return false;
  }

  /** Goes to the source's generations, emptying what is from before them. Answers whether everything is to be copied anew. */
  #heed(name: string, partitions: readonly CopiedPartition[]): Promise<boolean> {
    // One at a time: what another walk has just emptied and filled again must not be emptied twice.
    const heeded = this.#heeding.then(() => this.#heedNow(name, partitions));
    this.#heeding = heeded.then(
      () => undefined,
      () => undefined,
    );
    return heeded;
  }

  async #heedNow(name: string, partitions: readonly CopiedPartition[]): Promise<boolean> {
    const { topology, members, store, standing } = this.#core;
    const { generations } = store;
    const isOwn = (partition: PartitionId): boolean => (topology.partitions[partition] ?? []).includes(members.self);
    const later = partitions.filter((said) => {
      const isHigher = isOwn(said.partition) && said.generation > generations.of(said.partition);
      return isHigher || said.least > generations.settledOf(said.partition).least || generations.isBehind(said.partition, said);
    });
    if (later.length === 0) return false;
    // A disk that is known to be an old one is trusted with nothing from before.
    const { behind } = this.#file.current;
    const old = later
      .filter((said) => isOwn(said.partition) && (behind || generations.isBehind(said.partition, said)))
      .map(({ partition }) => partition);
    if (old.length > 0 && (standing.synchronised || this.#finishing)) {
      // It passes for complete already, or is about to.
      standing.foundRewound(name, `partition ${String(old[0])} was collected meanwhile`);
      return true;
    }
    generations.close(old);
    try {
      if (old.length > 0) await this.#empty(old);
      await generations.adopt(
        later.map(({ partition, generation, least, floor }) => ({
          partition,
          // Where hints are kept, a generation rises past what is settled only in rounds (cluster/collection/round.ts).
          generation: isOwn(partition) ? generation : Math.max(least, floor),
          least: Math.max(least, floor),
        })),
      );
    } finally {
      generations.reopen(old);
    }
    return old.length > 0;
  }

  async #empty(partitions: readonly PartitionId[]): Promise<void> {
    const { store, topology, metrics, warn } = this.#core;
    this.#round += 1;
    // First: a copy that lacks what goes must not pass for a whole one.
    await this.#file.change((identity) => ({ ...identity, progress: { sources: {} } }));
    let emptied = 0;
    for (const partition of partitions) {
      const { from, to } = partitionRange(topology, partition);
      if (!(await this.#holdsAnything(from, to))) continue;
      emptied += 1;
      const dropped = store.engine.dropRange(from, to);
      // In the turn in which they go: the hash trees that are written down from now on stand for what is left.
      store.generations.collected(partition);
      await dropped;
    }
    metrics.counts.partitionsEmptied.add(emptied);
    if (emptied > 0) warn('partitions-emptied', { partitions: emptied, why: 'an old disk: what it held may have been collected' });
  }

  async #holdsAnything(from: ByteString, to: ByteString | undefined): Promise<boolean> {
    const iterator = this.#core.store.engine.iterate({ from, to, limit: 1 });
    try {
      return (await iterator.next()).length > 0;
    } catch (error) {
      if ((error as CoterieError).code !== 'DATA_DAMAGED') throw error;
      return true;
    } finally {
      iterator.close();
    }
  }

  #request(name: string, type: number, payload: Uint8Array): Promise<Uint8Array> {
    const { transport, topology } = this.#core;
    return new Promise((resolve, reject) => {
      transport.request(name, type, payload, PAGE_TIMEOUT_MS, topology.epoch, (reply) => {
        if (reply.kind === 'failed') reject(new CoterieError(reply.code, reply.message));
        else resolve(new Uint8Array(reply.payload));
      });
    });
  }

  #ask(name: string, walk: Walk): Promise<CopyAnswer> {
    const { transport, topology } = this.#core;
    const payload = encodeCopyQuestion({ from: walkPosition(walk), maxBytes: PAGE_BYTES, to: '' });
    return new Promise((resolve, reject) => {
      transport.request(name, MESSAGE.copy, payload, PAGE_TIMEOUT_MS, topology.epoch, (reply) => {
        if (reply.kind === 'failed') {
          const { code, message } = reply;
          reject(Object.assign(new Error(message), { code }));
          return;
        }
        const answer = decodeCopyAnswer(reply.payload);
        // The payload is borrowed, the merges are not awaited in this turn.
        resolve({ ...answer, entries: answer.entries.map(({ key, object }) => ({ key, object: new Uint8Array(object) })) });
      });
    });
  }

  /** Merges what came, a little at a time; resolves when all of it is durable. */
  async #store(answer: CopyAnswer): Promise<void> {
    const { entries } = answer;
    const generations = new Map(answer.partitions.map(({ partition, generation }) => [partition, generation]));
    for (let from = 0; from < entries.length;) {
      let to = from;
      for (let bytes = 0; to < entries.length && bytes < GROUP_BYTES; to += 1) bytes += entries[to]?.object.length ?? 0;
      await this.#storeGroup(entries.slice(from, to), generations);
      from = to;
    }
    this.#core.metrics.counts.entriesCopied.add(entries.length);
  }

  /** Merges entries until the engine has taken them all. It sheds load, because clients come first; what it took is not offered again. */
  async #storeGroup(group: readonly CopiedEntry[], generations: ReadonlyMap<PartitionId, number>): Promise<void> {
    let left = group;
    for (;;) {
      const outcomes = await Promise.allSettled(left.map((entry) => this.#merge(entry, generations)));
      const refused: CopiedEntry[] = [];
      for (const [at, outcome] of outcomes.entries()) {
        const entry = left[at];
        if (outcome.status === 'fulfilled' || entry === undefined) continue;
        if ((outcome.reason as CoterieError).code !== 'BUSY' || this.#stopped) throw outcome.reason;
        refused.push(entry);
      }
      if (refused.length === 0) return;
      left = refused;
      await new Promise<void>((resolve) => this.#clock.after(this.#retryMs, resolve));
    }
  }

  #merge({ key, object }: CopiedEntry, generations: ReadonlyMap<PartitionId, number>): Promise<void> {
    const generation = generations.get(partitionOfDiskKey(this.#core.topology, key)) ?? FIRST_GENERATION;
    return new Promise((resolve, reject) => {
      this.#core.store.merge(key, object, generation, (error) => {
        if (error === undefined) resolve();
        else reject(error);
      });
    });
  }
}
