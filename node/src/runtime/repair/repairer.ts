/**
 * Brings this store and the other replicas of its partitions together: compares what is owed (cluster/repair/debts.ts), and fills ranges again that
 * damage took.
 *
 * Pairs of replicas compare everything they share every `everyMs`, when a member returns (also this one), and when somebody asks; and a single
 * partition when one of them has missed writes that nobody keeps for it, or nobody can hand it. What cannot be compared stays owed and is tried
 * again. It does not replace the synchroniser: a blank or rewound store first copies its partitions by range scans, which is cheaper where
 * everything is missing, and decides whether it counts; until then it compares nothing.
 *
 * Invariants: one comparison at a time with a member, with at most MEMBERS_AT_ONCE members; one lost range is refilled at a time; after a refill the
 * partition is compared with all its replicas; between steps it pauses as long as clients need (runtime/foreground-pace.ts).
 */

import { asCoterieError, CoterieError } from '../../base/errors.ts';
import type { PartitionId } from '../../base/ids.ts';
import type { Timer } from '../../env/clock.ts';
import type { ComparisonResult } from '../../cluster/repair/comparison.ts';
import { Debts, type RequestedRepair } from '../../cluster/repair/debts.ts';
import type { NodeHash } from '../../cluster/repair/hash-trees.ts';
import { refillQuorum } from '../../cluster/repair/refill.ts';
import { leavesTouched, LEAVES } from '../../cluster/repair/tree-shape.ts';
import { primaries } from '../../cluster/ring/preference.ts';
import { partitionRange } from '../../cluster/ring/token.ts';
import type { DamagedRange } from '../../storage/engine.ts';
import { decodeHashes, encodeRootsQuestion, type HashesAnswer, MOST_ROOTS } from '../../transport/messages/repair.ts';
import { MESSAGE } from '../../transport/messages/message-type.ts';
import type { NodeCore } from '../core.ts';
import { ComparisonRun } from './comparison-run.ts';
import type { LocalTrees } from './local-trees.ts';
import { type LostPart, type LostRange, RefillRun } from './refill-run.ts';

const MEMBERS_AT_ONCE = 2;
const QUESTION_TIMEOUT_MS = 10_000;

export interface RepairTimings {
  /** How often a pair of replicas compares all they share, in ms; 0: never by itself. */
  readonly everyMs: number;
  /** Pause before what could not be done is tried again, in ms. */
  readonly retryMs: number;
}

export class Repairer {
  readonly debts: Debts;
  readonly #core: NodeCore;
  readonly #trees: LocalTrees;
  readonly #timings: RepairTimings;
  readonly #busy = new Set<number>();
  /** Members that can be asked. */
  readonly #there = new Set<number>();
  readonly #lastMs = new Map<number, number>();
  #refilling = false;
  /** How many more sources the lost range at hand waits for. */
  #short = 0;
  #turn = 0;
  /** Damage that the present actor is younger than. */
  #renamedFor: ReadonlySet<string> = new Set();
  #stopped = false;
  #retry: Timer | undefined;
  #round: Timer | undefined;

  constructor(core: NodeCore, trees: LocalTrees, timings: RepairTimings) {
    this.#core = core;
    this.#trees = trees;
    this.#timings = timings;
    this.debts = new Debts(core.topology, core.members.self);
  }

  /** Members of whom a comparison is under way. */
  get underWay(): number {
    return this.#busy.size + (this.#refilling ? 1 : 0);
  }

  /** Sources that a lost range waits for, more than can be asked now. */
  get waitsFor(): number {
    return this.#short;
  }

  /** The wall clock when the last round with a member was done. */
  lastMs(member: number): number | undefined {
    return this.#lastMs.get(member);
  }

  /** Ranges of this store's partitions that are lost now. */
  lost(): LostRange[] {
    const { topology, members, store } = this.#core;
    return store.engine
      .quarantined()
      .flatMap((range) => partsOf(this.#core, range).filter(({ partition }) => primaries(topology, partition).includes(members.self)));
  }

  begin(): void {
    this.#core.members.onChange((index) => {
      this.#memberChanged(index);
    });
    for (const [index] of this.#core.members.names.entries()) this.#memberChanged(index);
    if (this.#timings.everyMs > 0) this.#roundLater();
  }

  stop(): void {
    this.#stopped = true;
    this.#retry?.cancel();
    this.#round?.cancel();
  }

  request(first: number, last: number): RequestedRepair {
    const requested = this.debts.request(first, last);
    this.#core.clock.soon(() => {
      this.advance();
    });
    return requested;
  }

  /**
   * A replica has missed something of a partition that nobody will bring it. Compared with it at once, or after the pause, where more of the kind may be
   * on its way.
   */
  owe(partition: PartitionId, member: number, when: 'now' | 'after the pause'): void {
    if (this.#timings.everyMs === 0 || !this.debts.owe(member, partition)) return;
    this.#core.metrics.counts.comparisonsOwed.add();
    // Else its return will do.
    if (!this.#core.members.isReachable(member)) return;
    if (when === 'after the pause') this.#later();
    else {
      this.#core.clock.soon(() => {
        this.advance();
      });
    }
  }

  /** Does what can be done now; called whenever something changed. */
  advance(): void {
    if (this.#stopped) return;
    this.#refill();
    if (!this.#core.standing.sound) return;
    for (const member of this.debts.neighbours) {
      if (this.#busy.size >= MEMBERS_AT_ONCE) return;
      if (this.debts.owedTo(member) === 0 || this.#busy.has(member) || !this.#isThere(member)) continue;
      void this.#compareWith(member);
    }
  }

  /** A call, because it changes while something is awaited. */
  #isStopped(): boolean {
    return this.#stopped;
  }

  #memberChanged(member: number): void {
    const isThere = this.#isThere(member);
    if (isThere === this.#there.has(member) || member === this.#core.members.self) return;
    if (!isThere) {
      this.#there.delete(member);
      return;
    }
    this.#there.add(member);
    // It was away, or this store was: what it missed is not known.
    if (this.#timings.everyMs > 0 && this.debts.asks(member)) this.debts.oweAll(member);
    this.#core.clock.soon(() => {
      this.advance();
    });
  }

  /** One that was DOWN is first reached again, and then found UP. */
  #isThere(member: number): boolean {
    const { members } = this.#core;
    return members.isReachable(member) && !members.isDown(member);
  }

  #roundLater(): void {
    this.#round = this.#core.clock.after(this.#timings.everyMs, () => {
      for (const member of this.debts.neighbours) if (this.debts.asks(member)) this.debts.oweAll(member);
      this.#roundLater();
      this.advance();
    });
  }

  #later(): void {
    if (this.#stopped) return;
    this.#retry ??= this.#core.clock.after(this.#timings.retryMs, () => {
      this.#retry = undefined;
      this.advance();
    });
  }

  async #compareWith(member: number): Promise<void> {
    this.#busy.add(member);
    let complete = false;
    try {
      complete = await this.#compareAll(member);
    } catch (error) {
      if (asCoterieError(error).code === 'INTERNAL') throw error;
      this.#core.metrics.counts.comparisonsFailed.add();
    }
    this.#busy.delete(member);
    // What could not be compared waits; what became owed meanwhile does not.
    if (complete) this.advance();
    else this.#later();
  }

  /** Compares everything owed to a member; resolves false where some of it could not be compared. */
  async #compareAll(member: number): Promise<boolean> {
    const { clock, metrics, pace } = this.#core;
    let complete = true;
    const owed = this.debts.listOwed(member);
    for (let at = 0; at < owed.length && !this.#isStopped(); at += MOST_ROOTS) {
      const partitions = owed.slice(at, at + MOST_ROOTS);
      const { hashes, sound } = await this.#askRoots(member, partitions);
      if (!sound) return false;
      for (const [place, partition] of partitions.entries()) {
        const root = hashes[place];
        if (root === undefined || this.#isStopped()) return false;
        const beganMs = clock.monotonicMs();
        const result = await this.#compare(member, partition, root);
        metrics.counts.partitionsCompared.add();
        if (result === 'repaired') metrics.counts.partitionsRepaired.add();
        if (result === 'unknown') complete = false;
        else this.debts.paid(member, partition);
        if (result === 'equal') continue;
        const pauseMs = pace.pauseMs(clock.monotonicMs() - beganMs);
        if (pauseMs > 0) await new Promise<void>((resolve) => clock.after(pauseMs, resolve));
      }
    }
    if (complete) this.#lastMs.set(member, clock.wallMs());
    return complete;
  }

  #compare(member: number, partition: PartitionId, root: NodeHash): Promise<ComparisonResult> {
    const own = this.#trees.trees.node(partition, 0, 0);
    if (own.known && root.known && own.hi === root.hi && own.lo === root.lo) return Promise.resolve('equal');
    return new Promise((resolve, reject) => {
      new ComparisonRun(this.#core, this.#trees.trees, this.#core.members.nameOf(member), partition, (result) => {
        if (typeof result === 'string') resolve(result);
        else reject(result);
      }).start(root);
    });
  }

  #askRoots(member: number, partitions: readonly PartitionId[]): Promise<HashesAnswer> {
    const { transport, topology, members } = this.#core;
    return new Promise((resolve, reject) => {
      const question = encodeRootsQuestion(partitions);
      transport.request(members.nameOf(member), MESSAGE.treeRoots, question, QUESTION_TIMEOUT_MS, topology.epoch, (reply) => {
        if (reply.kind === 'failed') {
          reject(new CoterieError(reply.code, reply.message));
          return;
        }
        try {
          resolve(decodeHashes(reply.payload, partitions.length));
        } catch (error) {
          reject(asCoterieError(error));
        }
      });
    });
  }

  /** Begins with a lost range, if there is one that can be filled now. */
  #refill(): void {
    const { topology, members, store, policies } = this.#core;
    if (this.#refilling || !policies.damageShows()) return;
    this.#short = 0;
    const parts = store.engine.quarantined().flatMap((range) => partsOf(this.#core, range));
    const needed = refillQuorum(topology.N, Math.min(...topology.buckets.map((bucket) => bucket.W)));
    for (let at = 0; at < parts.length; at += 1) {
      // Not always the same one first: it may wait for a member that others do not need.
      const part = parts[(this.#turn + at) % parts.length];
      if (part === undefined) continue;
      const replicas = primaries(topology, part.partition);
      const others = replicas.filter((member) => member !== members.self && members.isReachable(member));
      if (!replicas.includes(members.self)) void this.#attempt(() => this.#giveUp(part));
      else if (others.length >= needed) void this.#attempt(() => this.#fill(part, others, needed));
      else {
        this.#short = needed - others.length;
        continue;
      }
      return;
    }
    if (parts.length > 0) this.#later();
  }

  /** @param attempt resolves with how many sources are missing; undefined where the range is whole again */
  async #attempt(attempt: () => Promise<number | undefined>): Promise<void> {
    this.#refilling = true;
    let short: number | undefined = 0;
    try {
      short = await attempt();
    } catch (error) {
      if (asCoterieError(error).code === 'INTERNAL') throw error;
    }
    this.#refilling = false;
    if (this.#stopped) return;
    this.#short = short ?? 0;
    if (short === undefined) {
      this.advance();
      return;
    }
    this.#turn += 1;
    this.#later();
  }

  /** Nothing of this store's partitions lies there. */
  async #giveUp({ from, to }: LostPart): Promise<undefined> {
    await this.#core.store.engine.heal(from, to);
  }

  async #fill(part: DamagedPart, others: readonly number[], needed: number): Promise<number | undefined> {
    const { standing, store, metrics } = this.#core;
    if (!this.#renamedFor.has(part.damage)) {
      const damages = store.engine.quarantined().map(damageName);
      // Dots that this store minted may be among what is lost: it must not go on as who claims to hold them.
      await standing.takeNewActor();
      this.#renamedFor = new Set(damages);
    }
    const short = await new Promise<number | undefined>((resolve) => {
      new RefillRun(this.#core, part, needed, resolve).start(others);
    });
    if (short === undefined) {
      metrics.counts.rangesRefilled.add();
      this.debts.owePartition(part.partition);
    }
    return short;
  }
}

interface DamagedPart extends LostPart {
  readonly damage: string;
}

/** Compactions carry it along. */
function damageName({ file, offset }: DamagedRange): string {
  return `${file}@${String(offset)}`;
}

/** The parts of a damaged range by partition. */
function partsOf({ topology }: NodeCore, range: DamagedRange): DamagedPart[] {
  const touched = leavesTouched(topology.tokenSpace, range.from, range.to);
  const parts: DamagedPart[] = [];
  for (let number = Math.floor(touched.first / LEAVES); number <= Math.floor(touched.last / LEAVES); number += 1) {
    const partition = number as PartitionId;
    const whole = partitionRange(topology, partition);
    // A range may begin with less than a whole token, before the partition that its first key would lie in: none of it may be left over.
    const from = range.from > whole.from || parts.length === 0 ? range.from : whole.from;
    const to = range.to === undefined || (whole.to !== undefined && whole.to < range.to) ? whole.to : range.to;
    parts.push({ partition, from, to, damage: damageName(range) });
  }
  return parts;
}
