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

/** A store of one table in level 1 with one byte of it changed where `needle` is, opened anew. */
async function damagedStore(needle: string, tuning: Tuning = TUNING): Promise<EngineProcess> {
  const process = await openEngine(newVolume(random.fork()), random.fork(), tuning);
  const batch = new WriteBatch();
  for (let i = 0; i < KEYS; i += 1) batch.put(keyOf(i), Buffer.from(`value ${String(i)} `.padEnd(60, '.')));
  await write(process, batch);
  await process.timeline.run(process.engine.compact());
  await process.timeline.run(process.engine.close());
  const { volume } = process.mount;
  const path = volume.files().find((file) => file.path.endsWith('.sst'))?.path ?? '';
  const bytes = Buffer.from(volume.medium.file(volume.medium.find(path) ?? -1).bytes);
  const at = needle === '' ? bytes.lastIndexOf('COTERSST') - 20 : bytes.indexOf(needle);
  volume.flip(path, at, 1);
  return openEngine(volume, random.fork(), tuning);
}

interface Answers {
  readonly right: number[];
  readonly damaged: number[];
}

async function readAll({ engine, timeline }: EngineProcess): Promise<Answers> {
  const answers: Answers = { right: [], damaged: [] };
  for (let i = 0; i < KEYS; i += 1) {
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
    'survives compaction as damage (older data below: %s), also after reopening; newer writes are answered',
    async (older) => {
      let process = await damagedStore('value 100 ');
      const { damaged } = await readAll(process);
      const rewritten = damaged[0] ?? 0;
      const batch = new WriteBatch().put(keyOf(rewritten), Buffer.from(`value ${String(rewritten)} again`));
      // Something on both sides, so that the compaction has to rewrite the table.
      batch.put(keyOf(0), Buffer.from('value 0 again')).put(keyOf(KEYS - 1), Buffer.from(`value ${String(KEYS - 1)} again`));
      if (older) batch.delete(keyOf(damaged[1] ?? 0)).put(keyOf(damaged[1] ?? 0), Buffer.from(`value ${String(damaged[1] ?? 0)} again`));
      await write(process, batch);
      await process.timeline.run(process.engine.compact());
      const still = damaged.slice(older ? 2 : 1);
      for (let round = 0; round < 2; round += 1) {
        expect((await readAll(process)).damaged).toEqual(still);
        const { ranges } = await scan(process);
        expect(still.every((i) => inside(ranges, keyOf(i)))).toBe(true);
        await process.timeline.run(process.engine.close());
        process = await openEngine(process.mount.volume, random.fork(), TUNING);
      }
    },
  );

  it('is healed when its range was written again', async () => {
    const process = await damagedStore('value 100 ');
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
