/**
 * The taking side: a blank or rewound store copies its partitions from the other primaries (rule and progress: cluster/membership/synchronisation.ts).
 *
 * Invariants: progress is recorded only after what it stands for is durable, so that an interrupted copy goes on where it was, or before; one
 * request at a time to each source; with nothing to do no timer runs.
 */

import { toHex, fromByteString } from '../base/bytes.ts';
import type { CoterieError } from '../base/errors.ts';
import type { StoreId } from '../base/ids.ts';
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
import { type CopiedEntry, type CopyAnswer, decodeCopyAnswer, encodeCopyQuestion } from '../transport/messages/ranges.ts';
import type { NodeCore } from './core.ts';
import type { IdentityFile } from './identity-file.ts';
import type { SynchronisationView } from './kv.ts';

const PAGE_BYTES = 256 * 1024;
/** Merged at a time. */
const GROUP_BYTES = 32 * 1024;
const PAGE_TIMEOUT_MS = 10_000;
/** Pages after which progress is written down. */
const SAVE_EVERY = 4;

export class Synchroniser {
  readonly #core: NodeCore;
  readonly #file: IdentityFile;
  readonly #clock: Clock;
  readonly #retryMs: number;
  readonly #near: Neighbours;
  readonly #walking = new Set<string>();
  /** Peers that say that they are synchronised. */
  readonly #sound = new Set<string>();
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
    if (this.#stopped || this.#finishing || this.#startingOver || this.#core.standing.synchronised) return;
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
    if (code === 'DATA_DAMAGED' && this.#core.store.engine.quarantined().length > 0) this.#startOver();
    else this.#pause();
  }

  /** Whatever failed would fail again at once: a disk that cannot be written, a source that is away. */
  #pause(): void {
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
        this.#pause();
      },
    );
  }

  async #giveUpLost(): Promise<void> {
    // First: a copy that lacks what was given up must not pass for a whole one.
    await this.#file.change((identity) => ({ ...identity, progress: { sources: {} } }));
    const { engine } = this.#core.store;
    for (const { from, to } of engine.quarantined()) await engine.heal(from, to);
  }

  /** Copies from `name` to the end. */
  async #walk(name: string, begun: Walk): Promise<void> {
    const { storeId, boot } = this.#file.current;
    const round = this.#round;
    let walk = begun;
    for (let page = 1; !walk.done; page += 1) {
      const answer = await this.#ask(name, walk);
      await this.#store(answer);
      // A rewind noticed meanwhile, or another store in the source's slot, begins everything anew.
      const { current } = this.#file;
      if (
        this.#stopped ||
        this.#round !== round ||
        current.boot !== boot ||
        current.storeId !== storeId ||
        this.#storeOf(name) !== walk.storeId
      ) {
        return;
      }
      const next = answer.next === undefined ? undefined : toHex(fromByteString(answer.next));
      const change = (identity: typeof current): typeof current => ({
        ...identity,
        progress: advanceWalk(identity.progress, name, walk, next, answer.synchronised),
      });
      if (next === undefined || page % SAVE_EVERY === 0) await this.#file.change(change);
      else this.#file.note(change);
      walk = this.#file.current.progress.sources[name] ?? { ...walk, done: true };
    }
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
        const { entries, next, synchronised } = decodeCopyAnswer(reply.payload);
        // The payload is borrowed, the merges are not awaited in this turn.
        resolve({ entries: entries.map(({ key, object }) => ({ key, object: new Uint8Array(object) })), next, synchronised });
      });
    });
  }

  /** Merges what came, a little at a time; resolves when all of it is durable. */
  async #store(answer: CopyAnswer): Promise<void> {
    const { entries } = answer;
    for (let from = 0; from < entries.length;) {
      let to = from;
      for (let bytes = 0; to < entries.length && bytes < GROUP_BYTES; to += 1) bytes += entries[to]?.object.length ?? 0;
      await this.#storeGroup(entries.slice(from, to));
      from = to;
    }
    this.#core.metrics.counts.entriesCopied.add(entries.length);
  }

  /** Merges entries until the engine has taken them all. It sheds load, because clients come first; what it took is not offered again. */
  async #storeGroup(group: readonly CopiedEntry[]): Promise<void> {
    let left = group;
    for (;;) {
      const outcomes = await Promise.allSettled(left.map((entry) => this.#merge(entry)));
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

  #merge({ key, object }: CopiedEntry): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#core.store.merge(key, object, (error) => {
        if (error === undefined) resolve();
        else reject(error);
      });
    });
  }
}
