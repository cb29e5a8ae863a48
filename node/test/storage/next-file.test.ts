/** The log's next file, made ahead: no write waits for it, none is lost through it, and none stays behind (wal/next-file.ts). */

import { expect, it } from '@jest/globals';
import type { Operation, Verdict } from '../../sim/disk/operation.ts';
import { SeededRandom } from '../../sim/disk/seeded-random.ts';
import type { SimVolume } from '../../sim/disk/volume.ts';
import type { EngineProcess, Tuning } from '../../sim/storage/engine-process.ts';
import { newVolume, openEngine } from '../../sim/storage/engine-process.ts';
import { WriteBatch } from '../../src/storage/write-batch.ts';

const SMALL: Tuning = { memtableBytes: 100_000, reserveBytes: 0 };
const VALUE = Buffer.alloc(5000, 'x');
const random = new SeededRandom(5);

const start = (volume: SimVolume = newVolume(random.fork())): Promise<EngineProcess> => openEngine(volume, random.fork(), SMALL);

function put({ engine, timeline }: EngineProcess, key: string): Promise<void> {
  return timeline.run(
    new Promise<void>((resolve, reject) => {
      engine.write(new WriteBatch().put(key, VALUE), (error) => {
        if (error === undefined) resolve();
        else reject(error);
      });
    }),
  );
}

/** Writes keys until the engine has sealed `seals` memtables; answers how many. */
async function fill(process: EngineProcess, seals: number): Promise<number> {
  let keys = 0;
  while ((process.engine.stats().counters['seals'] ?? 0) < seals) {
    await put(process, `key-${String(keys).padStart(4, '0')}`);
    keys += 1;
  }
  return keys;
}

const HALF = 12;

/** On into the second half of a memtable, without filling it. */
async function halfFill(process: EngineProcess, name: string): Promise<void> {
  for (let at = 0; at < HALF; at += 1) await put(process, `${name}-${String(at)}`);
}

function pause({ timeline }: EngineProcess, ms: number): Promise<void> {
  return timeline.run(
    new Promise<void>((resolve) => {
      timeline.after(ms, resolve);
    }),
  );
}

async function count({ engine, timeline }: EngineProcess): Promise<number> {
  const iterator = engine.iterate();
  let entries = 0;
  for (;;) {
    const batch = await timeline.run(iterator.next());
    if (batch.length === 0) break;
    entries += batch.length;
  }
  iterator.close();
  return entries;
}

const logsOf = (volume: SimVolume): string[] =>
  volume
    .files()
    .map((file) => file.path)
    .filter((path) => path.includes('.log'));

/** What the volume is asked to do from now on, in a line each; `judge` decides. */
function watch(volume: SimVolume, judge: (line: string) => Verdict = () => 'ok'): string[] {
  const seen: string[] = [];
  volume.judge = (operation: Operation) => {
    const line = `${operation.kind} ${operation.path.split('/').at(-1) ?? ''}`;
    if (operation.changes) seen.push(line);
    return judge(line);
  };
  return seen;
}

it('is there before its segment begins: between the last write of one and the first of the next nothing is made', async () => {
  const process = await start();
  const { volume } = process.mount;
  const seen = watch(volume);
  await fill(process, 1);
  const [made] = seen
    .filter((line) => line.startsWith('create'))
    .map((line) => line.slice('create '.length))
    .slice(1);
  // Its name and its room were on the disk long before.
  expect(made).toMatch(/\.log$/);
  expect(seen.indexOf('syncDir store', seen.indexOf(`create ${String(made)}`))).toBeGreaterThan(0);
  const sealed = seen.length;
  await put(process, 'first');
  const firstWrite = seen.indexOf(`write ${String(made)}`, sealed);
  expect(firstWrite).toBeGreaterThan(0);
  expect(seen.slice(sealed, firstWrite).filter((line) => /^(create|syncDir)/.test(line) && !line.endsWith('.sst'))).toEqual([]);
  await process.timeline.run(process.engine.close());
});

it('holds nothing for a reader, after a loss of power at any time, and is gone after the next start', async () => {
  let waiting = 0;
  for (let seals = 1; seals <= 4; seals += 1) {
    const process = await start();
    const { volume } = process.mount;
    const written = await fill(process, seals);
    await halfFill(process, 'more');
    if (logsOf(volume).length > 1) waiting += 1;
    volume.powerLoss();
    const again = await start(volume);
    expect(await count(again)).toBe(written + HALF);
    await again.timeline.run(again.engine.flush());
    await again.timeline.run(again.engine.close());
    expect(logsOf(volume).length).toBeLessThanOrEqual(1);
  }
  expect(waiting).toBe(4);
});

it('is removed when the store closes', async () => {
  const process = await start();
  const { volume } = process.mount;
  const seen = watch(volume);
  await fill(process, 3);
  await halfFill(process, 'more');
  expect(logsOf(volume).length).toBeGreaterThan(1);
  await process.timeline.run(process.engine.close());
  const made = seen.filter((line) => /^create .*\.log$/.test(line)).length;
  expect(made).toBeGreaterThanOrEqual(4);
  expect(logsOf(volume).length).toBeLessThanOrEqual(1);
  const again = await start(volume);
  await again.timeline.run(again.engine.close());
});

it('is not used after a rewrite, whose number is higher: what the manifest lets go of must never be a segment in use', async () => {
  const process = await start();
  const { volume } = process.mount;
  let holds = true;
  let fails = false;
  watch(volume, (line) => {
    if (holds && /^create .*\.sst$/.test(line)) return 'io';
    if (!fails || !/^dataSync .*\.log$/.test(line)) return 'ok';
    fails = false;
    return 'io';
  });
  const keys = await fill(process, 1);
  await halfFill(process, 'second');
  expect(logsOf(volume)).toHaveLength(3);
  // The segment is rewritten, and then the flush before it says that nothing below the new number is needed.
  fails = true;
  await put(process, 'rewritten');
  expect(process.engine.stats().counters['logRewrites']).toBe(1);
  holds = false;
  while (process.engine.stats().counters['flushes'] === 0) await pause(process, 100);
  const more = await fill(process, 2);
  await put(process, 'third');
  volume.powerLoss();
  const again = await start(volume);
  expect(await count(again)).toBe(Math.max(keys, more) + HALF + 2);
  await again.timeline.run(again.engine.close());
});

it.each(['no-space', 'io'] as const)('that cannot be made (%s) is done without', async (failure) => {
  const process = await start();
  const { volume } = process.mount;
  let made = 0;
  let failed = 0;
  watch(volume, (line) => {
    if (!/^create .*\.log$/.test(line)) return 'ok';
    made += 1;
    // The first is not made ahead, and neither is the one in the stead of what could not be.
    if (made !== 2 && made !== 4) return 'ok';
    failed += 1;
    return failure;
  });
  const written = await fill(process, 5);
  expect(failed).toBe(2);
  expect(made).toBeGreaterThan(5);
  expect(await count(process)).toBe(written);
  await process.timeline.run(process.engine.close());
  volume.powerLoss();
  const again = await start(volume);
  expect(await count(again)).toBe(written);
  await again.timeline.run(again.engine.close());
});
