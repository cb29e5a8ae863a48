/**
 * Injects the plan's faults during the safety phase and takes them all back for the liveness phase. It keeps the budget of plan.ts.
 */

import type { Coverage } from '../coverage.ts';
import type { Medium } from '../disk/medium.ts';
import type { Machine } from '../machine.ts';
import type { Dice } from '../world/dice.ts';
import type { Link } from '../world/connection-end.ts';
import type { SimNetwork } from '../world/network.ts';
import type { World } from '../world/world.ts';
import type { Fault, Plan } from './plan.ts';

/** How long a member is counted as having lost what `fsync: interval` had not synced. */
const INTERVAL_SLACK_US = 1_000_000;

/** Longer than a half-open connection lasts (world/network.ts). */
const SETTLE_MS = 25_000;

/** How long a store may take to find rotten tables and to fill them again. */
const MEND_US = 60_000_000;

/** How old a restored disk is at least. */
const OLD_US = 2_000_000;
/** How long other faults wait for the calm that a restored disk needs. */
const CALM_US = 8_000_000;

export class Injector {
  readonly #world: World;
  readonly #plan: Plan;
  readonly #machines: readonly Machine[];
  readonly #network: SimNetwork;
  readonly #coverage: Coverage;
  readonly #dice: Dice;
  /** Members that have ever lost what was synced, or what an interval had not synced. */
  readonly #hurt = new Set<Machine>();
  /** Old disks, for `restored-disk`. */
  readonly #images = new Map<Machine, { readonly medium: Medium; readonly atUs: number }>();
  #healing = false;
  /** Faults that something still suffers from. */
  #ongoing = 0;
  /** An old disk waits for calm to be restored. */
  #planned: { readonly machine: Machine; readonly untilUs: number } | undefined;
  /** An old disk was restored: nothing else happens until its peers have noticed. */
  #restored: Machine | undefined;

  constructor(world: World, plan: Plan, machines: readonly Machine[], network: SimNetwork, coverage: Coverage) {
    this.#world = world;
    this.#plan = plan;
    this.#machines = machines;
    this.#network = network;
    this.#coverage = coverage;
    this.#dice = world.dice.fork();
  }

  /** The links and clocks that the cluster starts with, and ends with. */
  calm(): void {
    const { linkDelayUs } = this.#plan;
    for (const from of this.#machines) {
      from.noteClock();
      for (const to of this.#machines) {
        this.#network.setLink(from.name, to.name, this.#plainLink(from === to ? 20 : linkDelayUs));
      }
      from.clock.rate = 1;
      from.clock.offsetUs =
        -Math.floor(Math.min(this.#plan.skewMs, 10) * 500) + this.#dice.between(0, Math.min(this.#plan.skewMs, 10) * 1000);
    }
  }

  #plainLink(delayUs: number): Link {
    return { delayUs, jitterUs: delayUs, loss: 0, retransmitUs: 200_000, bytesPerSecond: 1e8, blocked: false };
  }

  /** Injects until `until` says that it is time. */
  async run(until: () => boolean): Promise<void> {
    const { faults, faultEveryMs } = this.#plan;
    if (faults.size === 0) return;
    // What needs calm to happen comes rarely enough.
    const kinds = [...faults, ...(faults.has('restored-disk') ? (['restored-disk', 'restored-disk', 'restored-disk'] as const) : [])];
    if (faults.has('clock-drift')) this.#drift();
    while (!until()) {
      await this.#world.sleep(this.#dice.fraction() * 2 * faultEveryMs);
      if (until() || this.#world.ended) return;
      this.#watch();
      if (faults.has('restored-disk')) this.#photograph();
      if (this.#restoring()) continue;
      if (this.#dice.oneIn(4)) for (const machine of this.#machines) if (machine.stuck) this.#down(machine, 'process-death');
      this.#inject(this.#dice.pick(kinds));
    }
  }

  /** Members that have synchronised again count as whole again. */
  #watch(): void {
    for (const machine of this.#machines) {
      if (machine.impaired === 'lost' && machine.whole) {
        machine.impaired = 'no';
        this.#coverage.add('wiped disks recovered');
      }
      if (machine.mended) {
        machine.endMending('no');
        this.#coverage.add('rotten tables mended');
      }
    }
  }

  #after(ms: number, undo: () => void): void {
    this.#ongoing += 1;
    this.#world.schedule(ms * 1000, undefined, () => {
      this.#ongoing -= 1;
      if (!this.#healing) undo();
    });
  }

  /** Whether peers are still finding out that a disk is old. */
  #waitsForRestored(): boolean {
    const machine = this.#restored;
    if (machine === undefined) return false;
    if (machine.impaired === 'lost' && (machine.node?.stats().counters['rewinds'] ?? 0) === 0) return true;
    this.#restored = undefined;
    return false;
  }

  #inject(fault: Fault): void {
    const dice = this.#dice;
    const machine = dice.pick(this.#machines);
    this.#world.trace.note('fault', fault, machine.name);
    this.#coverage.add(`fault ${fault}`);
    switch (fault) {
      case 'kill':
        this.#down(machine, 'process-death');
        return;
      case 'power-loss':
        this.#losePower(machine);
        return;
      case 'cut-midway':
        machine.cut = dice.oneIn(2)
          ? { left: dice.between(1, 60), how: dice.oneIn(2) ? 'power-loss' : 'process-death', where: 'disk' }
          : { left: dice.between(1, 10), how: dice.oneIn(3) ? 'process-death' : 'power-loss', where: 'log' };
        return;
      case 'clean-restart':
        void machine.stop(500).then(() => {
          this.#after(dice.between(10, 500), () => {
            machine.boot();
          });
        });
        return;
      case 'wiped-disk':
      case 'restored-disk':
        this.#loseDisk(machine, fault);
        return;
      case 'bit-rot':
        this.#rot(machine);
        return;
      case 'slow-disk':
        machine.diskFactor = dice.pick([10, 50, 200]);
        this.#after(dice.between(500, 4000), () => {
          machine.diskFactor = 1;
        });
        return;
      case 'full-disk':
        machine.volume.capacityBytes = machine.volume.medium.usedBytes() + dice.between(0, 3000);
        this.#after(dice.between(500, 4000), () => {
          machine.volume.capacityBytes = Infinity;
        });
        return;
      case 'failed-sync':
        machine.syncFailures = dice.pick([0.05, 0.3, 1]);
        // A disk that fails often takes its machine with it.
        if (dice.oneIn(2)) {
          this.#after(dice.between(20, 500), () => {
            if (this.#mayLosePower(machine)) this.#down(machine, 'power-loss');
          });
        }
        this.#after(dice.between(50, 1000), () => {
          machine.syncFailures = 0;
        });
        return;
      case 'pause':
        this.#pause(machine);
        return;
      case 'clock-jump':
        machine.noteClock();
        machine.clock.offsetUs = dice.between(0, this.#plan.skewMs * 1000) - Math.floor(this.#plan.skewMs * 500);
        return;
      case 'clock-drift':
        this.#drift();
        return;
      case 'partition':
        this.#partition();
        return;
      case 'one-way-partition':
        this.#cutLinks([[machine.name, dice.pick(this.#machines).name]]);
        return;
      case 'zone-loss':
        this.#loseZone();
        return;
      case 'reset':
        this.#coverage.add('connections reset', this.#network.reset(machine.name, dice.pick(this.#machines).name));
        return;
      case 'slow-link':
      case 'packet-loss':
        this.#worsen(fault, machine.name, dice.pick(this.#machines).name);
        return;
    }
  }

  /** At once, or in the middle of what the log writes next: under load that is where power is mostly lost. */
  #losePower(machine: Machine): void {
    if (this.#plan.fsync.kind === 'always' && this.#dice.chance(0.6)) {
      machine.cut = { left: this.#dice.between(1, 4), how: 'power-loss', where: 'log' };
    } else if (this.#mayLosePower(machine)) {
      this.#down(machine, 'power-loss');
    }
  }

  #down(machine: Machine, how: 'power-loss' | 'process-death'): void {
    if (how === 'power-loss' && this.#plan.fsync.kind === 'interval') this.#hurt.add(machine);
    machine.crash(how);
    this.#after(this.#dice.pick([5, 300, 1500, 6000]), () => {
      machine.boot();
    });
  }

  /** Under `fsync: interval` a loss of power counts like a lost disk, for an interval. */
  #mayLosePower(machine: Machine): boolean {
    const { fsync, lossBudget } = this.#plan;
    if (fsync.kind === 'always') return true;
    const windowUs = fsync.everyMs * 1000 + INTERVAL_SLACK_US;
    const hurt = this.#machines.filter(
      (other) => other !== machine && (other.impaired !== 'no' || this.#world.nowUs - other.powerLostUs < windowUs),
    );
    return hurt.length < lossBudget && this.#mayHurt(machine);
  }

  /** Where there are hints, what one member has lost of them stays lost. */
  #mayHurt(machine: Machine): boolean {
    const { quorums, lossBudget } = this.#plan;
    return quorums === 'strict' || this.#hurt.has(machine) || this.#hurt.size < lossBudget;
  }

  #mayLoseDisk(machine: Machine): boolean {
    const { fsync, lossBudget } = this.#plan;
    const windowUs = fsync.kind === 'always' ? 0 : fsync.everyMs * 1000 + INTERVAL_SLACK_US;
    const hurt = this.#machines.filter(
      (other) => other !== machine && (other.impaired !== 'no' || this.#world.nowUs - other.powerLostUs < windowUs),
    );
    return hurt.length < lossBudget && this.#mayHurt(machine);
  }

  #loseDisk(machine: Machine, how: 'wiped-disk' | 'restored-disk'): void {
    if (!this.#mayLoseDisk(machine)) return;
    if (how === 'restored-disk') {
      this.#planRestore(machine);
      return;
    }
    this.#hurt.add(machine);
    machine.crash('process-death');
    machine.replaceDisk(undefined);
    this.#images.delete(machine);
    this.#coverage.add('disks wiped');
    // Whoever replaces a disk may unplug a cable too: the copy then takes its time.
    if (this.#dice.oneIn(2)) {
      const away = this.#dice.shuffled(this.#machines.filter((other) => other !== machine)).slice(0, this.#dice.between(1, 2));
      this.#cutLinks(
        away.flatMap(({ name }): [string, string][] => [
          [name, machine.name],
          [machine.name, name],
        ]),
      );
    }
    this.#after(this.#dice.pick([5, 500, 3000]), () => {
      machine.boot();
    });
  }

  /** Keeps images of the disks, to be restored later. */
  #photograph(): void {
    for (const machine of this.#machines) {
      if (machine.impaired !== 'no' || machine.boots === 0 || this.#images.has(machine)) continue;
      this.#images.set(machine, { medium: machine.volume.image(), atUs: this.#world.nowUs });
    }
  }

  #planRestore(machine: Machine): void {
    const image = this.#images.get(machine);
    // What is younger than a lease of hybrid time, nobody can tell from the present.
    if (image === undefined || this.#world.nowUs - image.atUs < OLD_US) return;
    this.#planned = { machine, untilUs: this.#world.nowUs + CALM_US };
  }

  /** Whether other faults must wait because an old disk is about to be restored, or its peers have yet to find out. */
  #restoring(): boolean {
    if (this.#waitsForRestored()) return true;
    const planned = this.#planned;
    if (planned === undefined) return false;
    const { machine, untilUs } = planned;
    const calm = this.#ongoing === 0 && this.#machines.every((other) => other.joined);
    if (!calm && this.#world.nowUs < untilUs) return true;
    this.#planned = undefined;
    const image = this.#images.get(machine);
    if (!calm || image === undefined || !this.#mayLoseDisk(machine)) return false;
    this.#hurt.add(machine);
    machine.crash('process-death');
    machine.replaceDisk(image.medium);
    this.#images.delete(machine);
    this.#restored = machine;
    this.#coverage.add('old disks restored');
    this.#after(this.#dice.between(5, 300), () => {
      machine.boot();
    });
    return true;
  }

  #rot(machine: Machine): void {
    if (!this.#mayLoseDisk(machine)) return;
    const all = machine.volume.medium.files().filter((file) => file.size > 0);
    // Most of a disk is tables.
    const tables = all.filter((file) => file.path.endsWith('.sst'));
    const files = tables.length > 0 && this.#dice.chance(0.7) ? tables : all;
    if (files.length === 0) return;
    // Where the cluster repairs itself, most disks of which only tables are rotten stay.
    const mends = this.#plan.repairs && files === tables && this.#dice.chance(0.8);
    if (mends) machine.rotTables();
    else machine.impaired = 'rotten';
    machine.rotted += 1;
    this.#hurt.add(machine);
    for (let flips = this.#dice.between(1, 12); flips > 0; flips -= 1) {
      const file = this.#dice.pick(files);
      machine.volume.flip(file.path, this.#dice.below(file.size), 1 << this.#dice.below(8));
      this.#coverage.add('bits rotten');
    }
    // Now and then the node reads all of it again.
    if (this.#dice.oneIn(2)) this.#down(machine, 'process-death');
    if (mends) return;
    // In the end the operator replaces the disk.
    this.#after(this.#dice.between(3000, 10_000), () => {
      this.#replaceRotten(machine);
    });
  }

  #replaceRotten(machine: Machine): void {
    if (machine.impaired !== 'rotten') return;
    machine.crash('process-death');
    machine.replaceDisk(undefined);
    machine.boot();
  }

  #pause(machine: Machine): void {
    const { process } = machine;
    if (process?.alive !== true || process.paused) return;
    process.pause();
    this.#ongoing += 1;
    this.#world.schedule(this.#dice.pick([50, 700, 5000]) * 1000, undefined, () => {
      this.#ongoing -= 1;
      process.resume();
    });
  }

  #drift(): void {
    // Over the minute that a run takes at most, so slow that the clocks stay within the plan's skew.
    for (const machine of this.#machines) {
      const before = machine.clock.rate;
      machine.clock.rate = 1 + (this.#dice.fraction() - 0.5) * 2 * Math.min(0.001, this.#plan.skewMs / 240_000);
      // The wall clock goes on from where it is.
      machine.clock.offsetUs += this.#world.nowUs * (before - machine.clock.rate);
    }
  }

  #partition(): void {
    const names = this.#dice.shuffled(this.#machines.map((machine) => machine.name));
    const left = names.slice(0, this.#dice.between(1, names.length - 1));
    const right = names.filter((name) => !left.includes(name));
    this.#cutLinks(
      left.flatMap((a) =>
        right.flatMap((b): [string, string][] => [
          [a, b],
          [b, a],
        ]),
      ),
    );
  }

  #cutLinks(pairs: readonly (readonly [string, string])[]): void {
    for (const [from, to] of pairs) this.#network.block(from, to);
    this.#after(this.#dice.pick([200, 1500, 6000]), () => {
      for (const [from, to] of pairs) this.#network.unblock(from, to);
    });
  }

  #loseZone(): void {
    const zone = this.#dice.pick(this.#plan.members).zone;
    const names = new Set(this.#plan.members.filter((member) => member.zone === zone).map((member) => member.name));
    for (const machine of this.#machines) if (names.has(machine.name)) this.#down(machine, 'power-loss');
  }

  #worsen(fault: 'slow-link' | 'packet-loss', from: string, to: string): void {
    const link = this.#network.link(from, to);
    const better = { ...link };
    if (fault === 'slow-link') {
      link.delayUs = this.#dice.pick([20_000, 200_000]);
      link.jitterUs = link.delayUs;
      link.bytesPerSecond = 1e5;
    } else {
      link.loss = this.#dice.pick([0.02, 0.2]);
    }
    this.#after(this.#dice.between(500, 5000), () => {
      link.delayUs = better.delayUs;
      link.jitterUs = better.jitterUs;
      link.bytesPerSecond = better.bytesPerSecond;
      link.loss = better.loss;
    });
  }

  /** Takes every fault back: what is broken is mended, what is down is started, what is rotten is replaced. */
  async heal(): Promise<void> {
    this.#healing = true;
    this.#world.trace.note('fault', 'heal');
    for (const from of this.#machines) for (const to of this.#machines) this.#network.unblock(from.name, to.name);
    this.calm();
    for (const machine of this.#machines) {
      machine.diskFactor = 1;
      machine.syncFailures = 0;
      machine.cut = undefined;
      machine.volume.capacityBytes = Infinity;
      if (machine.process?.paused === true) machine.process.resume();
      machine.boot();
    }
    // One disk at a time is replaced, so that the budget holds here too.
    for (const machine of this.#machines) {
      if (machine.mends) await this.#untilMended(machine);
      if (machine.impaired !== 'rotten') continue;
      await this.#allWhole(machine);
      this.#replaceRotten(machine);
    }
    await this.#allWhole(undefined);
    // Half-open connections are found out, full disks looked at again.
    await this.#world.sleep(SETTLE_MS);
    await this.#allWhole(undefined);
    await this.#allHandedOff();
    this.#watch();
  }

  /** Waits until what has rotted is made up for: not for ever, so that what is wrong then can be told from a cluster that does not come up. */
  async #untilMended(machine: Machine): Promise<void> {
    const untilUs = this.#world.nowUs + MEND_US;
    while (!this.#world.ended && !machine.whole) {
      this.#supervise();
      await this.#world.sleep(100);
    }
    machine.rereadAll();
    while (!this.#world.ended && machine.mends && !machine.mended && this.#world.nowUs < untilUs) {
      this.#supervise();
      await this.#world.sleep(100);
    }
    if (machine.mends && !machine.mended) {
      this.#world.fail('liveness', `${machine.name} has not made up for its rotten tables: ${JSON.stringify(machine.node?.repairs())}`);
      machine.endMending('no');
    }
    this.#watch();
  }

  /** What an operator's supervisor does: starts what is down, and restarts what says that it cannot go on. */
  #supervise(): void {
    for (const machine of this.#machines) {
      if (machine.stuck) {
        this.#coverage.add('restarted by the supervisor');
        machine.crash('process-death');
      }
      if (machine.replaced) {
        this.#coverage.add('replaced stores put down');
        this.#world.trace.note(machine.name, 'put down', machine.node?.ready().reasons.join('; '));
        machine.crash('process-death');
        machine.replaceDisk(undefined);
      }
      if (!machine.up) machine.boot();
    }
  }

  /** Waits until no hint and no debt is left: whoever keeps one must get rid of it. */
  async #allHandedOff(): Promise<void> {
    while (!this.#world.ended && !this.#machines.every((machine) => machine.handedOff)) {
      this.#supervise();
      await this.#world.sleep(100);
    }
  }

  /** Waits until every member but `except` is up and synchronised. The run's limits end a wait in vain. */
  async #allWhole(except: Machine | undefined): Promise<void> {
    while (!this.#world.ended) {
      if (this.#machines.every((machine) => machine === except || machine.joined)) return;
      this.#supervise();
      await this.#world.sleep(100);
    }
  }
}
