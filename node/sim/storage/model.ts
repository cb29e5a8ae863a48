/**
 * Proof (a): the engine is a sorted map. Each seed draws options (log policy, sizes from tiny up, compression per level, cache, filters,
 * read budgets) and a few hundred operations (batches of puts, tombstones and removals; tryGet with load, get, multiGet; iterators over
 * ranges, limited or not, with and without snapshots; snapshots held across everything; range drops; flushes; compactions with and without a
 * collection policy; verify; closing and opening again with other options), many of them at once, and compares every answer with a dumb map
 * that knows each key's past.
 *
 *   node sim/storage/model.ts --seed 1 --count 1000        the full proof
 *   node sim/storage/model.ts --seed 17                    one seed, as a failure names it
 *
 * `--sabotage lost-put|stale|order` breaks the engine's answers on the way (a put in fifty is dropped, a get in fifty answers the value
 * before, an iterator in fifty swaps two entries); the proof must then fail, and a test runs it so.
 *
 * What is compared: a `tryGet` that does not answer Pending is exactly the newest state; an asynchronous read answers a state that the key
 * had between call and answer; an iterator answers the state at its creation or at its snapshot's. An entry that a policy may collect is
 * there or not; once it was seen gone it stays gone.
 */

import type { ByteString } from '../../src/base/bytes.ts';
import { isCoterieError } from '../../src/base/errors.ts';
import { Pending } from '../../src/storage/engine.ts';
import type { CollectionPolicy, Engine, IterateOptions, Snapshot } from '../../src/storage/engine.ts';
import type { Entry, KeyedEntry } from '../../src/storage/entry.ts';
import { WriteBatch } from '../../src/storage/write-batch.ts';
import { SeededRandom } from '../disk/seeded-random.ts';
import { newVolume, openEngine } from './engine-process.ts';
import type { EngineProcess, Tuning } from './engine-process.ts';
import { keyOf, valueFrom } from './history.ts';
import { Model, collects, describe, same, wrongInView } from './model-map.ts';
import type { View, Wanted } from './model-map.ts';
import { cpuSeconds, messageOf, proofArguments, report } from './proof-program.ts';

const options = proofArguments({ seed: 1, count: 20 }, ['operations', 'sabotage']);
const operationsPerSeed = options.numberOption('operations', 400);
const sabotage = options.option('sabotage');
const MOST_FAILURES = 20;

const figures: Record<string, number> = {};

function counted(name: string, by = 1): void {
  figures[name] = (figures[name] ?? 0) + by;
}

function tuningFrom(random: SeededRandom): Tuning {
  const compressions = ['none', 'snappy', 'lz4', 'zstd'] as const;
  const level0Compact = 1 + random.below(4);
  return {
    fsync: random.oneIn(2) ? { kind: 'always' } : { kind: 'interval', everyMs: 1 + random.below(50) },
    memtableBytes: random.pick([4096, 4096, 16_384, 1_048_576]),
    sealedMemtables: 1 + random.below(3),
    cacheBytes: random.pick([0, 1000, 20_000, 10_000_000]),
    openFiles: random.pick([8, 8, 100]),
    compression: Array.from({ length: 1 + random.below(5) }, () => random.pick(compressions)),
    blockBytes: random.pick([128, 512, 4096]),
    restartInterval: random.pick([1, 2, 16]),
    bloomBitsPerKey: random.pick([0, 1, 10]),
    tableBytes: random.pick([4096, 4096, 65_536]),
    levelBaseBytes: random.pick([4096, 16_384, 1_000_000]),
    levelRatio: 2 + random.below(9),
    compactionParts: 1 + random.below(4),
    level0Compact,
    level0Slow: level0Compact + random.below(4),
    level0Stop: level0Compact + 4 + random.below(4),
    stalledBytes: 1_000_000_000,
    coldReads: 1 + random.below(4),
    turnReads: random.pick([0, 1, 8, 100]),
    turnReadMs: random.pick([0, 0.2, 100]),
    turnWriteMs: random.pick([0, 1]),
    reserveBytes: 0,
  };
}

interface Held {
  readonly snapshot: Snapshot;
  readonly view: View;
  closed: boolean;
}

/** A snapshot closed while it is read from is refused as such. */
function closedUnder(held: Held, error: unknown): undefined {
  if (!held.closed || !isCoterieError(error) || error.code !== 'CLOSED') throw error;
  return undefined;
}

function close(held: Held): void {
  held.closed = true;
  held.snapshot.close();
}

class Run {
  readonly #random: SeededRandom;
  readonly #model = new Model();
  readonly #universe: number;
  readonly #tasks = new Set<Promise<void>>();
  readonly #snapshots: Held[] = [];
  /** Ranges being dropped now: nothing is written there, and nothing is certain. */
  readonly #dropping = new Set<{ readonly from: ByteString; readonly to: ByteString | undefined }>();
  /** Policies of the compactions now under way. */
  readonly #collecting = new Set<CollectionPolicy>();
  #closing = false;
  #process: EngineProcess;
  #failure: string | undefined;

  constructor(random: SeededRandom, process: EngineProcess) {
    this.#random = random;
    this.#process = process;
    this.#universe = random.pick([20, 150, 600]);
  }

  get #engine(): Engine {
    return this.#process.engine;
  }

  async run(operations: number): Promise<string | undefined> {
    const random = this.#random;
    for (let left = operations; left > 0 && this.#failure === undefined; left -= 1) {
      this.#operate();
      if (random.oneIn(3)) await this.#process.timeline.step();
      if (random.oneIn(12) || this.#tasks.size > 12) await this.#settle();
      if (random.oneIn(90)) await this.#reopen();
    }
    await this.#settle();
    if (this.#failure === undefined) await this.#finish();
    return this.#failure;
  }

  #fail(text: string): void {
    this.#failure ??= text;
  }

  #start(name: string, task: () => Promise<void>): void {
    counted(name);
    const running: Promise<void> = task()
      .catch((error: unknown) => {
        // Closing finishes writes; anything else it may cut off.
        if (this.#closing && name !== 'writes' && isCoterieError(error) && error.code === 'CLOSED') counted('cutByClosing');
        else this.#fail(`${name}: ${messageOf(error)}`);
      })
      .finally(() => {
        this.#tasks.delete(running);
      });
    this.#tasks.add(running);
  }

  async #settle(): Promise<void> {
    while (this.#tasks.size > 0) await this.#process.timeline.run(Promise.all(this.#tasks));
  }

  #key(): ByteString {
    return keyOf(this.#random.below(this.#universe));
  }

  /** A range, seldom empty; without an end once in eight. */
  #range(): { from: ByteString; to: ByteString | undefined } {
    const [a, b] = [this.#key(), this.#key()];
    if (this.#random.oneIn(8)) return { from: a, to: undefined };
    return a < b ? { from: a, to: b } : { from: b, to: a };
  }

  #uncertain(key: ByteString): boolean {
    for (const { from, to } of this.#dropping) if (key >= from && (to === undefined || key < to)) return true;
    return false;
  }

  #operate(): void {
    const random = this.#random;
    const choice = random.below(100);
    if (choice < 38) this.#write();
    else if (choice < 52) this.#tryGet();
    else if (choice < 60) this.#get();
    else if (choice < 66) this.#multiGet();
    else if (choice < 78) this.#iterate();
    else if (choice < 83) this.#takeSnapshot();
    else if (choice < 87) this.#closeSnapshot();
    else if (choice < 90) this.#dropRange();
    else if (choice < 94) this.#start('flushes', () => this.#engine.flush());
    else if (choice < 98) this.#compact();
    else this.#start('verifies', () => this.#verify());
  }

  #write(): void {
    const random = this.#random;
    const batch = new WriteBatch();
    const values: Uint8Array[] = [];
    const last = new Map<ByteString, Wanted | undefined>();
    for (let left = 1 + random.below(random.oneIn(5) ? 40 : 5); left > 0; left -= 1) {
      const key = this.#key();
      if (this.#uncertain(key)) continue;
      if (random.oneIn(6)) {
        batch.delete(key, random.below(20));
        last.set(key, undefined);
        continue;
      }
      const value = valueFrom(random, random.oneIn(40) ? 9000 : 600);
      const tombstone = random.oneIn(5);
      const expireAtMs = random.oneIn(5) ? this.#process.timeline.wallMs() + random.below(400) - 200 : 0;
      const gcTag = random.below(20);
      values.push(value);
      const entry: Entry = { kind: tombstone ? 'tombstone' : 'value', value: value.slice(), expireAtMs, gcTag };
      // A compaction under way may take in what is written meanwhile.
      const optional = [...this.#collecting].some((policy) => collects(policy, key, entry));
      last.set(key, { ...entry, optional });
      if (sabotage === 'lost-put' && random.oneIn(50)) continue;
      batch.put(key, value, { tombstone, expireAtMs, gcTag });
    }
    if (batch.length === 0) return;
    this.#start('writes', () => {
      const done = new Promise<void>((resolve, reject) => {
        this.#engine.write(batch, (error) => {
          if (error === undefined) resolve();
          else reject(error);
        });
      });
      // The batch was lent until now, and takes effect now.
      for (const value of values) value.fill(0xee);
      batch.clear();
      for (const [key, entry] of last) this.#model.set(key, entry);
      for (const [key, entry] of last) {
        const found = this.#engine.tryGet(key);
        if (entry?.optional === true && found === undefined) continue;
        if (found instanceof Pending) this.#fail(`${JSON.stringify(key)} is pending in the turn of its write`);
        else if (!same(found, entry)) {
          this.#fail(`${JSON.stringify(key)} answers ${describe(found)} in the turn of its write, not ${describe(entry)}`);
        }
      }
      return done;
    });
  }

  #tryGet(): void {
    const key = this.#key();
    this.#start('tryGets', async () => {
      for (;;) {
        let found = this.#engine.tryGet(key);
        if (!(found instanceof Pending)) {
          if (sabotage === 'stale' && this.#random.oneIn(50)) found = this.#model.before(key);
          const wrong = this.#uncertain(key) ? undefined : this.#model.wrong(key, found, this.#model.tick);
          if (wrong !== undefined) this.#fail(`tryGet: ${wrong}`);
          return;
        }
        counted('loads');
        await this.#engine.load(found);
      }
    });
  }

  #get(): void {
    const key = this.#key();
    const held = this.#heldSnapshot();
    if (held !== undefined) {
      this.#start('snapshotGets', async () => {
        const found = await this.#engine.get(key, held.snapshot).catch((error: unknown) => closedUnder(held, error));
        const wrong = held.closed ? undefined : wrongInView(held.view, key, found);
        if (wrong !== undefined) this.#fail(`get in a snapshot: ${wrong}`);
      });
      return;
    }
    const since = this.#model.tick;
    const uncertain = this.#uncertain(key);
    this.#start('gets', async () => {
      const found = await this.#engine.get(key);
      const wrong = uncertain ? undefined : this.#model.wrong(key, found, since);
      if (wrong !== undefined && !this.#uncertain(key)) this.#fail(`get: ${wrong}`);
    });
  }

  #multiGet(): void {
    const keys = Array.from({ length: 1 + this.#random.below(20) }, () => this.#key());
    const held = this.#heldSnapshot();
    if (held !== undefined) {
      this.#start('snapshotMultiGets', async () => {
        const found = await this.#engine.multiGet(keys, held.snapshot).catch((error: unknown) => closedUnder(held, error));
        for (const [at, key] of keys.entries()) {
          const wrong = held.closed ? undefined : wrongInView(held.view, key, found?.[at]);
          if (wrong !== undefined) this.#fail(`multiGet in a snapshot: ${wrong}`);
        }
      });
      return;
    }
    const since = this.#model.tick;
    const uncertain = keys.map((key) => this.#uncertain(key));
    this.#start('multiGets', async () => {
      const found = await this.#engine.multiGet(keys);
      if (found.length !== keys.length) this.#fail(`multiGet answers ${String(found.length)} for ${String(keys.length)} keys`);
      for (const [at, key] of keys.entries()) {
        if (uncertain[at] === true || this.#uncertain(key)) continue;
        const wrong = this.#model.wrong(key, found[at], since);
        if (wrong !== undefined) this.#fail(`multiGet: ${wrong}`);
      }
    });
  }

  /** A snapshot to read from, in one case of three. */
  #heldSnapshot(): Held | undefined {
    const random = this.#random;
    return random.oneIn(3) ? this.#snapshots[random.below(this.#snapshots.length)] : undefined;
  }

  #takeSnapshot(): void {
    if (this.#dropping.size > 0 || this.#snapshots.length >= 4) return;
    counted('snapshots');
    this.#snapshots.push({ snapshot: this.#engine.snapshot(), view: this.#model.view(), closed: false });
  }

  #closeSnapshot(): void {
    const at = this.#random.below(this.#snapshots.length);
    for (const held of this.#snapshots.splice(at, 1)) close(held);
  }

  #iterate(): void {
    const random = this.#random;
    const held = random.oneIn(2) ? undefined : this.#snapshots[random.below(this.#snapshots.length)];
    if (held === undefined && this.#dropping.size > 0) return;
    const range = random.oneIn(4) ? { from: undefined, to: undefined } : this.#range();
    const limit = random.oneIn(4) ? random.below(30) + 1 : undefined;
    const whole: IterateOptions = {
      ...(range.from === undefined ? {} : { from: range.from }),
      ...(range.to === undefined ? {} : { to: range.to }),
      ...(held === undefined ? {} : { snapshot: held.snapshot }),
      ...(limit === undefined ? {} : { limit }),
      ...(random.oneIn(2) ? { batchEntries: 1 + random.below(30) } : {}),
      ...(random.oneIn(2) ? { batchBytes: 1 + random.below(3000) } : {}),
    };
    const stopsEarly = random.oneIn(6);
    const view = held?.view ?? this.#model.view();
    const iterator = this.#engine.iterate(whole);
    this.#start(held === undefined ? 'iterations' : 'snapshotIterations', async () => {
      const found: KeyedEntry[] = [];
      for (;;) {
        const entries = await iterator.next();
        for (const entry of entries) found.push({ ...entry, value: new Uint8Array(entry.value) });
        if (whole.batchEntries !== undefined && entries.length > whole.batchEntries) this.#fail('an iterator exceeds batchEntries');
        if (entries.length === 0) break;
        if (stopsEarly && found.length > 5) break;
      }
      iterator.close();
      if (sabotage === 'order' && found.length > 3 && random.oneIn(50)) found.push(...found.splice(0, 1));
      const complete = !(stopsEarly && found.length > 5);
      const wrong = this.#wrongIteration(view, whole, found, complete);
      if (wrong !== undefined) this.#fail(`iterate${held === undefined ? '' : ' a snapshot'}: ${wrong}`);
    });
  }

  /** Compares with the view in step; an entry that may have been collected may be skipped. */
  #wrongIteration(view: View, whole: IterateOptions, found: readonly KeyedEntry[], complete: boolean): string | undefined {
    const { from, to, limit } = whole;
    const wanted = [...view].filter(([key]) => (from === undefined || key >= from) && (to === undefined || key < to));
    let at = 0;
    for (const entry of found) {
      while (wanted[at]?.[0] !== entry.key && wanted[at]?.[1].optional === true) at += 1;
      while (wanted[at]?.[0] !== entry.key && wanted[at]?.[1].entry.optional === true && whole.snapshot === undefined) at += 1;
      const next = wanted[at];
      if (next === undefined || next[0] !== entry.key) {
        return `answers ${JSON.stringify(entry.key)} where ${JSON.stringify(next?.[0] ?? 'the end')} comes next`;
      }
      if (!same(entry, next[1].entry)) return `${JSON.stringify(entry.key)}: ${describe(entry)}, not ${describe(next[1].entry)}`;
      at += 1;
    }
    if (limit !== undefined && found.length > limit) return `answers ${String(found.length)} entries, limit ${String(limit)}`;
    if (!complete || (limit !== undefined && found.length === limit)) return undefined;
    const missing = wanted.slice(at).find(([, { entry, optional }]) => !optional && !(entry.optional && whole.snapshot === undefined));
    return missing === undefined ? undefined : `ends before ${JSON.stringify(missing[0])}`;
  }

  #dropRange(): void {
    const random = this.#random;
    const range = random.oneIn(6) ? { from: '', to: undefined } : this.#range();
    // Writes in flight to the range, and drops of it, would leave the order open; reads and iterators may go on.
    if (this.#dropping.size > 0) return;
    this.#dropping.add(range);
    this.#start('drops', async () => {
      await this.#engine.dropRange(range.from, range.to);
      this.#dropping.delete(range);
      for (const key of this.#model.keys()) {
        if (key >= range.from && (range.to === undefined || key < range.to)) this.#model.set(key, undefined);
      }
    });
  }

  #compact(): void {
    const random = this.#random;
    if (random.oneIn(3)) {
      this.#start('compactions', () => this.#engine.compact());
      return;
    }
    const { from, to } = this.#range();
    const expiredByMs = random.oneIn(2) ? 0 : this.#process.timeline.wallMs();
    const range = { from, ...(to === undefined ? {} : { to }), gcTag: random.below(20), expiredByMs };
    const policy: CollectionPolicy = { collectable: random.oneIn(3) ? [] : [range] };
    this.#model.collectable(policy);
    this.#collecting.add(policy);
    this.#start('collections', async () => {
      await this.#engine.compact(policy);
      this.#collecting.delete(policy);
    });
  }

  async #verify(): Promise<void> {
    const { damaged } = await this.#engine.verify();
    if (damaged.length > 0) this.#fail(`verify finds damage in ${damaged[0]?.file ?? ''}`);
  }

  async #reopen(): Promise<void> {
    const random = this.#random;
    counted('reopenings');
    for (const held of this.#snapshots.splice(0)) close(held);
    // Half the time with writes and reads still in flight, but no drop, whose outcome would be open.
    if (this.#dropping.size > 0 || random.oneIn(2)) await this.#settle();
    const { timeline, engine, mount } = this.#process;
    for (const [name, value] of Object.entries(engine.stats().counters)) counted(`engine.${name}`, value);
    this.#closing = true;
    await timeline.run(engine.close());
    await this.#settle();
    this.#closing = false;
    this.#collecting.clear();
    if (mount.openNodes().length > 0) this.#fail('closing left files open');
    if (this.#failure !== undefined) return;
    this.#process = await openEngine(mount.volume, random.fork(), tuningFrom(random), timeline.wallMs());
  }

  /** At the end every key is right, after a last opening too, and a drop of everything frees the disk. */
  async #finish(): Promise<void> {
    for (const held of this.#snapshots.splice(0)) close(held);
    for (let round = 0; round < 2; round += 1) {
      for (let index = 0; index < this.#universe; index += 1) {
        const key = keyOf(index);
        const found = await this.#process.timeline.run(this.#engine.get(key));
        const wrong = this.#model.wrong(key, found, this.#model.tick);
        if (wrong !== undefined) this.#fail(`at the end: ${wrong}`);
      }
      this.#iterate();
      await this.#settle();
      if (round === 0) await this.#reopen();
      if (this.#failure !== undefined) return;
    }
    const { timeline, mount } = this.#process;
    await timeline.run(this.#engine.dropRange('', undefined));
    await timeline.run(this.#engine.compact());
    await timeline.run(this.#engine.close());
    const left = mount.volume.medium.usedBytes();
    if (left > 32_768) this.#fail(`${String(left)} bytes are left after everything was dropped`);
  }
}

const failures: string[] = [];
for (let seed = options.seed; seed < options.seed + options.count && failures.length < MOST_FAILURES; seed += 1) {
  const random = new SeededRandom(seed, 1);
  try {
    const process = await openEngine(newVolume(random.fork()), random.fork(), tuningFrom(random));
    const failure = await new Run(random, process).run(operationsPerSeed);
    if (failure !== undefined) failures.push(`--seed ${String(seed)}: ${failure}`);
  } catch (error) {
    failures.push(`--seed ${String(seed)}: ${messageOf(error)}`);
  }
}
report({ proof: 'model', seed: options.seed, seeds: options.count, figures, cpuSeconds: cpuSeconds(), failures });
