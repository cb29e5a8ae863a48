/**
 * Rereads everything that is seldom read: each table, block by block, and each hash tree against what it stands for. So damage is found, and
 * repaired, while the other replicas are whole.
 *
 * A pass is spread over half of `everyMs`, and the next one begins half of `everyMs` after it began, so that between two readings of a block lie at most
 * `everyMs`. How far it has come is written down, so that a restart goes on with it.
 *
 * Invariants: one piece (a table, a partition's tree) at a time, and behind it the pause that clients need; a pass takes up the tables that were there
 * when it began: those written since were checked as they were written.
 */

import { asCoterieError } from '../../base/errors.ts';
import type { Timer } from '../../env/clock.ts';
import { NOT_SCRUBBED, type ScrubProgress } from '../../cluster/repair/scrub-progress.ts';
import type { NodeCore } from '../core.ts';
import type { LocalTrees } from './local-trees.ts';
import type { ScrubFile } from './scrub-file.ts';

/** Before a pass that was broken off goes on. */
const RETRY_MS = 5000;
/** How often progress is written down. */
const SAVE_MS = 60_000;

export interface ScrubView {
  /** Wall-clock milliseconds; 0: never. */
  readonly startedMs: number;
  readonly completedMs: number;
  /** Pieces (tables, and partitions' trees) of the present pass that are done, and all. */
  readonly done: number;
  readonly total: number;
}

export class Scrub {
  readonly #core: NodeCore;
  readonly #trees: LocalTrees;
  readonly #file: ScrubFile;
  readonly #everyMs: number;
  #progress: ScrubProgress = NOT_SCRUBBED;
  #asked = false;
  #stopped = false;
  #done = 0;
  #total = 0;
  #savedMs = 0;
  #saving: Promise<void> = Promise.resolve();
  /** Ends the pause under way. */
  #wake: (() => void) | undefined;
  #timer: Timer | undefined;

  /** @param everyMs 0: only when asked for */
  constructor(core: NodeCore, trees: LocalTrees, file: ScrubFile, everyMs: number) {
    this.#core = core;
    this.#trees = trees;
    this.#file = file;
    this.#everyMs = everyMs;
  }

  view(): ScrubView {
    const { startedMs, completedMs } = this.#progress;
    return { startedMs, completedMs, done: this.#done, total: this.#total };
  }

  begin(): void {
    void this.#run();
  }

  /** Begins a pass now, with no pauses but those that clients need. */
  request(): void {
    this.#asked = true;
    this.#wake?.();
  }

  /** Tells whether damage is there that is not made up for: it is written down, so that a restart does not forget it. */
  suspect(is: boolean): void {
    if (this.#progress.suspect === is || this.#stopped) return;
    this.#progress = { ...this.#progress, suspect: is };
    void this.#save();
  }

  stop(): void {
    this.#stopped = true;
    this.#wake?.();
  }

  async #run(): Promise<void> {
    const { suspect } = this.#progress;
    this.#progress = (await this.#file.read()) ?? NOT_SCRUBBED;
    // Damage that was known before is met again by reading everything.
    if (this.#progress.suspect) this.#asked = true;
    if (suspect) this.suspect(true);
    while (!this.#stopped) {
      const dueMs = this.#dueMs();
      if (!this.#asked && dueMs > 0) {
        await this.#pause(dueMs);
        continue;
      }
      try {
        await this.#pass(this.#asked);
      } catch (error) {
        const { code, message } = asCoterieError(error);
        if (code === 'INTERNAL') throw error;
        if (code === 'CLOSED') return;
        this.#core.warn('scrub-interrupted', { code, message });
        await this.#pause(RETRY_MS);
      }
    }
  }

  /** Until the next pass is to begin or to go on, in ms; infinite where none is. */
  #dueMs(): number {
    const { startedMs, completedMs } = this.#progress;
    if (this.#everyMs === 0) return Number.POSITIVE_INFINITY;
    // One that was begun goes on.
    if (startedMs > completedMs) return 0;
    return startedMs + this.#everyMs / 2 - this.#core.clock.wallMs();
  }

  async #pass(asked: boolean): Promise<void> {
    const { store, clock, metrics } = this.#core;
    this.#asked = false;
    const { startedMs, completedMs } = this.#progress;
    // The wall clock may have gone back since.
    if (asked || startedMs <= completedMs) {
      const { suspect } = this.#progress;
      this.#progress = { ...NOT_SCRUBBED, startedMs: Math.max(clock.wallMs(), completedMs + 1), completedMs, suspect };
    }
    const tables = store.engine.tables().filter(({ number }) => number > this.#progress.lastTable);
    const partitions = this.#trees.trees.partitions.filter((partition) => partition > this.#progress.lastPartition);
    this.#done = 0;
    this.#total = tables.length + partitions.length;
    const spreadMs = asked ? 0 : this.#everyMs / 2 / Math.max(1, this.#total);
    for (const { number } of tables) {
      await this.#piece(spreadMs, async () => {
        const { blocks, damaged } = await store.engine.verify(new Set([number]));
        metrics.counts.blocksScrubbed.add(blocks);
        metrics.counts.damageScrubbed.add(damaged.length);
        return { ...this.#progress, lastTable: number };
      });
      if (this.#isInterrupted()) return;
    }
    for (const partition of partitions) {
      await this.#piece(spreadMs, async () => {
        const before = this.#trees.counts.leavesWrong;
        await this.#trees.recompute(partition);
        metrics.counts.leavesWrong.add(this.#trees.counts.leavesWrong - before);
        return { ...this.#progress, lastPartition: partition };
      });
      if (this.#isInterrupted()) return;
    }
    this.#progress = { ...this.#progress, completedMs: Math.max(clock.wallMs(), this.#progress.startedMs) };
    metrics.counts.scrubs.add();
    await this.#save();
  }

  #isInterrupted(): boolean {
    return this.#stopped || this.#asked;
  }

  async #piece(spreadMs: number, read: () => Promise<ScrubProgress>): Promise<void> {
    const { clock, pace } = this.#core;
    const beganMs = clock.monotonicMs();
    const { lastTable, lastPartition } = await read();
    this.#progress = { ...this.#progress, lastTable, lastPartition };
    this.#done += 1;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#savedMs >= SAVE_MS) await this.#save();
    await this.#pause(Math.max(spreadMs, pace.pauseMs(nowMs - beganMs)));
  }

  /** One write at a time, the latest state last. */
  #save(): Promise<void> {
    this.#savedMs = this.#core.clock.monotonicMs();
    this.#saving = this.#saving
      .then(() => this.#file.write(this.#progress))
      .catch((error: unknown) => {
        this.#core.warn('scrub-not-written', { error: String(error) });
      });
    return this.#saving;
  }

  /** Resolves after so many ms, or when somebody asks for a pass. */
  async #pause(ms: number): Promise<void> {
    if (ms <= 0 || this.#stopped || this.#asked) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      // Timers take no longer delays.
      this.#timer = this.#core.clock.after(Math.min(ms, 2 ** 31 - 1), resolve);
    });
    this.#timer?.cancel();
    this.#wake = undefined;
  }
}
