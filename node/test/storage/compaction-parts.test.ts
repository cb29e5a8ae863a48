/** Compactions that run as several jobs, each over a range of keys, and tables that change their level as they are. */

import { afterEach, describe, expect, it } from '@jest/globals';
import { SeededRandom } from '../../sim/disk/seeded-random.ts';
import { newVolume, openEngine, TINY } from '../../sim/storage/engine-process.ts';
import type { EngineProcess, Tuning } from '../../sim/storage/engine-process.ts';
import { isApart, movable } from '../../src/storage/compaction/picker.ts';
import { splitRanges } from '../../src/storage/compaction/split.ts';
import type { DamagedRange } from '../../src/storage/damage.ts';
import { IndexBuilder, TableIndex } from '../../src/storage/sstable/index-block.ts';
import type { TableMeta } from '../../src/storage/sstable/table-meta.ts';
import { WriteBatch } from '../../src/storage/write-batch.ts';

const keyOf = (i: number): string => `key ${String(i).padStart(5, '0')}`;

function tableOf(number: number, min: number, max: number, holes: readonly DamagedRange[] = []): TableMeta {
  return {
    number,
    bytes: 10 * (max - min + 1),
    min: keyOf(min),
    max: keyOf(max),
    entries: max - min + 1,
    tombstones: 0,
    removals: 0,
    expiring: 0,
    rawBytes: 0,
    minExpireAtMs: 0,
    maxExpireAtMs: 0,
    minTombstoneTag: 0,
    maxTag: 0,
    masks: [],
    holes,
  };
}

/** Blocks of ten keys each. */
function indexOf(table: TableMeta): TableIndex {
  const builder = new IndexBuilder();
  for (let i = Number(table.min.slice(4)); i <= Number(table.max.slice(4)); i += 10) builder.add(keyOf(i + 9), i, 100);
  return new TableIndex(builder.finish());
}

describe('the ranges of a split', () => {
  const tables = [tableOf(1, 0, 9999), tableOf(2, 5000, 9999), tableOf(3, 0, 499)];

  it('follow one another and take in everything', () => {
    for (const parts of [1, 2, 3, 7]) {
      for (const known of [indexOf, (): undefined => undefined]) {
        const ranges = splitRanges(tables, known, parts);
        expect(ranges.length).toBeLessThanOrEqual(parts);
        expect(ranges[0]?.from).toBe('');
        expect(ranges.at(-1)?.to).toBeUndefined();
        for (const [at, range] of ranges.entries()) {
          if (range.to === undefined) continue;
          expect(range.to > range.from).toBe(true);
          expect(ranges[at + 1]?.from).toBe(range.to);
        }
      }
    }
  });

  it('have about the same bytes where the indexes are known', () => {
    const [low] = splitRanges(tables, indexOf, 2);
    const cut = Number(low?.to?.slice(4));
    // 15,500 keys in all: those below the cut are half of them.
    const below = cut + Math.max(0, cut - 5000) + Math.min(500, cut);
    expect(below / 15_500).toBeGreaterThan(0.42);
    expect(below / 15_500).toBeLessThan(0.58);
  });

  it('are one where nothing can be cut', () => {
    expect(splitRanges([], indexOf, 4)).toEqual([{ from: '', to: undefined }]);
    expect(splitRanges([tableOf(1, 5, 5)], indexOf, 4).length).toBeLessThanOrEqual(2);
  });
});

describe('tables that go down as they are', () => {
  const hole = { file: 'x', offset: 0, from: keyOf(40), to: keyOf(45) };
  const upper = [tableOf(1, 0, 9), tableOf(2, 10, 19), tableOf(3, 20, 29), tableOf(4, 30, 39), tableOf(5, 40, 49, [hole])];
  const levels = [[], upper, [tableOf(6, 25, 27)]];

  it('are those from the first on that overlap nothing below', () => {
    expect(movable(levels, 1, 0)).toMatchObject({ move: true, output: 2, inputs: [upper[0], upper[1]], below: [] });
    expect(movable(levels, 1, 2)).toBeUndefined();
    expect(movable(levels, 1, 3)?.inputs).toEqual([upper[3]]);
  });

  it('are none that carry damage along', () => {
    expect(upper.map((table) => isApart(levels, 1, table))).toEqual([true, true, false, true, false]);
    expect(movable(levels, 1, 4)).toBeUndefined();
  });
});

describe('a compaction in parts', () => {
  let opened: EngineProcess | undefined;

  afterEach(async () => {
    await opened?.timeline.run(opened.engine.close());
  });

  /** What a store holds after the same writes, overwritten and removed in part, were compacted. */
  async function compacted(tuning: Tuning): Promise<{ lines: string[]; jobs: number; compactions: number }> {
    await opened?.timeline.run(opened.engine.close());
    const random = new SeededRandom(8);
    opened = await openEngine(newVolume(random), random, { ...TINY, ...tuning });
    const { engine, timeline } = opened;
    for (let i = 0; i < 3000; i += 1) {
      const key = keyOf((i * 7919) % 2000);
      const batch = i % 5 === 0 ? new WriteBatch().delete(key) : new WriteBatch().put(key, Buffer.from(`${String(i)} `.repeat(20)));
      await timeline.run(
        new Promise<void>((resolve) => {
          engine.write(batch, () => {
            resolve();
          });
        }),
      );
    }
    await timeline.run(engine.compact());
    const lines: string[] = [];
    const iterator = engine.iterate();
    for (let batch = await timeline.run(iterator.next()); batch.length > 0; batch = await timeline.run(iterator.next())) {
      for (const { key, value } of batch) lines.push(`${key} ${Buffer.from(value).toString()}`);
    }
    iterator.close();
    const { counters, levels } = engine.stats();
    expect(levels.filter(({ tables }) => tables > 0).length).toBe(1);
    return { lines, jobs: counters['compactionJobs'] ?? 0, compactions: counters['compactions'] ?? 0 };
  }

  it('comes to the same as one in one', async () => {
    const one = await compacted({ compactionParts: 1 });
    const four = await compacted({ compactionParts: 4 });
    expect(one.lines.length).toBeGreaterThan(1000);
    expect(four.lines).toEqual(one.lines);
    expect(one.jobs).toBe(one.compactions);
    expect(four.jobs).toBeGreaterThan(four.compactions);
  });
});
