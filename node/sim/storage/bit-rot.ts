/**
 * Proof (d): damage is detected, never served. From a store with every kind of file (log, tables of all four compressions, manifest and
 * whatever else the engine keeps), left by a clean close or by the death of its process, each case damages one place of one file, each kind
 * of file as often as any other: a byte changed (most cases), a few bytes, a sector zeroed, the end cut off; before the store is opened or
 * while it runs. Then everything is read by `get` and by iteration, verified, compacted and read again, written to, closed, and read again
 * after another opening.
 *
 * A log whose end is cut off or zeroed looks like one that a loss of power tore, so there any prefix of the history is right. Otherwise
 * each answer must be the right one or a coded error: never another value, never "absent" for what is there, no crash, no hang. An opening
 * refused with DATA_DAMAGED must name the file. Keys that an iteration leaves out must lie in a range that it reported as damaged.
 *
 *   node sim/storage/bit-rot.ts --seed 1 --count 10000      the full proof
 *   node sim/storage/bit-rot.ts --seed 1 --case 4711        one case, as a failure names it
 *
 * `--sabotage value` changes a byte of one answer in a thousand, `--sabotage absent` answers "absent" in place of errors; the proof must
 * then fail.
 */

import { toByteString } from '../../src/base/bytes.ts';
import type { ByteString } from '../../src/base/bytes.ts';
import { isCoterieError } from '../../src/base/errors.ts';
import type { Engine } from '../../src/storage/engine.ts';
import { WriteBatch } from '../../src/storage/write-batch.ts';
import type { Medium } from '../disk/medium.ts';
import { SECTOR_BYTES } from '../disk/medium.ts';
import { SeededRandom } from '../disk/seeded-random.ts';
import { DIRECTORY, TINY, isCoded, newVolume, openEngine, volumeOf } from './engine-process.ts';
import type { EngineProcess, Tuning } from './engine-process.ts';
import { MARK, applyStep, contentAfter, difference, keyOf, makeHistory, sameBytes, writeBatchOf } from './history.ts';
import type { Content, Step } from './history.ts';
import { cpuSeconds, messageOf, proofArguments, report } from './proof-program.ts';
import { contentOf, written } from './whole-store.ts';

const KEYS = 120;
const MOST_FAILURES = 10;
const MOST_EVENTS = 200_000;

const options = proofArguments({ seed: 1, count: 1000 }, ['case', 'sabotage']);
const onlyCase = options.numberOption('case', -1);
const sabotage = options.option('sabotage');

const failures: string[] = [];
const figures = { cases: 0, opensRefused: 0, rightAnswers: 0, errors: 0, rangesReported: 0, harmless: 0, prefixes: 0 };
const casesByKind: Record<string, number> = {};
const errorCodes: Record<string, number> = {};

interface Base {
  readonly image: Medium;
  readonly steps: readonly Step[];
  readonly content: Content;
  readonly clean: boolean;
}

/** The kind of a file: its name without digits. */
function kindOf(path: string): string {
  return path.slice(DIRECTORY.length + 1).replace(/[0-9]+/g, '#');
}

/** An error that stands for an answer: coded, and counted. */
function accepted(error: unknown): boolean {
  if (!isCoterieError(error) || !isCoded(error)) return false;
  figures.errors += 1;
  errorCodes[error.code] = (errorCodes[error.code] ?? 0) + 1;
  return true;
}

class Examination {
  readonly #random: SeededRandom;
  readonly #base: Base;
  #problem: string | undefined;
  /** The log lost its end, which nothing can tell from a write that the disk had not finished: any prefix is right. */
  #prefix = false;
  #content: Content;
  /** Keys with a write of unknown outcome. */
  readonly #open = new Set<ByteString>();

  constructor(random: SeededRandom, base: Base) {
    this.#random = random;
    this.#base = base;
    this.#content = new Map(base.content);
  }

  async run(): Promise<{ problem: string | undefined; place: string }> {
    const random = this.#random;
    const volume = volumeOf(this.#base.image, random.fork());
    const tuning: Tuning = { ...TINY, cacheBytes: random.pick([0, 8192, 1_000_000]) };
    const live = random.oneIn(4);
    let process: EngineProcess | undefined;
    let place = '';
    if (live) process = await openEngine(volume, random.fork(), tuning);
    place = this.#damage(volume.medium) + (live ? ', while open' : '');
    process ??= await this.#opened(volume, tuning, place);
    if (process === undefined) return { problem: this.#problem, place };
    if (this.#prefix && !live) await this.#findPrefix(process);
    await this.#examine(process, 'first');
    await this.#stir(process);
    await this.#examine(process, 'after compaction and writes');
    await this.#coded(process, 'close', process.engine.close());
    const again = await this.#opened(volume, tuning, place);
    if (again !== undefined) await this.#examine(again, 'after opening again');
    return { problem: this.#problem, place };
  }

  #fail(text: string): void {
    this.#problem ??= text;
  }

  #damage(medium: Medium): string {
    const random = this.#random;
    const files = medium.files().filter(({ path, size }) => path.startsWith(DIRECTORY) && size > 0);
    const kinds = [...new Set(files.map(({ path }) => kindOf(path)))];
    const kind = random.pick(kinds);
    const file = random.pick(files.filter(({ path }) => kindOf(path) === kind));
    casesByKind[kind] = (casesByKind[kind] ?? 0) + 1;
    const offset = random.below(file.size);
    const way = random.below(12);
    const places = way === 2 ? 2 + random.below(6) : 1;
    this.#prefix = kind.endsWith('.log') && (way < 2 || places > 1);
    if (way === 0) {
      const end = Math.min(file.size, offset + SECTOR_BYTES);
      const node = medium.file(file.node);
      for (let at = offset; at < end; at += 1) medium.flip(file.path, at, node.bytes[at] ?? 0);
      return `${file.path} zeroed from ${String(offset)} to ${String(end)}`;
    }
    if (way === 1) {
      medium.apply({ kind: 'truncate', path: file.path, node: file.node, length: offset });
      medium.apply({ kind: 'dataSync', path: file.path, node: file.node });
      return `${file.path} cut at ${String(offset)} of ${String(file.size)}`;
    }
    const mask = random.oneIn(2) ? 1 << random.below(8) : 1 + random.below(255);
    for (let nth = 0; nth < places; nth += 1) medium.flip(file.path, nth === 0 ? offset : random.below(file.size), mask);
    return `${file.path} at ${String(offset)} of ${String(file.size)} changed by ${String(mask)}, ${String(places)} places`;
  }

  async #opened(volume: Parameters<typeof openEngine>[0], tuning: Tuning, place: string): Promise<EngineProcess | undefined> {
    try {
      return await openEngine(volume, this.#random.fork(), tuning);
    } catch (error) {
      figures.opensRefused += 1;
      if (!accepted(error)) this.#fail(`open: ${messageOf(error)}`);
      const file = /[^/ ]+(?= (?:at|cut|zeroed))/.exec(place)?.[0] ?? '';
      // A file that another one names by its damaged length or number may be the one that is named.
      if (isCoterieError(error) && error.code === 'DATA_DAMAGED' && !error.message.includes(DIRECTORY) && !error.message.includes(file)) {
        this.#fail(`the refusal names no file: ${error.message}`);
      }
      return undefined;
    }
  }

  async #coded(process: EngineProcess, what: string, task: Promise<unknown>): Promise<boolean> {
    try {
      await process.timeline.run(task, MOST_EVENTS);
      return true;
    } catch (error) {
      if (!accepted(error)) this.#fail(`${what}: ${messageOf(error)}`);
      return false;
    }
  }

  #wrong(key: ByteString, found: Uint8Array | undefined): string | undefined {
    if (this.#open.has(key)) return undefined;
    if (found !== undefined && sabotage === 'value' && this.#random.oneIn(1000)) found = Uint8Array.of(...found, 1);
    const wanted = this.#content.get(key);
    if (wanted === undefined && found === undefined) return undefined;
    if (wanted !== undefined && found !== undefined && sameBytes(wanted, found)) {
      figures.rightAnswers += 1;
      return undefined;
    }
    const words = (bytes: Uint8Array | undefined): string => (bytes === undefined ? 'nothing' : `${String(bytes.length)} bytes`);
    return `${JSON.stringify(key)} answers ${words(found)}, not ${words(wanted)}${wanted?.length === found?.length ? ' (other bytes)' : ''}`;
  }

  /** Takes the prefix that the store claims to hold as what it must hold. */
  async #findPrefix(process: EngineProcess): Promise<void> {
    const mark = await process.timeline.run(process.engine.get(MARK), MOST_EVENTS);
    const number = mark === undefined ? 0 : Number(toByteString(mark.value));
    const { steps } = this.#base;
    const last = steps.findIndex((step) => step.kind === 'batch' && step.number === number);
    const drops = new Set(steps.slice(0, last + 1).filter((step) => step.kind === 'drop'));
    this.#content = contentAfter(steps, number, drops);
    const found = await process.timeline.run(contentOf(process.engine), MOST_EVENTS);
    const next = steps.slice(last + 1).find((step) => step.kind !== 'settle' && step.kind !== 'flush');
    if (next?.kind === 'drop' && difference(this.#content, found) !== undefined) applyStep(this.#content, next);
    figures.prefixes += 1;
  }

  async #examine(process: EngineProcess, when: string): Promise<void> {
    const { engine, timeline } = process;
    const errorsBefore = figures.errors;
    for (let index = 0; index < KEYS && this.#problem === undefined; index += 1) {
      const key = keyOf(index);
      let found: Uint8Array | undefined;
      try {
        found = (await timeline.run(engine.get(key), MOST_EVENTS))?.value;
      } catch (error) {
        if (!accepted(error)) this.#fail(`${when}: get ${JSON.stringify(key)}: ${messageOf(error)}`);
        if (sabotage !== 'absent') continue;
      }
      const wrong = this.#wrong(key, found);
      if (wrong !== undefined) this.#fail(`${when}: get: ${wrong}`);
    }
    if (this.#problem === undefined) {
      await timeline.run(this.#iterate(engine, when), MOST_EVENTS).catch((error: unknown) => {
        this.#fail(`${when}: iterate: ${messageOf(error)}`);
      });
    }
    if (figures.errors === errorsBefore) figures.harmless += 1;
    await this.#coded(process, `${when}: verify`, engine.verify());
  }

  async #iterate(engine: Engine, when: string): Promise<void> {
    const iterator = engine.iterate({ batchEntries: 16 });
    const seen = new Set<ByteString>();
    const damaged: { from: ByteString; to: ByteString | undefined }[] = [];
    let last = '';
    for (let calls = 0; ; calls += 1) {
      if (calls > 10_000) throw new Error('the iterator does not end');
      try {
        const entries = await iterator.next();
        if (entries.length === 0) break;
        for (const { key, value } of entries) {
          if (key <= last) this.#fail(`${when}: iterate: ${JSON.stringify(key)} after ${JSON.stringify(last)}`);
          last = key;
          seen.add(key);
          const wrong = this.#wrong(key, value);
          if (wrong !== undefined) this.#fail(`${when}: iterate: ${wrong}`);
        }
      } catch (error) {
        if (!accepted(error)) throw error;
        const range = rangeOf(error);
        if (range === undefined) throw new Error('the error of an iterator names no range', { cause: error });
        damaged.push(range);
        figures.rangesReported += 1;
      }
    }
    iterator.close();
    for (const key of this.#content.keys()) {
      if (seen.has(key) || this.#open.has(key)) continue;
      if (damaged.some(({ from, to }) => key >= from && (to === undefined || key < to))) continue;
      this.#fail(`${when}: iterate leaves out ${JSON.stringify(key)} without an error`);
      return;
    }
  }

  /** Flushes, compacts and writes; all may be refused, nothing may launder the damage. */
  async #stir(process: EngineProcess): Promise<void> {
    const { engine } = process;
    const batch = new WriteBatch();
    const keys = Array.from({ length: 5 }, () => keyOf(this.#random.below(KEYS)));
    const value = this.#random.bytes(30);
    for (const key of keys) batch.put(key, value);
    if (await this.#coded(process, 'write', written(engine, batch))) {
      for (const key of keys) this.#content.set(key, value);
    } else {
      for (const key of keys) this.#open.add(key);
    }
    await this.#coded(process, 'flush', engine.flush());
    await this.#coded(process, 'compact', engine.compact());
  }
}

function rangeOf(error: unknown): { from: ByteString; to: ByteString | undefined } | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  if ('from' in error && typeof error.from === 'string') {
    return { from: error.from, to: 'to' in error && typeof error.to === 'string' ? error.to : undefined };
  }
  return 'range' in error ? rangeOf(error.range) : undefined;
}

/** A store with several levels of every compression, and something in the log. */
async function baseOf(seed: number, clean: boolean): Promise<Base> {
  const random = new SeededRandom(seed, clean ? 8 : 9);
  const volume = newVolume(random.fork());
  const steps = makeHistory(random.fork(), { batches: 150, keys: KEYS, valueBytes: 900, dropOneIn: 60, flushOneIn: 12, compactOneIn: 50 });
  const { engine, timeline, mount } = await openEngine(volume, random.fork(), TINY);
  const content: Content = new Map();
  for (const step of steps) {
    if (step.kind === 'batch') await timeline.run(written(engine, writeBatchOf(step)));
    else if (step.kind === 'drop') await timeline.run(engine.dropRange(step.from, step.to));
    else if (step.kind === 'flush') await timeline.run(engine.flush());
    else if (step.kind === 'compact') await timeline.run(engine.compact());
    applyStep(content, step);
  }
  if (clean) {
    await timeline.run(engine.close());
  } else {
    // Long enough for the log to say on disk what it has synced, as it does when writes pause.
    await timeline.run(new Promise<void>((resolve) => void timeline.after(500, resolve)));
    volume.processDeath(mount);
  }
  return { image: volume.image(), steps, content, clean };
}

const bases = [await baseOf(options.seed, true), await baseOf(options.seed, false)];
for (let nth = 0; nth < options.count && failures.length < MOST_FAILURES; nth += 1) {
  if (onlyCase >= 0 && nth !== onlyCase) continue;
  figures.cases += 1;
  const random = new SeededRandom(options.seed, 1000 + nth);
  const base = random.pick(bases);
  const name = `--seed ${String(options.seed)} --case ${String(nth)}`;
  try {
    const { problem, place } = await new Examination(random, base).run();
    if (problem !== undefined) failures.push(`${name} (${place}${base.clean ? ', closed cleanly' : ''}): ${problem}`);
  } catch (error) {
    failures.push(`${name}: ${messageOf(error)}`);
  }
}
report({ proof: 'bit-rot', seed: options.seed, ...figures, casesByKind, errorCodes, cpuSeconds: cpuSeconds(), failures });
