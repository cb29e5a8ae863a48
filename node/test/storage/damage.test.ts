/** Damaged tables: answered with an error that names file and offset, never with something else; the rest stays readable; compaction keeps it. */

import { describe, expect, it } from '@jest/globals';
import { SeededRandom } from '../../sim/disk/seeded-random.ts';
import { newVolume, openEngine } from '../../sim/storage/engine-process.ts';
import type { EngineProcess, Tuning } from '../../sim/storage/engine-process.ts';
import type { DamagedRange } from '../../src/storage/damage.ts';
import type { KeyedEntry } from '../../src/storage/entry.ts';
import { WriteBatch } from '../../src/storage/write-batch.ts';

const random = new SeededRandom(3);
const KEYS = 200;
const TUNING: Tuning = {
  blockBytes: 512,
  tableBytes: 1_000_000,
  memtableBytes: 1_000_000,
  level0Compact: 100,
  reserveBytes: 0,
  compression: ['none'],
};

const keyOf = (i: number): string => `key ${String(i).padStart(5, '0')}`;

async function write({ engine, timeline }: EngineProcess, batch: WriteBatch): Promise<void> {
  await timeline.run(
    new Promise<void>((resolve, reject) => {
      engine.write(batch, (error) => {
        if (error === undefined) resolve();
        else reject(error);
      });
    }),
  );
}

function everything(word: string): WriteBatch {
  const batch = new WriteBatch();
  for (let i = 0; i < KEYS; i += 1) batch.put(keyOf(i), Buffer.from(`${word} ${String(i)} `.padEnd(60, '.')));
  return batch;
}

/**
 * A store opened anew, with one byte changed in the table that holds `needle` ('' for the footer of the only table). With `older` all keys
 * have an older value in a table below.
 */
async function damagedStore(needle: string, older = false): Promise<EngineProcess> {
  const process = await openEngine(newVolume(random.fork()), random.fork(), TUNING);
  if (older) {
    await write(process, everything('older'));
    await process.timeline.run(process.engine.compact());
  }
  await write(process, everything('value'));
  await process.timeline.run(older ? process.engine.flush() : process.engine.compact());
  await process.timeline.run(process.engine.close());
  const { volume } = process.mount;
  for (const { path } of volume.files().filter((file) => file.path.endsWith('.sst'))) {
    const node = volume.medium.file(volume.medium.find(path) ?? -1);
    const bytes = Buffer.from(node.bytes.subarray(0, node.size));
    const at = needle === '' ? bytes.length - 30 : bytes.indexOf(needle);
    if (at >= 0) volume.flip(path, at, 1);
  }
  return openEngine(volume, random.fork(), TUNING);
}

interface Answers {
  readonly right: number[];
  readonly damaged: number[];
}

async function readAll({ engine, timeline }: EngineProcess, but: readonly number[] = []): Promise<Answers> {
  const answers: Answers = { right: [], damaged: [] };
  for (let i = 0; i < KEYS; i += 1) {
    if (but.includes(i)) continue;
    try {
      const text = await timeline.run(engine.get(keyOf(i)).then((entry) => Buffer.from(entry?.value ?? '').toString()));
      expect(text.startsWith(`value ${String(i)} `)).toBe(true);
      answers.right.push(i);
    } catch (error) {
      expect(error).toMatchObject({ code: 'DATA_DAMAGED', message: expect.stringMatching(/^\d+\.sst is damaged at offset \d+/) });
      answers.damaged.push(i);
    }
  }
  return answers;
}

/** Everything an iterator answers, and the ranges it reports. */
async function scan({ engine, timeline }: EngineProcess): Promise<{ keys: string[]; ranges: DamagedRange[] }> {
  const iterator = engine.iterate();
  const keys: string[] = [];
  const ranges: DamagedRange[] = [];
  for (;;) {
    try {
      const batch: readonly KeyedEntry[] = await timeline.run(iterator.next());
      if (batch.length === 0) break;
      keys.push(...batch.map((entry) => entry.key));
    } catch (error) {
      ranges.push((error as { range: DamagedRange }).range);
    }
  }
  iterator.close();
  return { keys, ranges };
}

const inside = (ranges: readonly DamagedRange[], key: string): boolean =>
  ranges.some(({ from, to }) => key >= from && (to === undefined || key < to));

describe('a damaged block', () => {
  it('is an error for its keys; all others are answered; iterators report it once and go on', async () => {
    const process = await damagedStore('value 100 ');
    const { right, damaged } = await readAll(process);
    expect(damaged).toContain(100);
    expect(damaged.length).toBeLessThan(12);
    expect(right.length + damaged.length).toBe(KEYS);
    const { quarantined } = process.engine.stats();
    expect(quarantined.length).toBe(1);
    expect(damaged.every((i) => inside(quarantined, keyOf(i)))).toBe(true);
    expect(right.some((i) => inside(quarantined, keyOf(i)))).toBe(false);
    const { keys, ranges } = await scan(process);
    expect(ranges).toEqual(quarantined);
    expect(keys).toEqual(right.map(keyOf));
    const report = await process.timeline.run(process.engine.verify());
    expect(report.damaged).toEqual(quarantined);
  });

  it('is met by an iterator before any get, too', async () => {
    const process = await damagedStore('value 100 ');
    const { keys, ranges } = await scan(process);
    expect(ranges.length).toBe(1);
    expect(keys.length).toBeGreaterThan(KEYS - 12);
    expect(process.engine.stats().quarantined).toEqual(ranges);
  });

  it.each([false, true])(
    'survives compactions as damage (older values below: %s), and reopening; newer writes are answered',
    async (older) => {
      let process = await damagedStore('value 100 ', older);
      const { damaged } = await readAll(process);
      expect(damaged.length).toBeGreaterThan(4);
      const before = await scan(process);
      expect(before.keys.length).toBe(KEYS - damaged.length);
      expect(before.ranges.length).toBe(1);
      const [rewritten = 0, removed = 0, ...still] = damaged;
      const again = (i: number): Buffer => Buffer.from(`value ${String(i)} again`);
      await write(process, new WriteBatch().put(keyOf(rewritten), again(rewritten)).delete(keyOf(removed)));
      for (let round = 0; round < 3; round += 1) {
        // Something on both sides, so that every compaction has to write the table anew.
        await write(process, new WriteBatch().put(keyOf(0), again(0)).put(keyOf(KEYS - 1), again(KEYS - 1)));
        await process.timeline.run(process.engine.compact());
        expect(await process.timeline.run(process.engine.get(keyOf(removed)))).toBeUndefined();
        expect((await readAll(process, [removed])).damaged).toEqual(still);
        const { keys, ranges } = await scan(process);
        expect(still.every((i) => inside(ranges, keyOf(i)))).toBe(true);
        expect(keys.length).toBe(KEYS - 1 - still.length);
        await process.timeline.run(process.engine.close());
        process = await openEngine(process.mount.volume, random.fork(), TUNING);
      }
    },
  );

  it.each([false, true])('is healed when its range was written again (older values below: %s)', async (older) => {
    const process = await damagedStore('value 100 ', older);
    const { damaged } = await readAll(process);
    const [range] = process.engine.stats().quarantined;
    const lost = damaged.at(-1) ?? 0;
    const batch = new WriteBatch();
    for (const i of damaged) if (i !== lost) batch.put(keyOf(i), Buffer.from(`value ${String(i)} again`));
    await write(process, batch);
    await process.timeline.run(process.engine.heal(range?.from ?? '', range?.to));
    expect(process.engine.stats().quarantined).toEqual([]);
    expect(await process.timeline.run(process.engine.get(keyOf(lost)))).toBeUndefined();
    await process.timeline.run(process.engine.compact());
    const { keys, ranges } = await scan(process);
    expect(ranges).toEqual([]);
    expect(keys.length).toBe(KEYS - 1);
    expect((await process.timeline.run(process.engine.verify())).damaged).toEqual([]);
  });

  it('is quarantined by whoever verifies its table, before any reader meets it', async () => {
    const process = await damagedStore('value 100 ');
    const { engine, timeline } = process;
    const [table] = engine.tables();
    expect((await timeline.run(engine.verify(new Set([(table?.number ?? 0) + 1])))).tables).toBe(0);
    expect(engine.quarantined()).toEqual([]);
    const { damaged, tables } = await timeline.run(engine.verify(new Set([table?.number ?? 0])));
    expect([tables, damaged.length, engine.quarantined()]).toEqual([1, 1, damaged]);
  });

  it('goes with its range when that is dropped', async () => {
    const process = await damagedStore('value 100 ');
    await readAll(process);
    await process.timeline.run(process.engine.dropRange(keyOf(50), keyOf(150)));
    expect(process.engine.stats().quarantined).toEqual([]);
    await process.timeline.run(process.engine.compact());
    const { keys, ranges } = await scan(process);
    expect([keys.length, ranges]).toEqual([100, []]);
  });
});

describe('a damaged footer', () => {
  it('is an error for the whole table, after compactions and reopening too; newer writes are answered', async () => {
    let process = await damagedStore('');
    expect((await readAll(process)).right).toEqual([]);
    await write(process, new WriteBatch().put(keyOf(7), Buffer.from('value 7 again')).put('zzz', Buffer.from('beyond')));
    await process.timeline.run(process.engine.compact());
    await process.timeline.run(process.engine.close());
    process = await openEngine(process.mount.volume, random.fork(), TUNING);
    expect((await readAll(process)).right).toEqual([7]);
    const { keys, ranges } = await scan(process);
    expect(keys).toEqual([keyOf(7), 'zzz']);
    expect(inside(ranges, keyOf(199))).toBe(true);
    expect(inside(ranges, 'zzz')).toBe(false);
  });
});
