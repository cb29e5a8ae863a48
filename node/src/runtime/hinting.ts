/** A node's part as a fallback, put together: the hint store, who stands in for whom, the handing off, and what is told of it. */

import type { PartitionId } from '../base/ids.ts';
import type { StoreIdentity } from '../cluster/membership/identity.ts';
import { StandInActor } from '../cluster/handoff/stand-in-actor.ts';
import type { Topology } from '../cluster/ring/topology.ts';
import type { EngineEvent, EngineOptions } from '../storage/options.ts';
import { Engine } from '../storage/engine.ts';
import type { HintBacklog, StoreNotice } from '../transport/messages/notice.ts';
import type { Generations } from './collection/generations.ts';
import type { NodeCore } from './core.ts';
import { Fallbacks } from './fallbacks.ts';
import { Handoff } from './handoff.ts';
import { HintBoard } from './hint-board.ts';
import { HintStore } from './hint-store.ts';
import type { HintStats, WaitingHints } from './kv.ts';
import type { Leases } from './leases.ts';
import type { Members } from './members.ts';
import type { NodeOptions, NodeTimings } from './options.ts';
import type { Policies } from './policies.ts';

const MIB = 1024 * 1024;
/** Hints are seldom read, and few at a time: their engine gets no more memory than this, and less where the node itself gets less. */
const MOST_MEMTABLE_BYTES: number = 4 * MIB;
const MOST_CACHE_BYTES: number = 2 * MIB;
const OPEN_FILES = 16;

export function hintDirectory(directory: string): string {
  return `${directory}/hints`;
}

export interface HintingParts {
  readonly options: NodeOptions;
  readonly topology: Topology;
  readonly members: Members;
  readonly leases: Leases;
  readonly policies: Policies;
  readonly generations: Generations;
  readonly identity: () => StoreIdentity;
  readonly limitBytes: number;
  readonly log: (event: EngineEvent) => void;
  readonly warn: NodeCore['warn'];
  /** Tells every peer what is kept here. */
  readonly tell: () => void;
}

export class Hinting {
  readonly store: HintStore;
  readonly fallbacks: Fallbacks;
  readonly standIn: StandInActor;
  readonly #parts: HintingParts;
  readonly #board: HintBoard;
  #handoff: Handoff | undefined;
  #toldFull = false;
  readonly #exposed = new Set<string>();

  /** @throws CoterieError DATA_DIR_NEWER, DATA_DAMAGED, DISK_FULL, DISK_FAILED */
  static async open(parts: HintingParts): Promise<Hinting> {
    const { options, log } = parts;
    const { vfs, executor, clock } = options.env;
    const given: Partial<EngineOptions> = options.engine ?? {};
    const engine = await Engine.open({
      ...given,
      memtableBytes: Math.min(given.memtableBytes ?? MOST_MEMTABLE_BYTES, MOST_MEMTABLE_BYTES),
      cacheBytes: Math.min(given.cacheBytes ?? MOST_CACHE_BYTES, MOST_CACHE_BYTES),
      openFiles: Math.min(given.openFiles ?? OPEN_FILES, OPEN_FILES),
      directory: hintDirectory(options.directory),
      vfs,
      executor,
      clock,
      log,
    });
    return new Hinting(parts, engine);
  }

  private constructor(parts: HintingParts, engine: Engine) {
    const { options, topology, members, leases, policies, generations, limitBytes, warn, identity, tell } = parts;
    const { clock, random } = options.env;
    this.#parts = parts;
    this.fallbacks = new Fallbacks(topology, members);
    this.standIn = new StandInActor(identity, () => random.u32());
    this.#board = new HintBoard({
      self: members.nameOf(members.self),
      members: members.names.length,
      clock,
      own: () => this.#handoff?.backlogs() ?? [],
      tell,
    });
    this.store = new HintStore({
      engine,
      topology,
      leases,
      policies,
      standIn: this.standIn,
      generations,
      limitBytes,
      nowMs: () => clock.wallMs(),
      after: (delayMs, run) => {
        clock.after(delayMs, run);
      },
      changed: () => {
        this.#changed();
      },
      touched: () => {
        this.#touched();
      },
      warn,
    });
  }

  /** Counts what is there, and hands it off from then on. */
  begin(core: NodeCore, timings: NodeTimings): void {
    this.#handoff = new Handoff({
      ...core,
      hints: this.store,
      touched: () => {
        this.#touched();
      },
      retryMs: timings.hintRetryMs,
      overdueMs: timings.hintOverdueMs,
    });
    this.store.begin();
  }

  stop(): void {
    this.#handoff?.stop();
    this.#board.stop();
    this.store.stop();
  }

  /** Closes the engine. Resolves false where some of what it was given may be gone. */
  close(): Promise<boolean> {
    return this.store.engine.close();
  }

  get failed(): boolean {
    return this.store.engine.stats().state === 'failed';
  }

  /** What this store says of its hints. */
  notice(): Pick<StoreNotice, 'hints' | 'hintsFull'> {
    return { hints: this.#handoff?.backlogs() ?? [], hintsFull: this.store.full };
  }

  /** A peer has said what it keeps. */
  heard(peer: string, { hints, hintsFull }: Pick<StoreNotice, 'hints' | 'hintsFull'>): void {
    this.#board.heard(peer, hints);
    this.fallbacks.setFull(this.#parts.members.indexOf(peer), hintsFull);
  }

  /** See Handoff.missed. */
  missed(partition: PartitionId, slot: number): void {
    this.#handoff?.missed(partition, slot);
  }

  /** Everything that waits for a member, by who keeps it. */
  waitingFor(member: string): WaitingHints[] {
    return this.#board.waitingFor(member);
  }

  stats(): HintStats {
    const { index, full } = this.store;
    let debt = 0;
    for (const backlog of index.backlogs()) if (backlog.debt !== undefined) debt += Math.max(1, backlog.count);
    return { hints: index.count, bytes: index.bytes, limitBytes: this.#parts.limitBytes, debt, full };
  }

  #touched(): void {
    this.#board.touched();
    for (const { member } of this.#handoff?.backlogs() ?? []) this.#expose(member);
  }

  /** Shows what is kept for a member among the metrics, from the first time on. */
  #expose(target: string): void {
    const { metrics } = this.#parts.options;
    if (metrics === undefined || this.#exposed.has(target)) return;
    this.#exposed.add(target);
    const gauge = (name: string, help: string, of: (backlog: HintBacklog) => number): void => {
      const read = (): number => {
        const backlog = this.#handoff?.backlogs().find(({ member }) => member === target);
        return backlog === undefined ? 0 : of(backlog);
      };
      metrics.observedGauge(name, help, read, { target });
    };
    gauge('coterie_hints', 'Keys that this store keeps for a member that is away', ({ hints }) => hints);
    gauge('coterie_hint_bytes', 'Bytes of the hints for a member', ({ bytes }) => bytes);
    gauge('coterie_hint_debt', 'Hints for a member that are repair debt', ({ debt }) => debt);
  }

  #changed(): void {
    const { members, tell } = this.#parts;
    const { full } = this.store;
    this.fallbacks.setFull(members.self, full);
    if (full !== this.#toldFull) {
      this.#toldFull = full;
      tell();
    }
    this.#handoff?.advance();
  }
}
