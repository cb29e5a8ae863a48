/**
 * Proof (e): the disk is full, a sync fails, or any other call fails, at EVERY call that changes the disk. A workload (a recovery, then
 * batches with flushes, compactions and a range drop) runs once to count its calls; then once for each call and each way to fail:
 *
 * - `full`: from this call on the volume takes no byte more, until room is made some batches later;
 * - `full-once`: this call alone answers "no space";
 * - `failed`: this call alone answers an input/output error; a failed dataSync drops the dirty pages, and later syncs succeed.
 * - `syncs`: from this call on a few syncs in a row fail, and the power soon after.
 *
 * Every failure must reach the caller as a coded error; what was acknowledged stays readable throughout; after a full disk has room again
 * writes go on without a restart; at the end the power fails, the process dies or the store is closed, and after opening again every acknowledged write is
 * there, no refused one (outcome `none`) is, and one with outcome `unknown` may be. Every
 * third workload syncs its log at intervals; after a loss of power it must open and be readable.
 *
 *   node sim/storage/failing-disk.ts --seed 1 --count 10            the full proof: 10 workloads, every call, every way
 *   node sim/storage/failing-disk.ts --seed 3 --call 41 --way full  one case, as a failure names it
 *
 * `--ways full,failed` limits the ways; `--rotate` takes one way a call in turn, `failed` always for syncs: the share that the test suite
 * runs. `--sabotage sync` makes syncs after the first failure lie, `--sabotage reads` fails reads while the disk is full; the proof must
 * then fail.
 */

import type { ByteString } from '../../src/base/bytes.ts';
import { isCoterieError } from '../../src/base/errors.ts';
import { WriteBatch } from '../../src/storage/write-batch.ts';
import { requireOneOf } from '../command/flags.ts';
import type { Medium } from '../disk/medium.ts';
import type { Operation, Verdict } from '../disk/operation.ts';
import { SeededRandom } from '../disk/seeded-random.ts';
import type { SimVolume } from '../disk/volume.ts';
import { TINY, isCoded, newVolume, openEngine, volumeOf } from './engine-process.ts';
import type { EngineProcess, Tuning } from './engine-process.ts';
import { applyStep, keyOf, makeHistory, sameBytes, writeBatchOf } from './history.ts';
import type { Batch, Content, Drop, Step } from './history.ts';
import { cpuSeconds, messageOf, proofArguments, report } from './proof-program.ts';
import { written } from './whole-store.ts';

type Way = 'full' | 'full-once' | 'failed' | 'syncs';

const WAYS: readonly Way[] = ['full', 'full-once', 'failed', 'syncs'];
/** The ways besides `failed`, in turn. */
const ROTATION: readonly Way[] = ['full', 'full-once', 'syncs'];
const KEYS = 60;
const MOST_FAILURES = 10;
const MOST_EVENTS = 200_000;
/** Batches tried while the disk is full. */
const FULL_FOR = 8;
const PROBE: ByteString = '~probe';

const options = proofArguments({ seed: 1, count: 1 }, ['call', 'way', 'ways', 'batches', 'sabotage'], ['rotate']);
const batches = options.numberOption('batches', 36);
const onlyCall = options.numberOption('call', -1);
const onlyWay = options.option('way');
const ways = (options.option('ways') ?? onlyWay ?? WAYS.join(',')).split(',');
for (const way of ways) requireOneOf(way, WAYS, 'ways');
const rotate = options.given('rotate');
const sabotage = options.option('sabotage');

const failures: string[] = [];
const figures = { workloads: 0, cases: 0, opensRefused: 0, writesRefused: 0, writesUnknown: 0, resumed: 0, restarts: 0, reads: 0 };
const errorCodes: Record<string, number> = {};

/** What a key may hold: the newest certain value, and those of writes after it whose outcome is unknown. */
class Possible {
  readonly #values = new Map<ByteString, (Uint8Array | undefined)[]>();

  constructor(base: Content) {
    for (const [key, value] of base) this.#values.set(key, [value]);
  }

  certain(key: ByteString, value: Uint8Array | undefined): void {
    this.#values.set(key, [value]);
  }

  perhaps(key: ByteString, value: Uint8Array | undefined): void {
    this.#values.set(key, [...(this.#values.get(key) ?? [undefined]), value]);
  }

  perhapsDropped(drop: Drop): void {
    for (const key of this.#values.keys()) if (key >= drop.from && key < drop.to) this.perhaps(key, undefined);
  }

  dropped(drop: Drop): void {
    for (const key of this.#values.keys()) if (key >= drop.from && key < drop.to) this.certain(key, undefined);
  }

  wrong(key: ByteString, found: Uint8Array | undefined): string | undefined {
    const values = this.#values.get(key) ?? [undefined];
    for (const value of values) {
      if (value === undefined ? found === undefined : found !== undefined && sameBytes(value, found)) return undefined;
    }
    const certain = values.length === 1 ? 'the acknowledged value' : `any of ${String(values.length)} possible values`;
    return `${JSON.stringify(key)} answers ${found === undefined ? 'nothing' : `${String(found.length)} bytes`}, not ${certain}`;
  }
}

function noteCode(error: unknown): void {
  const code = isCoterieError(error) ? error.code : 'uncoded';
  errorCodes[code] = (errorCodes[code] ?? 0) + 1;
}

class Case {
  readonly #random: SeededRandom;
  readonly #volume: SimVolume;
  readonly #steps: readonly Step[];
  readonly #possible: Possible;
  readonly #way: Way | undefined;
  readonly #call: number;
  /** The log is synced at intervals: what is acknowledged survives the process, and a loss of power only as far as it was synced. */
  readonly #interval: boolean;
  /** Threads write the log, and nothing else does. */
  readonly #byThread: boolean;
  #injected = false;
  /** For `syncs`: how many fail, and how many batches later the power does. */
  #failsLeft: number;
  readonly #batchesThen: number;
  #problem: string | undefined;
  /** Any older state is right too; only errors are wrong. */
  #uncertain = false;
  /** Why the last opening was refused. */
  #refusal = '';

  /** @param way absent: nothing fails, the calls are counted */
  constructor(seed: number, base: Medium, content: Content, steps: readonly Step[], call: number, way: Way | undefined) {
    this.#random = new SeededRandom(seed, 5);
    this.#volume = volumeOf(base, this.#random.fork());
    this.#steps = steps;
    this.#possible = new Possible(content);
    this.#call = call;
    this.#way = way;
    this.#interval = seed % 3 === 2;
    this.#byThread = this.#random.oneIn(2);
    const drawn = new SeededRandom(seed, 100 + call);
    this.#failsLeft = 1 + drawn.below(5);
    this.#batchesThen = drawn.below(6);
    this.#volume.judge = (operation) => this.#judge(operation);
  }

  async run(): Promise<string | undefined> {
    let process = await this.#open();
    // A start that the failure stopped: with room again it works, in the same process.
    if (process === undefined && this.#problem === undefined) {
      figures.opensRefused += 1;
      this.#makeRoom();
      process = await this.#open();
      if (process === undefined) this.#fail(`does not open once the failure has passed: ${this.#refusal}`);
    }
    if (process === undefined) return this.#problem;
    await this.#work(process);
    if (this.#way === 'syncs' && this.#injected) return this.#afterSyncs(process);
    this.#makeRoom();
    if (this.#problem === undefined) process = await this.#resume(process);
    if (this.#problem === undefined) await this.#readAll(process, 'at the end');
    if (this.#problem === undefined) await this.#again(process);
    return this.#problem;
  }

  /** The power fails with a write in flight, and the syncs no more. */
  async #afterSyncs(process: EngineProcess): Promise<string | undefined> {
    const value = this.#random.bytes(300);
    process.engine.write(new WriteBatch().put(PROBE, value), () => undefined);
    this.#possible.perhaps(PROBE, value);
    for (let left = this.#random.below(8); left > 0; left -= 1) await process.timeline.step();
    this.#failsLeft = 0;
    this.#volume.powerLoss();
    this.#uncertain = this.#interval;
    const again = await this.#open();
    if (again === undefined) this.#fail(`does not open after failed syncs and a loss of power: ${this.#refusal}`);
    else await this.#readAll(again, 'after failed syncs and a loss of power');
    return this.#problem;
  }

  get calls(): number {
    return this.#volume.changes;
  }

  #fail(text: string): void {
    this.#problem ??= text;
  }

  #judge(operation: Operation): Verdict {
    if (this.#way === undefined || !operation.changes) {
      return sabotage === 'reads' && operation.kind === 'read' && this.#volume.capacityBytes !== Number.POSITIVE_INFINITY ? 'io' : 'ok';
    }
    if (this.#way === 'syncs') return this.#judgeSync(operation);
    if (operation.index !== this.#call) return this.#injected && sabotage === 'sync' && operation.kind === 'dataSync' ? 'ignored' : 'ok';
    this.#injected = true;
    if (this.#way === 'failed') return 'io';
    if (this.#way === 'full') this.#volume.capacityBytes = this.#volume.medium.usedBytes();
    // An unlink or a directory's sync needs no room.
    return ['create', 'mkdir', 'write', 'dataSync'].includes(operation.kind) ? 'no-space' : 'ok';
  }

  #judgeSync(operation: Operation): Verdict {
    if (operation.index < this.#call || this.#failsLeft === 0 || operation.kind !== 'dataSync') return 'ok';
    this.#injected = true;
    this.#failsLeft -= 1;
    return 'io';
  }

  /** The failure has passed. */
  #makeRoom(): void {
    this.#failsLeft = 0;
    this.#volume.capacityBytes = Number.POSITIVE_INFINITY;
  }

  async #open(): Promise<EngineProcess | undefined> {
    try {
      const turnWriteMs = this.#byThread ? 0 : 1;
      const tuning: Tuning = { ...TINY, turnWriteMs, ...(this.#interval ? { fsync: { kind: 'interval', everyMs: 1 } } : {}) };
      return await openEngine(this.#volume, this.#random.fork(), tuning);
    } catch (error) {
      noteCode(error);
      this.#refusal = messageOf(error);
      if (!this.#injected || !isCoded(error)) this.#fail(`open: ${this.#refusal}`);
      return undefined;
    }
  }

  async #settled(process: EngineProcess, what: string, promise: Promise<unknown>): Promise<void> {
    try {
      await process.timeline.run(promise, MOST_EVENTS);
    } catch (error) {
      this.#fail(`${what}: ${messageOf(error)}`);
    }
  }

  /** Issues a batch; what its keys may hold is settled with its outcome. */
  async #write(process: EngineProcess, batch: Batch): Promise<void> {
    try {
      await written(process.engine, writeBatchOf(batch));
      for (const { key, value } of batch.puts) this.#possible.certain(key, value);
    } catch (error) {
      noteCode(error);
      if (!this.#injected || !isCoded(error)) this.#fail(`write ${String(batch.number)}: ${messageOf(error)}`);
      if (isCoterieError(error) && error.outcome === 'none') {
        figures.writesRefused += 1;
      } else {
        figures.writesUnknown += 1;
        for (const { key, value } of batch.puts) this.#possible.perhaps(key, value);
      }
    }
  }

  async #perhapsFails(what: string, task: Promise<void>): Promise<boolean> {
    try {
      await task;
      return true;
    } catch (error) {
      noteCode(error);
      if (!this.#injected || !isCoded(error)) this.#fail(`${what}: ${messageOf(error)}`);
      return false;
    }
  }

  async #work(process: EngineProcess): Promise<void> {
    const { engine } = process;
    let writing: Promise<void>[] = [];
    let sinceFull = 0;
    for (const step of this.#steps) {
      if (this.#problem !== undefined) return;
      switch (step.kind) {
        case 'batch':
          // Two writes of one key in flight with different fates would leave their order open: settle between.
          if (writing.length >= 2 || this.#injected) {
            await this.#settled(process, 'writes', Promise.all(writing));
            writing = [];
          }
          writing.push(this.#write(process, step));
          if (this.#injected) {
            sinceFull += 1;
            if (sinceFull > FULL_FOR) this.#makeRoom();
            await this.#settled(process, 'writes', Promise.all(writing));
            writing = [];
            if (this.#way === 'syncs' && sinceFull > this.#batchesThen) return;
            await this.#readSome(process);
          }
          break;
        case 'drop':
          await this.#settled(process, 'writes', Promise.all(writing));
          writing = [];
          await this.#settled(
            process,
            'dropRange',
            this.#perhapsFails('dropRange', engine.dropRange(step.from, step.to)).then((done) => {
              if (done) this.#possible.dropped(step);
              else this.#possible.perhapsDropped(step);
            }),
          );
          break;
        case 'flush':
          await this.#settled(process, 'flush', this.#perhapsFails('flush', engine.flush()));
          break;
        case 'compact':
          await this.#settled(process, 'compact', this.#perhapsFails('compact', engine.compact()));
          break;
        case 'settle':
          await this.#settled(process, 'writes', Promise.all(writing));
          writing = [];
          break;
      }
    }
    await this.#settled(process, 'writes', Promise.all(writing));
  }

  /** Writes must succeed again: after a full disk in the same process, after a failed call perhaps after a restart. */
  async #resume(process: EngineProcess): Promise<EngineProcess> {
    for (let attempt = 0; attempt < 30; attempt += 1) {
      // The failure may fall into this very phase.
      this.#makeRoom();
      const value = this.#random.bytes(20);
      try {
        await process.timeline.run(written(process.engine, new WriteBatch().put(PROBE, value)), MOST_EVENTS);
        this.#possible.certain(PROBE, value);
        figures.resumed += 1;
        return process;
      } catch (error) {
        if (!isCoded(error)) {
          this.#fail(`writing after the failure has passed: ${messageOf(error)}`);
          return process;
        }
        if (!isCoterieError(error) || error.outcome !== 'none') this.#possible.perhaps(PROBE, value);
      }
      const pause = new Promise<void>((resolve) => {
        process.timeline.after(1000, resolve);
      });
      await process.timeline.run(pause, MOST_EVENTS);
    }
    if (this.#way !== 'failed') {
      this.#fail('writes do not resume within 30 s of room on the disk');
      return process;
    }
    figures.restarts += 1;
    await this.#settled(process, 'close', process.engine.close());
    return (await this.#open()) ?? process;
  }

  async #read(process: EngineProcess, key: ByteString, when: string): Promise<void> {
    figures.reads += 1;
    try {
      const entry = await process.timeline.run(process.engine.get(key), MOST_EVENTS);
      const wrong = this.#uncertain ? undefined : this.#possible.wrong(key, entry?.value);
      if (wrong !== undefined) this.#fail(`${when}: ${wrong}`);
    } catch (error) {
      this.#fail(`${when}: reading ${JSON.stringify(key)}: ${messageOf(error)}`);
    }
  }

  async #readSome(process: EngineProcess): Promise<void> {
    for (let left = 4; left > 0; left -= 1) await this.#read(process, keyOf(this.#random.below(KEYS)), 'after the failure');
  }

  async #readAll(process: EngineProcess, when: string): Promise<void> {
    for (let index = 0; index < KEYS; index += 1) await this.#read(process, keyOf(index), when);
    await this.#read(process, PROBE, when);
  }

  /** Power loss or a clean end, then everything again. */
  async #again(process: EngineProcess): Promise<void> {
    // What was not synced when a sync failed may be gone from the system's memory too.
    if (this.#way === 'syncs' || this.#way === 'failed') this.#uncertain = this.#interval;
    const end = this.#random.below(3);
    if (end === 0) {
      this.#volume.powerLoss();
      this.#uncertain = this.#interval;
    } else if (end === 1) {
      this.#volume.processDeath(process.mount);
    } else {
      await this.#settled(process, 'close', process.engine.close());
      if (process.mount.openNodes().length > 0) this.#fail('closing left files open');
    }
    let again = await this.#open();
    if (again === undefined && this.#problem === undefined) {
      this.#makeRoom();
      again = await this.#open();
    }
    if (again === undefined) this.#fail(`does not open again: ${this.#refusal}`);
    else await this.#readAll(again, 'after opening again');
  }
}

async function workload(seed: number): Promise<void> {
  const random = new SeededRandom(seed, 3);
  const steps = makeHistory(random.fork(), {
    batches: 2 * batches,
    keys: KEYS,
    valueBytes: 700,
    dropOneIn: 16,
    flushOneIn: 14,
    compactOneIn: 20,
  });
  const middle = steps.findIndex((step) => step.kind === 'batch' && step.number === batches + 1);
  // What was there before, left by a loss of power, so that the opening has work to do.
  const volume = newVolume(random.fork());
  const { engine, timeline } = await openEngine(volume, random.fork(), TINY);
  const content: Content = new Map();
  for (const step of steps.slice(0, middle)) {
    if (step.kind === 'batch') await timeline.run(written(engine, writeBatchOf(step)));
    else if (step.kind === 'drop') await timeline.run(engine.dropRange(step.from, step.to));
    else if (step.kind === 'flush') await timeline.run(engine.flush());
    else if (step.kind === 'compact') await timeline.run(engine.compact());
    applyStep(content, step);
  }
  // And the log has something that is in no table.
  for (let left = 6; left > 0; left -= 1) {
    const key = keyOf(random.below(KEYS));
    const value = random.bytes(40);
    await timeline.run(written(engine, new WriteBatch().put(key, value)));
    content.set(key, value);
  }
  const base = volume.imageAfterPowerLoss(random.fork());
  const rest = steps.slice(middle);

  const counting = new Case(seed, base, content, rest, -1, undefined);
  const problem = await counting.run();
  if (problem !== undefined) {
    failures.push(`--seed ${String(seed)}, nothing failing: ${problem}`);
    return;
  }
  for (let call = 0; call < counting.calls; call += 1) {
    if (onlyCall >= 0 && call !== onlyCall) continue;
    for (const way of WAYS) {
      if (!ways.includes(way) || (rotate && way !== 'failed' && ROTATION[call % 3] !== way)) continue;
      figures.cases += 1;
      const name = `--seed ${String(seed)} --call ${String(call)} --way ${way}`;
      try {
        const found = await new Case(seed, base, content, rest, call, way).run();
        if (found !== undefined) failures.push(`${name}: ${found}`);
      } catch (error) {
        failures.push(`${name}: ${messageOf(error)}`);
      }
      if (failures.length >= MOST_FAILURES) return;
    }
  }
  figures.workloads += 1;
}

for (let seed = options.seed; seed < options.seed + options.count && failures.length < MOST_FAILURES; seed += 1) {
  try {
    await workload(seed);
  } catch (error) {
    failures.push(`--seed ${String(seed)}: ${messageOf(error)}`);
  }
}
report({ proof: 'failing-disk', seed: options.seed, ...figures, errorCodes, cpuSeconds: cpuSeconds(), failures });
