/**
 * A machine of the simulated cluster: a disk, a clock, a place in the network, and at most one incarnation of the shipped node on it.
 *
 * Clients reach the node through `ask`, which is the simulator's stand-in for a client protocol: a request and an answer, each with a
 * delay; the answer is lost when the process dies. What is passed in is overwritten when the call returns, what comes out must be used in
 * the turn that brings it.
 */

import { type CoterieError, asCoterieError } from '../src/base/errors.ts';
import type { Vfs } from '../src/env/vfs.ts';
import type { KvNode, Maybe } from '../src/runtime/kv.ts';
import type { NodeOptions } from '../src/runtime/options.ts';
import type { LogFields, LogLevel } from '../src/telemetry/logger.ts';
import type { Coverage } from './coverage.ts';
import { SimExecutor } from './disk/executor.ts';
import { Medium } from './disk/medium.ts';
import { SimMount } from './disk/mount.ts';
import type { Operation, OperationKind, Verdict } from './disk/operation.ts';
import { SimVolume } from './disk/volume.ts';
import { type Dice } from './world/dice.ts';
import type { SimNetwork } from './world/network.ts';
import { type HostClock, Process, isFenced } from './world/process.ts';
import { type World, describe } from './world/world.ts';

export type Reply<T> =
  | { readonly kind: 'answer'; readonly value: T }
  | { readonly kind: 'error'; readonly error: CoterieError }
  /** Nobody listens there: certainly without effect. */
  | { readonly kind: 'refused' }
  /** The connection broke, or no answer came in time: the effect is unknown. */
  | { readonly kind: 'lost' };

/** What the simulator's mutants may put between the node and its environment. */
export interface Seams {
  vfs(vfs: Vfs, machine: Machine): Vfs;
  options(options: NodeOptions, machine: Machine): NodeOptions;
}

export type OpenNode = (options: NodeOptions) => Promise<KvNode>;

export interface MachineParts {
  readonly world: World;
  readonly network: SimNetwork;
  readonly coverage: Coverage;
  readonly seams: Seams;
  readonly open: OpenNode;
  /** Bits rot in this run: only then may anything be found damaged. */
  readonly rots: boolean;
  /** How long a sync takes when the disk is well. */
  readonly syncMs: number;
  /** Hears what the node logs. */
  readonly onLog: (machine: Machine, event: string, fields: LogFields) => void;
  /** Hears that a process has died without having been stopped. */
  readonly onDeath: () => void;
  /** All but the environment, the log and what `seams` changes. */
  readonly settings: Omit<NodeOptions, 'env' | 'log'>;
}

/** Turns later than its own timeout that a node may answer, in virtual milliseconds. */
const TIMEOUT_SLACK_MS = 250;
/** Where the disk is mounted, and what the node makes there. */
const MOUNT_POINT = '/data';
export const STORE_DIRECTORY = '/data/store';

/** An empty disk. */
function formatted(): Medium {
  const medium = new Medium();
  medium.apply({ kind: 'mkdir', path: MOUNT_POINT });
  medium.apply({ kind: 'syncDir', path: '/' });
  return medium;
}

export class Machine {
  readonly name: string;
  readonly volume: SimVolume;
  readonly clock: HostClock = { offsetUs: 0, rate: 1 };
  readonly dice: Dice;
  /** Multiplies every latency of the disk. */
  diskFactor = 1;
  /** The chance that a sync fails. */
  syncFailures = 0;
  /** Cuts the process or the power at the so-manyth change of the disk from now, or of the commit log. */
  cut: { left: number; readonly how: 'power-loss' | 'process-death'; readonly where: 'disk' | 'log' } | undefined;
  /** Lost synced data and has not synchronised since; see faults/plan.ts. */
  impaired: 'no' | 'lost' | 'rotten' = 'no';
  /** Where only tables are rotten and the store mends itself: what it had reread when they rotted. */
  #mends: { readonly boots: number; readonly scrubs: number; readonly passes: number } | undefined;
  /** How many times bits of its disks have rotted. */
  rotted = 0;
  /** When the power last went, for the budget of `fsync: interval`. */
  powerLostUs = -Infinity;
  process: Process | undefined;
  node: KvNode | undefined;
  mount: SimMount | undefined;
  boots = 0;
  /** Deaths without an orderly stop: the next life's hybrid time begins where the lease on the disk ended. */
  deaths = 0;
  #latestWallMs = 0;
  #wantUp = false;
  /** The process is about to go because it has stopped. */
  #orderly = false;
  readonly #parts: MachineParts;
  readonly #asked = new Set<() => void>();

  constructor(parts: MachineParts) {
    this.#parts = parts;
    this.name = parts.settings.name;
    this.dice = parts.world.dice.fork();
    this.volume = new SimVolume({ random: parts.world.dice.fork() });
    this.volume.restore(formatted());
    this.volume.judge = (operation): Verdict => this.#judge(operation);
    this.volume.onCrash = (): void => {
      this.#gone(true);
    };
    parts.network.addHost(this.name);
  }

  get up(): boolean {
    return this.process?.alive === true;
  }

  /** Up, ready, and nothing of its data missing. */
  get whole(): boolean {
    const { node } = this;
    return node !== undefined && this.up && node.ready().ready && node.stats().synchronisation.synchronised;
  }

  /** It keeps no hints, and owes nothing. */
  get handedOff(): boolean {
    const { node } = this;
    if (node === undefined || !this.up) return false;
    const { hints, debt } = node.stats().hints;
    return hints === 0 && debt === 0;
  }

  /** Whole, in touch with every other member, and of good opinion of all. */
  get joined(): boolean {
    return this.whole && this.node?.cluster().members.every(({ state }) => state === 'self' || state === 'connected') === true;
  }

  /** Tables have rotted, and nobody will replace the disk: the node must find that and make up for it. */
  rotTables(): void {
    this.impaired = 'rotten';
    // One may be under way.
    this.#mends = { boots: this.boots, scrubs: this.node?.stats().counters['scrubs'] ?? 0, passes: 2 };
  }

  /** Has everything reread now: what was under way is begun anew. */
  rereadAll(): void {
    const { node } = this;
    if (node === undefined || !this.mends) return;
    this.#mends = { boots: this.boots, scrubs: node.stats().counters['scrubs'] ?? 0, passes: 1 };
    void this.ask(5000, () => {
      node.repair({ scrub: true });
    });
  }

  /** Tables alone have rotted. */
  get mends(): boolean {
    return this.impaired === 'rotten' && this.#mends !== undefined;
  }

  /** Everything was reread since tables rotted, and nothing is lost any more. */
  get mended(): boolean {
    const { node } = this;
    const before = this.#mends;
    const view = node?.repairs();
    if (before === undefined || node === undefined || view === undefined || !this.up) return false;
    const scrubs = (node.stats().counters['scrubs'] ?? 0) - (before.boots === this.boots ? before.scrubs : 0);
    return scrubs >= before.passes && view.lostRanges === 0 && view.leavesUnknown === 0;
  }

  /** Whole again, or lost for another reason. */
  endMending(impaired: 'no' | 'lost'): void {
    this.#mends = undefined;
    this.impaired = impaired;
  }

  /** The others know of a store that took this one's place: only an empty disk helps. */
  get replaced(): boolean {
    const mine = (reason: string): boolean =>
      reason.includes('never serves again') || (reason.includes('refused by the peer') && reason.includes(`was replaced in ${this.name}`));
    return this.up && this.node?.ready().reasons.some(mine) === true;
  }

  /** What a supervisor would restart: it says itself that it cannot go on. */
  get stuck(): boolean {
    return this.up && this.node?.ready().reasons.some((reason) => /until a restart|cannot be written/.test(reason)) === true;
  }

  /** The latest that the wall clock has shown, as far as it was noted. */
  get latestWallMs(): number {
    this.noteClock();
    return this.#latestWallMs;
  }

  /** To be called before the clock is changed. */
  noteClock(): void {
    this.#latestWallMs = Math.max(this.#latestWallMs, this.wallMs());
  }

  wallMs(): number {
    const { world } = this.#parts;
    return Math.floor((world.epochUs + world.nowUs * this.clock.rate + this.clock.offsetUs) / 1000);
  }

  /** Starts the node, again and again until it stands or `halt` is called. */
  boot(): void {
    this.#wantUp = true;
    if (this.up) return;
    const { world, network } = this.#parts;
    network.powerOn(this.name);
    const process = new Process(world, this.name, this.clock);
    this.process = process;
    this.boots += 1;
    world.trace.note(this.name, 'boot', this.boots);
    world.schedule(this.dice.between(1000, 30_000), process, () => {
      this.#open(process).catch((error: unknown) => {
        this.#failed(process, error);
      });
    });
  }

  async #open(process: Process): Promise<void> {
    const { world, network, seams, settings, open } = this.#parts;
    const mount = new SimMount(this.volume, {
      schedule: (delayMs, fn): void => {
        world.schedule(delayMs * 1000, process, fn);
      },
      latencyMs: (kind, _path, bytes): number => this.#latencyMs(kind, bytes),
      held: (ms): void => {
        process.busy(ms * 1000);
      },
      violation: (message): void => {
        world.fail('borrowed-buffers', `${this.name}: ${message}`);
      },
    });
    this.mount = mount;
    const env = {
      clock: process,
      random: world.dice.fork(),
      network: network.for(process, this.name),
      vfs: seams.vfs(mount.vfs, this),
      executor: new SimExecutor(mount, { random: world.dice.fork(), sliceDelayMs: 2 }),
    };
    const log = {
      log: (level: LogLevel, event: string, fields?: LogFields): void => {
        if (process.alive) this.#log(level, event, fields);
      },
    };
    const node = await open(seams.options({ ...settings, directory: STORE_DIRECTORY, env, log }, this));
    await node.start();
    this.node = node;
    world.trace.note(this.name, 'up');
  }

  #log(level: LogLevel, event: string, fields: LogFields = {}): void {
    const { world, coverage } = this.#parts;
    if (level !== 'debug') coverage.add(`log.${event}`);
    world.trace.note(this.name, `log ${event}`, world.trace.readable ? JSON.stringify(fields) : '');
    this.#parts.onLog(this, event, fields);
  }

  #failed(process: Process, error: unknown): void {
    const { world, coverage } = this.#parts;
    if (!process.alive || isFenced(error)) return;
    const { code } = asCoterieError(error);
    world.trace.note(this.name, 'start failed', code);
    coverage.add(`start failed with ${code}`);
    // A rotten byte may also look like a newer format.
    const damaged = code === 'DATA_DAMAGED' || code === 'DATA_DIR_NEWER';
    if (code === 'INTERNAL' || (damaged && this.impaired !== 'rotten')) {
      world.fail(code === 'INTERNAL' ? 'crash-free' : 'disk-answers', `${this.name} does not start: ${describe(error)}`);
      return;
    }
    this.crash('process-death');
    // An operator's part: a disk that cannot be used is replaced.
    if (damaged) {
      this.volume.restore(formatted());
      this.endMending('lost');
    }
    this.#wantUp = true;
    this.#bootLater(this.dice.between(200, 1000));
  }

  #bootLater(ms: number): void {
    this.#parts.world.schedule(ms * 1000, undefined, () => {
      if (this.#wantUp) this.boot();
    });
  }

  /** Kills the process, or takes the machine's power; it stays down until `boot`. */
  crash(how: 'power-loss' | 'process-death'): void {
    this.#wantUp = false;
    const { process, mount } = this;
    if (process?.alive !== true) return;
    if (mount?.alive !== true) this.#gone(how === 'power-loss');
    else if (how === 'power-loss') this.volume.powerLoss();
    else {
      // `onCrash` cannot tell the two apart.
      this.#gone(false);
      this.volume.processDeath(mount);
    }
  }

  /** Stops the node as an operator does; it stays down until `boot`. */
  async stop(graceMs: number): Promise<void> {
    this.#wantUp = false;
    const { node, process } = this;
    if (node === undefined || process?.alive !== true) return;
    await this.#inside(process, () => node.stop(graceMs));
    if (this.process !== process || !this.up) return;
    this.#orderly = true;
    this.crash('process-death');
  }

  /** Runs a call in a turn of the process; settles when it does, or when the process is dead. */
  #inside(process: Process, call: () => Promise<void>): Promise<void> {
    const { world } = this.#parts;
    return new Promise((resolve) => {
      const lost = (): void => {
        this.#asked.delete(lost);
        resolve();
      };
      this.#asked.add(lost);
      world.schedule(0, process, () => {
        call().then(
          () => {
            world.schedule(0, undefined, lost);
          },
          (error: unknown) => {
            if (!process.alive || isFenced(error)) return;
            // A disk that fails cannot keep a node from going.
            const { code } = asCoterieError(error);
            if (code === 'INTERNAL') world.fail('crash-free', `${this.name} does not stop: ${describe(error)}`);
            world.trace.note(this.name, 'stopped badly', code);
            world.schedule(0, undefined, lost);
          },
        );
      });
    });
  }

  /** Everything of the incarnation ends here. */
  #gone(power: boolean): void {
    const { process, node } = this;
    if (process?.alive !== true) return;
    const { world, network, coverage } = this.#parts;
    if (power) this.powerLostUs = world.nowUs;
    try {
      const stats = node?.stats();
      if (stats !== undefined) this.#count(stats);
    } catch (error) {
      world.fail('crash-free', `${this.name}: stats() threw: ${describe(error)}`);
    }
    world.trace.note(this.name, 'dead', power ? 'power' : this.#orderly ? 'stopped' : 'killed');
    coverage.add(power ? 'losses of power' : this.#orderly ? 'orderly stops' : 'kills');
    if (!this.#orderly) {
      this.deaths += 1;
      this.#parts.onDeath();
    }
    this.#orderly = false;
    process.fence();
    this.node = undefined;
    this.cut = undefined;
    network.died(process, this.name, power);
    for (const lost of [...this.#asked]) world.schedule(this.dice.between(200, 5000), undefined, lost);
    if (this.#wantUp) this.#bootLater(this.dice.between(100, 3000));
  }

  #damaged(what: string): void {
    if (!this.#parts.rots) this.#parts.world.fail('disk-answers', `${this.name} finds damage on disks that have none: ${what}`);
  }

  #count(stats: ReturnType<KvNode['stats']>): void {
    if ((stats.counters['damagedReads'] ?? 0) > 0) this.#damaged(`${String(stats.counters['damagedReads'])} damaged reads`);
    if ((stats.counters['leavesWrong'] ?? 0) > 0) {
      this.#parts.world.fail(
        'trees',
        `${this.name}: ${String(stats.counters['leavesWrong'])} leaves of hash trees are not what they stand for`,
      );
    }
    this.#parts.coverage.addAll('', stats.counters);
    this.#parts.coverage.addAll('engine.', stats.engine);
  }

  /** Adds the counters of the living incarnation, at the end of a run. */
  countLiving(): void {
    if (this.node !== undefined && this.up) this.#count(this.node.stats());
  }

  /** Puts another disk in; the process must be down. */
  replaceDisk(image: Medium | undefined): void {
    this.volume.restore(image ?? formatted());
    this.endMending('lost');
    this.#parts.world.trace.note(this.name, image === undefined ? 'disk wiped' : 'old disk restored');
  }

  /** A client's request. `call` must use what the node answers within the turn that brings it. */
  ask<T>(timeoutMs: number, call: (node: KvNode, wallMs: number) => Maybe<T>): Promise<Reply<T>> {
    const { world, network } = this.#parts;
    const there = this.dice.between(50, 800);
    const back = this.dice.between(50, 800);
    return new Promise((resolve) => {
      let done = false;
      const finish = (reply: Reply<T>): void => {
        if (done) return;
        done = true;
        this.#asked.delete(lost);
        world.cancel(patience);
        resolve(reply);
      };
      const lost = (): void => {
        finish({ kind: 'lost' });
      };
      const patience = world.schedule((timeoutMs * 1.2 + 2000) * 1000, undefined, lost);
      const { process } = this;
      if (this.node === undefined || process?.alive !== true) {
        world.schedule(network.host(this.name).on ? there + back : 1_000_000, undefined, () => {
          finish({ kind: 'refused' });
        });
        return;
      }
      this.#asked.add(lost);
      world.schedule(there, process, () => {
        this.#call(process, timeoutMs, call, (reply) => {
          world.schedule(back, undefined, () => {
            finish(reply);
          });
        });
      });
    });
  }

  #call<T>(process: Process, timeoutMs: number, call: (node: KvNode, wallMs: number) => Maybe<T>, reply: (reply: Reply<T>) => void): void {
    const { world } = this.#parts;
    const { node } = this;
    if (node === undefined) {
      reply({ kind: 'refused' });
      return;
    }
    const pauses = process.pauses;
    const late = process.after(timeoutMs + TIMEOUT_SLACK_MS, () => {
      if (process.pauses === pauses && this.diskFactor === 1) {
        world.fail(
          'liveness',
          `${this.name} has not answered ${String(timeoutMs + TIMEOUT_SLACK_MS)} ms after a request with ${String(timeoutMs)} ms`,
        );
      }
    });
    const settle = (outcome: Reply<T>): void => {
      late.cancel();
      reply(outcome);
    };
    const fail = (error: unknown): void => {
      if (!process.alive || isFenced(error)) return;
      const coded = asCoterieError(error);
      if (coded.code === 'INTERNAL') world.fail('crash-free', `${this.name}: ${describe(error)}`);
      if (coded.code === 'DATA_DAMAGED') this.#damaged(describe(error));
      settle({ kind: 'error', error: coded });
    };
    try {
      const answer = call(node, process.wallMs());
      if (answer instanceof Promise) {
        answer.then((value) => {
          settle({ kind: 'answer', value });
        }, fail);
      } else {
        settle({ kind: 'answer', value: answer });
      }
    } catch (error) {
      fail(error);
    }
  }

  #latencyMs(kind: OperationKind, bytes: number): number {
    const third = this.dice.fraction();
    const jitter = 1 + 4 * third * third * third;
    const base = kind === 'dataSync' || kind === 'syncDir' ? this.#parts.syncMs : 0.02 + bytes * 1e-6;
    return base * jitter * this.diskFactor;
  }

  #judge(operation: Operation): Verdict {
    if (operation.kind === 'dataSync' && this.syncFailures > 0 && this.dice.chance(this.syncFailures)) {
      this.#parts.coverage.add('syncs failed');
      return 'io';
    }
    const { cut } = this;
    if (cut === undefined || !operation.changes || (cut.where === 'log' && !operation.path.endsWith('.log'))) return 'ok';
    cut.left -= 1;
    if (cut.left > 0) return 'ok';
    this.cut = undefined;
    this.#parts.coverage.add('cut midway');
    if (cut.how === 'process-death') {
      // As in `crash`: told apart before the volume reports it.
      this.#gone(false);
    }
    return cut.how;
  }
}
