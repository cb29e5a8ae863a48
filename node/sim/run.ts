/**
 * One seed, from its plan to its verdict.
 *
 * Safety phase: clients work while everything may happen. Liveness phase: all faults end; every node must get ready, every key must be
 * readable, and after one read of each key its replicas must be equal. Then the history is judged as a whole.
 */

import { crc32 } from 'node:zlib';
import type { Topology } from '../src/cluster/ring/topology.ts';
import type { KvNode, RepairView } from '../src/runtime/kv.ts';
import type { LogFields } from '../src/telemetry/logger.ts';
import { checkConvergence, type ReplicaCopy } from './checkers/convergence.ts';
import { checkBounds, checkSiblingCount } from './checkers/bounds.ts';
import { checkClockBound } from './checkers/clock-bound.ts';
import { checkAnswers } from './checkers/disk-answers.ts';
import { checkNoReturn } from './checkers/no-return.ts';
import { checkRefusals } from './checkers/refusals.ts';
import { checkScan } from './checkers/scan.ts';
import { checkSiblings } from './checkers/siblings.ts';
import { checkOverlap, checkSurvival, type Violation } from './checkers/survival.ts';
import { checkTwoObservers } from './checkers/two-observers.ts';
import { BUCKET, Client, type ClientParts, type ClientSeams, readAt } from './clients/client.ts';
import { History, type ReadRecord } from './clients/history.ts';
import { RegisterHistory } from './clients/register-history.ts';
import { STRONG_BUCKET, StrongClient, type StrongParts, strongReadAt } from './clients/strong-client.ts';
import { recognise } from './clients/value.ts';
import { Coverage } from './coverage.ts';
import { settingsOf, topologyOf } from './faults/deployment.ts';
import { Injector } from './faults/injector.ts';
import { Absences } from './faults/absences.ts';
import { SingleReads } from './faults/single-reads.ts';
import { Stragglers } from './faults/stragglers.ts';
import { Successions } from './faults/successions.ts';
import { drawPlan, type Plan } from './faults/plan.ts';
import { Machine, type OpenNode, type Reply, type Seams } from './machine.ts';
import { arm, disarm } from './world/guard.ts';
import { Dice } from './world/dice.ts';
import { SimNetwork } from './world/network.ts';
import { type Failure, World } from './world/world.ts';

export interface RunOptions {
  /** Keeps a readable trace. */
  readonly readable?: boolean;
  /** Goes on until this checker fails, whatever others notice; by default the first failure ends the run. */
  readonly until?: string;
  readonly open: OpenNode;
  readonly seams: Seams & ClientSeams;
}

export interface RunResult {
  readonly seed: number;
  readonly plan: Plan;
  readonly failures: readonly Failure[];
  readonly hash: string;
  readonly turns: number;
  readonly virtualMs: number;
  readonly operations: number;
  readonly coverage: Coverage;
  readonly lines: readonly string[];
}

export const NO_SEAMS: Seams & ClientSeams = {
  vfs: (vfs) => vfs,
  options: (options) => options,
  write: (options) => options,
};

/** Far more than any run needs: what reaches them hangs. */
const LIMITS = { turns: 3_000_000, virtualMs: 600_000 };
/** How long the cluster may take to be whole again, and to answer a read, once all faults have ended. */
const HEAL_MS = 120_000;
const REPAIR_MS = 5000;
const PACE_MS = 100;
/** How long after its last operation a node counts as idle. */
const IDLE_MS = 10_000;
/** Wall clocks that differ by no more than this never make a time too far ahead. */
const SKEW_TAKEN_MS = 400;
/** A node that died goes on from the hybrid time that it had leased on disk, up to so much ahead of its clock. */
const TIME_LEASE_US = 1_000_000;

export async function runSeed(seed: number, options: RunOptions): Promise<RunResult> {
  const plan = drawPlan(seed, new Dice(seed, 1));
  const world = new World(seed, options.readable === true, options.until);
  const coverage = new Coverage();
  const run = new Run(world, plan, coverage, options);
  arm();
  let breach: string | undefined;
  try {
    await world.run(() => run.scenario(), LIMITS);
  } finally {
    breach = disarm();
  }
  if (breach !== undefined) world.fail('replay', breach);
  run.end();
  return {
    seed,
    plan,
    failures: world.failures,
    hash: world.trace.hash,
    turns: world.turns,
    virtualMs: Math.floor(world.nowUs / 1000),
    operations: run.history.writes.length + coverage.get('reads answered') + run.registers.size,
    coverage,
    lines: world.trace.lines,
  };
}

class Run {
  readonly history: History;
  readonly registers = new RegisterHistory();
  readonly #world: World;
  readonly #plan: Plan;
  readonly #coverage: Coverage;
  readonly #network: SimNetwork;
  readonly #topology: Topology;
  readonly #machines: readonly Machine[];
  readonly #injector: Injector;
  readonly #parts: ClientParts;
  /** Undefined in runs without a strong bucket. */
  readonly #strong: StrongParts | undefined;
  readonly #dice: Dice;
  /** Keys that had, in the end, a value that does not expire. */
  readonly #lasting = new Set<string>();

  constructor(world: World, plan: Plan, coverage: Coverage, options: RunOptions) {
    this.#world = world;
    this.#plan = plan;
    this.#coverage = coverage;
    this.#dice = world.dice.fork();
    this.#network = new SimNetwork(world);
    const { n, coveredW, overlapHolds, faults, skewMs, deaths } = plan;
    this.history = new History({
      n,
      coveredW,
      overlapHolds,
      readsStick: true,
      faultless: faults.size === 0 && !plan.stragglers,
      skewUs: skewMs * 2000,
    });
    if (deaths) this.history.died(TIME_LEASE_US);
    const topology = topologyOf(plan, this.#dice);
    this.#topology = topology;
    this.#machines = plan.members.map(
      ({ name }) =>
        new Machine({
          world,
          network: this.#network,
          coverage,
          seams: options.seams,
          open: options.open,
          rots: faults.has('bit-rot'),
          syncMs: plan.syncMs,
          onLog: (machine, event, fields): void => {
            if (event === 'member-down') this.#judgeDown(machine, fields);
          },
          onDeath: (): void => {
            this.history.died(TIME_LEASE_US);
          },
          settings: settingsOf(plan, topology, name),
        }),
    );
    this.#injector = new Injector(world, plan, this.#machines, this.#network, coverage);
    this.#parts = {
      world,
      plan,
      machines: this.#machines,
      history: this.history,
      coverage,
      seams: options.seams,
      onRead: (read): void => {
        this.#judge(read, false);
        this.history.show(read);
      },
    };
    this.#strong = plan.strong === undefined ? undefined : { ...this.#parts, registers: this.registers, strong: plan.strong };
  }

  async scenario(): Promise<void> {
    const { clients, faults, n, r, w, members } = this.#plan;
    this.#world.trace.note(
      'plan',
      `${String(members.length)} members, n=${String(n)} r=${String(r)} w=${String(w)}`,
      [...faults].join(' '),
    );
    this.#injector.calm();
    for (const machine of this.#machines) machine.boot();
    await this.#whole('the cluster does not come up');
    let over = false;
    const working = Array.from({ length: clients }, () => new Client(this.#parts).run(() => over));
    const strong = this.#strong;
    if (strong !== undefined) {
      for (let at = 0; at < strong.strong.clients; at += 1) working.push(new StrongClient(strong).run(() => over));
    }
    if (this.#plan.stragglers) working.push(new Stragglers(this.#parts, this.#network, new Client(this.#parts)).run(() => over));
    const cutting = this.#cutting();
    if (cutting !== undefined) working.push(cutting.run());
    const injecting = this.#injector.run(() => over);
    const watching = this.#watchBounds(() => over);
    const rereading = this.#plan.singleReads ? new SingleReads(this.#parts, new Client(this.#parts)).run(() => over) : undefined;
    await Promise.all(working);
    over = true;
    await Promise.all([injecting, watching, rereading]);
    const healBy = this.#world.nowUs + HEAL_MS * 1000;
    const late = this.#world.schedule(HEAL_MS * 1000, undefined, () => {
      this.#world.fail('liveness', `not whole ${String(HEAL_MS)} ms after the last fault: ${this.#waitsFor()}`);
    });
    await this.#injector.heal();
    this.#world.cancel(late);
    this.#coverage.add('healing ms', Math.floor((this.#world.nowUs - healBy) / 1000) + HEAL_MS);
    await this.#judgeAll();
    if (strong !== undefined) await this.#judgeStrong(strong);
    await this.#world.sleep(IDLE_MS);
    this.#judgeBounds(true);
  }

  #cutting(): Successions | Absences | undefined {
    const parts = { ...this.#parts, network: this.#network, topology: this.#topology };
    switch (this.#plan.cuts) {
      case 'successions':
        return new Successions(parts, new Client(parts));
      case 'absences':
        return new Absences(parts, new Client(parts), new Client(parts));
      case undefined:
        return undefined;
    }
  }

  /** What is left of the incarnations is counted. */
  end(): void {
    if (this.#world.failures.length === 0) for (const machine of this.#machines) machine.countLiving();
  }

  #waitsFor(): string {
    const waits = this.#machines.filter((machine) => !machine.joined || !machine.handedOff);
    return waits
      .map(
        (machine) =>
          `${machine.name} ${machine.up ? JSON.stringify(machine.node === undefined ? 'starting' : [...machine.node.ready().reasons, ...unreachable(machine.node), ...kept(machine.node)]) : 'down'}`,
      )
      .join('; ');
  }

  async #whole(why: string): Promise<void> {
    const late = this.#world.schedule(HEAL_MS * 1000, undefined, () => {
      this.#world.fail('liveness', `${why}: ${this.#waitsFor()}`);
    });
    while (!this.#machines.every((machine) => machine.joined)) await this.#world.sleep(50);
    this.#world.cancel(late);
  }

  #latestWallMs(): number {
    return Math.max(...this.#machines.map((machine) => machine.wallMs())) + this.#plan.skewMs;
  }

  #judge(read: ReadRecord, final: boolean): void {
    const { history } = this;
    const latest = this.#latestWallMs();
    const wrong = checkAnswers(history, read);
    if (wrong.length > 0) {
      this.#report(wrong);
      return;
    }
    this.#report([
      ...checkRefusals(history, read),
      ...checkSiblings(history, read),
      ...checkSiblingCount(read.key, read.node, read.versions.length),
      ...checkNoReturn(history, read, final),
      ...checkOverlap(history, read, latest),
      ...(final ? checkSurvival(history, read, latest) : []),
    ]);
  }

  #report(violations: readonly Violation[]): void {
    for (const { checker, message } of violations) this.#world.fail(checker, message);
  }

  async #judgeAll(): Promise<void> {
    const keys = this.history.keys;
    if (this.#plan.repairs) {
      // All replicas must be equal without one read of a client.
      await this.#repaired();
    } else {
      for (const key of keys) {
        await this.#healedRead(key, this.#plan.r, false);
        // A replica whose flushes lag refuses repairs, as it may: the memtables here are tiny.
        await this.#world.sleep(PACE_MS);
      }
      await this.#world.sleep(REPAIR_MS);
    }
    for (const key of keys) {
      if (this.#world.ended) return;
      await this.#compareReplicas(BUCKET, key);
      await this.#healedRead(key, this.#plan.n, true);
    }
    const lasting = keys.filter((key) => this.#lasting.has(key));
    if (!this.#world.ended) await this.#scan(BUCKET, lasting, keys);
  }

  /** As `judgeAll`; the reads are part of the history, which is judged as a whole. */
  async #judgeStrong(parts: StrongParts): Promise<void> {
    const { keys } = this.registers;
    for (const key of keys) {
      await this.#healedStrongRead(parts, key, undefined);
      await this.#world.sleep(PACE_MS);
    }
    await this.#world.sleep(REPAIR_MS);
    const lasting: string[] = [];
    for (const key of keys) {
      if (this.#world.ended) return;
      await this.#compareReplicas(STRONG_BUCKET, key);
      if ((await this.#healedStrongRead(parts, key, this.#plan.n)) !== 0) lasting.push(key);
    }
    if (this.#world.ended) return;
    await this.#scan(STRONG_BUCKET, lasting, keys);
    this.#coverage.add('strong histories judged', keys.length);
    this.#report(this.registers.check());
  }

  async #healedStrongRead(parts: StrongParts, key: string, r: number | undefined): Promise<number> {
    const machine = this.#dice.pick(this.#machines);
    const reply = await strongReadAt(parts, machine, key, r, 5000);
    if (reply.kind === 'answer') return reply.value;
    this.#world.fail('liveness', `after healing, a read of ${key} at ${machine.name} fails: ${failureText(reply)}`);
    return 0;
  }

  /** A round of repair, asked for at every node, until nothing is owed and nothing lost. */
  async #repaired(): Promise<void> {
    const views = (): (RepairView | undefined)[] => this.#machines.map((machine) => machine.node?.repairs());
    for (const machine of this.#machines) {
      await machine.ask(5000, (node) => {
        node.repair({});
      });
    }
    const untilUs = this.#world.nowUs + HEAL_MS * 1000;
    const left = (view: RepairView | undefined): boolean =>
      view !== undefined && (view.owed > 0 || view.lostRanges > 0 || view.leavesUnknown > 0);
    while (!this.#world.ended && views().some(left) && this.#world.nowUs < untilUs) await this.#world.sleep(50);
    if (views().some(left)) {
      this.#world.fail('liveness', `repair does not end ${String(HEAL_MS)} ms after healing: ${JSON.stringify(views())}`);
    }
    this.#coverage.add('repair rounds');
  }

  async #healedRead(key: string, r: number, final: boolean): Promise<void> {
    const machine = this.#dice.pick(this.#machines);
    const reply = await readAt(this.#parts, machine, key, { r, quorum: 'strict', timeoutMs: 5000 });
    if (reply.kind === 'answer') {
      const { read } = reply.value;
      if (final) this.#judge(read, true);
      if (final && read.versions.some((version) => version.expireAtMs === 0)) this.#lasting.add(key);
      return;
    }
    this.#world.fail('liveness', `after healing, a read of ${key} with r=${String(r)} at ${machine.name} fails: ${failureText(reply)}`);
  }

  async #compareReplicas(bucket: string, key: string): Promise<void> {
    const copies: ReplicaCopy[] = [];
    for (const machine of this.#machines) {
      const reply = await machine.ask(5000, (node) =>
        node.local(bucket, key).then(({ bytes, digest, versions }) => ({
          held: bytes !== undefined,
          crc: bytes === undefined ? 0 : crc32(bytes),
          digest,
          versions: versions.map(({ value, expireAtMs }) => ({
            number: recognise(key, value),
            expireAtMs,
            shows: `${String(value.length)} bytes`,
          })),
        })),
      );
      if (reply.kind !== 'answer') {
        const lost = reply.kind === 'error' && reply.error.code === 'DATA_DAMAGED';
        this.#world.fail(
          lost ? 'convergence' : 'liveness',
          `after healing, the local copy of ${key} at ${machine.name} cannot be read: ${failureText(reply)}`,
        );
        return;
      }
      if (reply.value.held) copies.push({ node: machine.name, digest: reply.value.digest, versions: reply.value.versions });
    }
    if (copies.length !== 0 && copies.length !== this.#plan.n) {
      this.#world.fail(
        'convergence',
        `key ${key}: ${String(copies.length)} of ${String(this.#plan.n)} replicas hold it: ${copies.map((copy) => copy.node).join(' ')}`,
      );
      return;
    }
    this.#report(checkConvergence(key, copies));
    if (bucket !== BUCKET) return;
    for (const copy of copies) {
      const shown = { key, node: copy.node, versions: copy.versions };
      this.#report([...checkAnswers(this.history, shown), ...checkRefusals(this.history, shown)]);
    }
  }

  /** A whole scan, which must show exactly what the reads showed. */
  async #scan(bucket: string, before: readonly string[], keys: readonly string[]): Promise<void> {
    const machine = this.#dice.pick(this.#machines);
    const found: string[] = [];
    let cursor = '0';
    for (let page = 0; page === 0 || cursor !== '0'; page += 1) {
      const reply = await machine.ask(5000, (node) => node.scan(bucket, cursor, 3, { timeoutMs: 5000 }));
      if (reply.kind !== 'answer' || page > 1000) {
        this.#world.fail(
          'liveness',
          `after healing, a scan at ${machine.name} ${page > 1000 ? 'never ends' : `fails: ${failureText(reply)}`}`,
        );
        return;
      }
      found.push(...reply.value.keys);
      cursor = reply.value.cursor;
    }
    this.#coverage.add('scans');
    this.#report(checkScan({ node: machine.name, keys: found }, before, keys));
  }

  #judgeBounds(idle: boolean): void {
    const { hintBytes } = this.#plan;
    for (const machine of this.#machines) {
      const { node, process } = machine;
      if (node === undefined || process?.alive !== true) continue;
      const buffered = this.#network.mostBuffered(machine.name);
      this.#report(checkBounds({ node: machine.name, stats: node.stats(), pending: process.pending, buffered, hintBytes }, idle));
    }
  }

  #judgeDown({ name }: Machine, { member, observers }: LogFields): void {
    const claim = { by: name, member: String(member), observers: String(observers).split(', ') };
    this.#report(checkTwoObservers(claim, (observer, of) => this.#network.ledger.longest(observer, of)));
  }

  /** Whether any node has let a clock drag it along: in the key written last, where that shows first. */
  #judgeClocks(): void {
    const key = this.history.writes.at(-1)?.key;
    // Clocks that differ by less are within what is taken.
    if (key === undefined || this.#plan.skewMs <= SKEW_TAKEN_MS) return;
    for (const machine of this.#machines) {
      // After a death hybrid time goes on from the lease on the disk, ahead of the clock.
      if (!machine.up || machine.deaths > 0) continue;
      const times = machine.ask(1000, async (node) => (await node.local(BUCKET, key)).versions.map(({ time }) => time.ms));
      void times.then((reply) => {
        if (reply.kind !== 'answer') return;
        const { name, latestWallMs } = machine;
        for (const ms of reply.value) this.#report(checkClockBound({ node: name, key, ms, latestWallMs }));
      });
    }
  }

  /** Looks at what the nodes hold, now and then. */
  async #watchBounds(until: () => boolean): Promise<void> {
    while (!until()) {
      await this.#world.sleep(500);
      this.#judgeBounds(false);
      this.#judgeClocks();
    }
  }
}

function unreachable(node: KvNode): string[] {
  return node
    .cluster()
    .members.flatMap((member) => (member.state === 'self' || member.state === 'connected' ? [] : [`${member.name} is ${member.state}`]));
}

function kept(node: KvNode): string[] {
  const { hints, debt } = node.stats().hints;
  return hints === 0 && debt === 0 ? [] : [`${String(hints)} hints and ${String(debt)} debts are left`];
}

function failureText(reply: Reply<unknown>): string {
  return reply.kind === 'error' ? `${reply.error.code}: ${reply.error.message}` : reply.kind;
}
