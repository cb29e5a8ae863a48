/**
 * Proof (b): power may fail at any instant. A seeded workload with flushes, compactions and range drops runs once on the simulated disk; at
 * EVERY operation that changes the disk (create, mkdir, write, truncate, dataSync, rename, unlink, syncDir) it takes, for several seeds, the
 * image that a loss of power within that operation could leave: torn writes, lost unsynced data, lost directory entries; and one image of
 * what the death of the process alone leaves, with nothing lost and nothing more synced. Each image is opened, and must hold exactly what
 * some prefix of the batches makes, no shorter than what was acknowledged as durable. A share of the openings is cut again, by a loss of
 * power, at each of their own operations ("crash during recovery"), and a share goes on: one more write, another loss of power, and the
 * store must hold what it showed plus that write.
 *
 *   node sim/storage/crash.ts --seed 1 --count 20 --images 6        the full proof: 20 workloads, 6 images a cut
 *   node sim/storage/crash.ts --seed 4 --cut 317                    one cut of workload 4, as a failure names it
 *
 * `--batches N` sets the length of a workload. `--sabotage dataSync|syncDir|rename` makes the disk lie: it reports these operations as done
 * without doing them; the proof must then fail, and a test runs it so.
 */

import type { Engine } from '../../src/storage/engine.ts';
import { fromByteString, toByteString } from '../../src/base/bytes.ts';
import { WriteBatch } from '../../src/storage/write-batch.ts';
import type { Medium } from '../disk/medium.ts';
import type { Operation, Verdict } from '../disk/operation.ts';
import { SeededRandom } from '../disk/seeded-random.ts';
import type { SimVolume } from '../disk/volume.ts';
import { TINY, newVolume, openEngine, volumeOf } from './engine-process.ts';
import type { EngineProcess, Tuning } from './engine-process.ts';
import { MARK, contentAfter, difference, keyOf, makeHistory, writeBatchOf } from './history.ts';
import type { Content, Drop, Step } from './history.ts';
import { cpuSeconds, messageOf, proofArguments, report } from './proof-program.ts';
import { contentByKey, contentOf, written } from './whole-store.ts';

const KEYS = 80;
const MOST_FAILURES = 10;

const options = proofArguments({ seed: 1, count: 1 }, ['images', 'batches', 'cut', 'sabotage']);
const imagesPerCut = options.numberOption('images', 3);
const batches = options.numberOption('batches', 110);
const onlyCut = options.numberOption('cut', -1);
const sabotage = options.option('sabotage');

const failures: string[] = [];
const figures = { workloads: 0, cuts: 0, images: 0, recoveryImages: 0, secondLosses: 0, flushed: 0, compacted: 0 };
const cutsByKind: Record<string, number> = {};

/** What is certain when an image is taken. */
interface Known {
  /** The last batch known durable, and the last one issued. */
  readonly durable: number;
  readonly issued: number;
  readonly drops: ReadonlySet<Drop>;
  readonly pendingDrop: Drop | undefined;
}

interface Cut {
  readonly image: Medium;
  readonly known: Known;
  /** What is certain if the power fails while this image is being opened. */
  readonly knownThen: Known;
  readonly label: string;
  readonly seed: number;
}

function judgement(operation: Operation): Verdict {
  return operation.kind === sabotage ? 'ignored' : 'ok';
}

function fail(text: string): void {
  if (failures.length < MOST_FAILURES) failures.push(text);
}

function numberIn(content: Content): number {
  const mark = content.get(MARK);
  return mark === undefined ? 0 : Number(toByteString(mark));
}

/** The prefix that the store holds; a description of the violation where it holds none that it may. */
function prefixHeld(steps: readonly Step[], content: Content, known: Known): number | string {
  const number = numberIn(content);
  if (!(number >= known.durable)) return `lost acknowledged batches: holds ${String(number)}, ${String(known.durable)} was durable`;
  if (number > known.issued) return `holds batch ${String(number)}, only ${String(known.issued)} was issued`;
  const without = difference(contentAfter(steps, number, known.drops), content);
  if (without === undefined) return number;
  if (known.pendingDrop !== undefined) {
    const drops = new Set([...known.drops, known.pendingDrop]);
    if (difference(contentAfter(steps, number, drops), content) === undefined) return number;
  }
  return `is no prefix at batch ${String(number)}: ${without}`;
}

async function readAll(process: EngineProcess): Promise<Content> {
  const { engine, timeline } = process;
  const content = await timeline.run(contentOf(engine));
  const keys = [MARK, ...Array.from({ length: KEYS }, (_, index) => keyOf(index))];
  const byKey = await timeline.run(contentByKey(engine, keys));
  const apart = difference(content, byKey);
  if (apart !== undefined) throw new Error(`get and iterate disagree: ${apart}`);
  return content;
}

/** Opens the image and checks it; `depth` says how many crashes may still follow within the opening. */
async function verify(steps: readonly Step[], cut: Cut, tuning: Tuning, depth: number): Promise<void> {
  const random = new SeededRandom(cut.seed, 77);
  const volume = volumeOf(cut.image, random.fork());
  const inner: Cut[] = [];
  const goesOn = random.oneIn(4);
  if (depth > 0 && random.oneIn(cut.known === cut.knownThen ? 10 : 4)) {
    volume.judge = (operation) => {
      if (operation.changes) {
        figures.recoveryImages += 1;
        const image = volume.imageAfterPowerLoss(random, volume.current);
        const label = `${cut.label}, then recovery at ${String(operation.index)} ${operation.kind}`;
        inner.push({ image, known: cut.knownThen, knownThen: cut.knownThen, label, seed: random.u32() });
      }
      return judgement(operation);
    };
  } else {
    volume.judge = judgement;
  }
  let process: EngineProcess;
  try {
    process = await openEngine(volume, random.fork(), tuning);
  } catch (error) {
    fail(`${cut.label}: does not open: ${messageOf(error)}`);
    return;
  }
  let held: number | string;
  try {
    held = prefixHeld(steps, await readAll(process), cut.known);
  } catch (error) {
    fail(`${cut.label}: cannot be read: ${messageOf(error)}`);
    return;
  }
  if (typeof held === 'string') {
    fail(`${cut.label}: ${held}`);
    return;
  }
  volume.judge = judgement;
  if (goesOn) await goOn(cut, tuning, process, volume, random, held);
  for (const each of inner) await verify(steps, each, tuning, depth - 1);
}

/** One more write and another loss of power: what the store showed must still be there, with the write. */
async function goOn(
  cut: Cut,
  tuning: Tuning,
  process: EngineProcess,
  volume: SimVolume,
  random: SeededRandom,
  held: number,
): Promise<void> {
  figures.secondLosses += 1;
  const { engine, timeline } = process;
  const before = await timeline.run(contentOf(engine));
  const fresh = fromByteString(`after ${String(held)}`);
  try {
    await timeline.run(written(engine, new WriteBatch().put('after', fresh)));
    // Interval policy: durable only once flushed.
    if (tuning.fsync?.kind === 'interval') await timeline.run(engine.flush());
    else for (let left = random.below(20); left > 0; left -= 1) await timeline.step();
    volume.powerLoss();
    const again = await openEngine(volume, random.fork(), tuning);
    const content = await again.timeline.run(contentOf(again.engine));
    before.set('after', fresh);
    const apart = difference(before, content);
    if (apart !== undefined) fail(`${cut.label}, opened, written, power lost again: ${apart}`);
    await again.timeline.run(again.engine.close());
  } catch (error) {
    fail(`${cut.label}, opened, written, power lost again: ${messageOf(error)}`);
  }
}

async function workload(seed: number): Promise<void> {
  const random = new SeededRandom(seed);
  const volume = newVolume(random.fork());
  const steps = makeHistory(random.fork(), {
    batches,
    keys: KEYS,
    valueBytes: 900,
    dropOneIn: 14,
    flushOneIn: 25,
    compactOneIn: 40,
  });
  const interval = random.oneIn(4);
  // In half of the seeds threads write the log: their writes can be in flight at a cut.
  const turnWriteMs = random.oneIn(2) ? 0 : 1;
  const tuning: Tuning = {
    ...TINY,
    turnWriteMs,
    stalledBytes: 1_000_000,
    ...(interval ? { fsync: { kind: 'interval', everyMs: 20 } } : {}),
  };
  const cuts: Cut[] = [];
  const drops = new Set<Drop>();
  let durable = 0;
  let acknowledged = 0;
  let issued = 0;
  let pendingDrop: Drop | undefined;

  volume.judge = (operation) => {
    if (operation.changes && (onlyCut < 0 || operation.index === onlyCut)) {
      cutsByKind[operation.kind] = (cutsByKind[operation.kind] ?? 0) + 1;
      figures.cuts += 1;
      const known: Known = { durable, issued, drops: new Set(drops), pendingDrop };
      // One more image: the process alone dies, and the power may fail while the next one recovers. What was acknowledged survives the first
      // with either policy.
      for (let variant = 0; variant <= imagesPerCut; variant += 1) {
        const imageSeed = (seed * 1_000_003 + operation.index * 101 + variant) >>> 0;
        const name = `--seed ${String(seed)} --cut ${String(operation.index)} (${operation.kind} ${operation.path}`;
        const imageRandom = new SeededRandom(imageSeed);
        if (variant < imagesPerCut) {
          const image = volume.imageAfterPowerLoss(imageRandom, volume.current);
          cuts.push({ image, known, knownThen: known, label: `${name}, image ${String(variant)})`, seed: imageSeed });
        } else {
          const image = volume.imageAfterProcessDeath(imageRandom, volume.current);
          cuts.push({
            image,
            known: { ...known, durable: acknowledged },
            knownThen: known,
            label: `${name}, process death)`,
            seed: imageSeed,
          });
        }
      }
    }
    return judgement(operation);
  };
  const check = async (): Promise<void> => {
    for (const cut of cuts.splice(0)) {
      figures.images += 1;
      if (failures.length < MOST_FAILURES) await verify(steps, cut, tuning, 1);
    }
  };

  const first = openEngine(volume, random.fork(), tuning);
  const { engine, timeline } = await first;
  await check();
  /** Runs the workload's events, looking at the cuts of each before the next. */
  const until = async (promise: Promise<unknown>): Promise<void> => {
    let settled = false;
    promise.then(
      () => {
        settled = true;
      },
      () => {
        settled = true;
      },
    );
    await timeline.run(Promise.resolve());
    while (!settled) {
      if (!(await timeline.step())) break;
      await check();
    }
    await timeline.run(promise);
  };

  const writing: Promise<void>[] = [];
  for (const step of steps) {
    switch (step.kind) {
      case 'batch':
        issued = step.number;
        writing.push(
          written(engine, writeBatchOf(step)).then(() => {
            acknowledged = Math.max(acknowledged, step.number);
            if (!interval) durable = acknowledged;
          }),
        );
        break;
      case 'drop':
        pendingDrop = step;
        await until(engine.dropRange(step.from, step.to));
        drops.add(step);
        pendingDrop = undefined;
        break;
      case 'flush':
      case 'compact': {
        const upTo = issued;
        await until(step.kind === 'flush' ? engine.flush() : engine.compact());
        if (step.kind === 'flush') durable = Math.max(durable, upTo);
        break;
      }
      case 'settle':
        await until(Promise.all(writing.splice(0)));
        break;
    }
  }
  const live = await readAll({ engine, timeline, mount: (await first).mount });
  const apart = difference(contentAfter(steps, issued, drops), live);
  if (apart !== undefined) fail(`--seed ${String(seed)}: the running store is wrong at the end: ${apart}`);
  count(engine);
  await until(engine.close());
  await check();
  const closed = volume.imageAfterPowerLoss(random.fork());
  if (onlyCut < 0) {
    const known: Known = { durable: interval ? durable : issued, issued, drops, pendingDrop: undefined };
    await verify(steps, { image: closed, known, knownThen: known, label: `--seed ${String(seed)} (closed)`, seed }, tuning, 1);
  }
  figures.workloads += 1;
}

function count(engine: Engine): void {
  const { counters } = engine.stats();
  figures.flushed += counters['flushes'] ?? 0;
  figures.compacted += counters['compactions'] ?? 0;
}

for (let seed = options.seed; seed < options.seed + options.count && failures.length < MOST_FAILURES; seed += 1) {
  try {
    await workload(seed);
  } catch (error) {
    fail(`--seed ${String(seed)}: the workload itself failed: ${messageOf(error)}`);
  }
}
report({ proof: 'crash', seed: options.seed, ...figures, cutsByKind, cpuSeconds: cpuSeconds(), failures });
