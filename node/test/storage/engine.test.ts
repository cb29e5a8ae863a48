/** What the engine does for its callers, on a simulated disk in virtual time. */

import { describe, expect, it } from '@jest/globals';
import { newVolume, openEngine, TINY, volumeOf } from '../../sim/storage/engine-process.ts';
import { Pending } from '../../src/storage/engine.ts';
import { WriteBatch } from '../../src/storage/write-batch.ts';
import { all, bytesOn, fill, get, keyOf, keysIn, put, random, start, tablesIn, valueOf } from './engine-stores.ts';

describe('writing and reading', () => {
  it('a write is read in the same turn, and after reopening, flushed or not', async () => {
    const first = await start();
    let durable = false;
    first.engine.write(new WriteBatch().put('a', valueOf(1), { expireAtMs: 7, gcTag: 9 }).put('t', valueOf(2), { tombstone: true }), () => {
      durable = true;
    });
    expect(first.engine.tryGet('a')).toEqual({ kind: 'value', expireAtMs: 7, gcTag: 9, value: valueOf(1) });
    expect(first.engine.tryGet('t')).toMatchObject({ kind: 'tombstone' });
    expect(first.engine.tryGet('b')).toBeUndefined();
    expect(durable).toBe(false);
    await fill(first, 0, 200);
    await put(first, new WriteBatch().delete(keyOf(3)).put(keyOf(4), valueOf(44)));
    expect(tablesIn(first.engine)).toBeGreaterThan(0);
    await first.timeline.run(first.engine.close());
    const second = await start({}, first.mount.volume);
    expect(await get(second, 'a')).toBe(valueOf(1).toString());
    expect(await get(second, keyOf(3))).toBeUndefined();
    expect(await get(second, keyOf(4))).toBe(valueOf(44).toString());
    expect(await get(second, keyOf(199))).toBe(valueOf(199).toString());
    expect((await keysIn(second)).length).toBe(201);
  });

  it('a batch is one: its callback runs once, the last write to a key wins', async () => {
    const process = await start();
    const done: unknown[] = [];
    process.engine.write(new WriteBatch().put('a', valueOf(1)).delete('a').put('a', valueOf(3)).put('b', valueOf(1)).delete('b'), (error) =>
      done.push(error),
    );
    process.engine.write(new WriteBatch(), (error) => done.push(error));
    await process.timeline.run(process.engine.flush());
    expect(done).toEqual([undefined, undefined]);
    expect(await keysIn(process)).toEqual(['a']);
    expect(await get(process, 'a')).toBe(valueOf(3).toString());
  });

  it('multiGet answers in order, as of one moment', async () => {
    const process = await start({ cacheBytes: 0 });
    await fill(process, 0, 300);
    await process.timeline.run(process.engine.compact());
    const answers = process.engine.multiGet([keyOf(200), 'none', keyOf(7), keyOf(200)]);
    process.engine.write(new WriteBatch().put(keyOf(7), valueOf(70)), () => undefined);
    const values = (await process.timeline.run(answers)).map((entry) =>
      entry === undefined ? undefined : Buffer.from(entry.value).toString(),
    );
    expect(values).toEqual([valueOf(200).toString(), undefined, valueOf(7).toString(), valueOf(200).toString()]);
  });

  it('tryGet answers Pending for what is not in memory, and no longer after load', async () => {
    const process = await start({ turnReads: 0 });
    await fill(process, 0, 100);
    await process.timeline.run(process.engine.compact());
    let loads = 0;
    const read = async (): Promise<string> => {
      for (;;) {
        const found = process.engine.tryGet(keyOf(50));
        if (!(found instanceof Pending)) return Buffer.from(found?.value ?? '').toString();
        loads += 1;
        await process.engine.load(found);
      }
    };
    expect(await process.timeline.run(read())).toBe(valueOf(50).toString());
    expect(loads).toBeGreaterThan(0);
    expect(loads).toBeLessThanOrEqual(2);
    loads = 0;
    await process.timeline.run(read());
    expect(loads).toBe(0);
  });

  it.each([
    ['KEY_EMPTY', (): unknown => new WriteBatch().put('', valueOf(1))],
    ['KEY_TOO_LONG', (): unknown => new WriteBatch().put('k'.repeat(4097), valueOf(1))],
    ['SETTING_INVALID', (): unknown => new WriteBatch().put('k', valueOf(1), { expireAtMs: -1 })],
    ['SETTING_INVALID', (): unknown => new WriteBatch().delete('k', 0.5)],
  ])('refuses what it could not keep: %s', (code, make) => {
    expect(make).toThrow(expect.objectContaining({ code }));
  });

  it('refuses everything once closed', async () => {
    const process = await start();
    await process.timeline.run(process.engine.close());
    await process.timeline.run(process.engine.close());
    expect(() => process.engine.tryGet('a')).toThrow(expect.objectContaining({ code: 'CLOSED' }));
    expect(() => process.engine.snapshot()).toThrow(expect.objectContaining({ code: 'CLOSED' }));
    await expect(put(process, new WriteBatch().put('a', valueOf(1)))).rejects.toMatchObject({ code: 'CLOSED', outcome: 'none' });
    await expect(process.timeline.run(process.engine.flush())).rejects.toMatchObject({ code: 'CLOSED' });
    expect(process.engine.stats().state).toBe('closed');
  });
});

describe('the directory', () => {
  it('belongs to one engine at a time', async () => {
    const process = await start();
    await expect(openEngine(process.mount.volume, random.fork(), TINY)).rejects.toMatchObject({ code: 'DATA_DIR_IN_USE' });
    await process.timeline.run(process.engine.close());
    await start({}, process.mount.volume);
  });

  it('holds nothing but what is needed: orphans go at the start', async () => {
    const first = await start();
    await fill(first, 0, 200);
    await first.timeline.run(first.engine.close());
    const { vfs } = first.mount;
    for (const name of ['999998.sst', '000000.log', 'MANIFEST.new', 'notes.txt']) {
      const file = await first.timeline.run(vfs.open(`/data/store/${name}`, 'create'));
      await first.timeline.run(file.close());
    }
    const second = await start({}, first.mount.volume);
    await second.timeline.run(second.engine.compact());
    const names = await second.timeline.run(second.mount.vfs.list('/data/store'));
    expect(names).toContain('notes.txt');
    expect(names).not.toContain('999998.sst');
    expect(names.filter((name) => name.endsWith('.log')).length).toBeLessThanOrEqual(1);
    expect(names.filter((name) => name.endsWith('.sst')).length).toBe(tablesIn(second.engine));
  });

  it('is not opened without its manifest', async () => {
    const process = await start();
    await fill(process, 0, 100);
    await process.timeline.run(process.engine.close());
    await process.timeline.run(process.mount.vfs.unlink('/data/store/MANIFEST'));
    await expect(start({}, process.mount.volume)).rejects.toMatchObject({
      code: 'DATA_DAMAGED',
      message: expect.stringContaining('MANIFEST'),
    });
  });

  it.each([{ memtableBytes: 1 }, { turnReadMs: -1 }, { compression: [] }, { level0Slow: 1, level0Compact: 2 }, { blockBytes: 1.5 }])(
    'is not opened with invalid settings: %j',
    async (tuning) => {
      await expect(start(tuning)).rejects.toMatchObject({ code: 'SETTING_INVALID' });
    },
  );
});

describe('snapshots and iterators', () => {
  it('see what was there when they were made, whatever happens beside them', async () => {
    const process = await start();
    const { engine, timeline } = process;
    await fill(process, 0, 150);
    const snapshot = engine.snapshot();
    const iterator = engine.iterate({ from: keyOf(10), to: keyOf(140), batchEntries: 7 });
    const before = await timeline.run(iterator.next());
    for (let i = 0; i < 150; i += 2) await put(process, new WriteBatch().delete(keyOf(i)).put(`${keyOf(i)}+`, valueOf(i)));
    await timeline.run(engine.compact());
    await timeline.run(engine.dropRange(keyOf(100), undefined));
    await timeline.run(engine.compact());
    const rest = await all(process, iterator);
    expect([...before, ...rest].map((entry) => entry.key)).toEqual(Array.from({ length: 130 }, (_, i) => keyOf(10 + i)));
    expect([...before, ...rest].every((entry, i) => Buffer.from(entry.value).equals(valueOf(10 + i)))).toBe(true);
    expect(await keysIn(process, { snapshot })).toEqual(Array.from({ length: 150 }, (_, i) => keyOf(i)));
    const old = await timeline.run(engine.get(keyOf(120), snapshot).then((entry) => Buffer.from(entry?.value ?? '').toString()));
    expect(old).toBe(valueOf(120).toString());
    expect(await get(process, keyOf(120))).toBeUndefined();
    const held = bytesOn(process);
    snapshot.close();
    snapshot.close();
    await timeline.run(engine.compact());
    expect(bytesOn(process)).toBeLessThan(held);
    expect(() => engine.tryGet('a', snapshot)).toThrow(expect.objectContaining({ code: 'CLOSED' }));
    expect(engine.stats().views).toBe(0);
    expect((await keysIn(process)).length).toBe(100);
  });

  it('go through ranges and limits, also while they are closed', async () => {
    const process = await start();
    await fill(process, 0, 100);
    await process.timeline.run(process.engine.flush());
    await fill(process, 50, 120);
    expect(await keysIn(process, { from: keyOf(40), to: keyOf(60) })).toEqual(Array.from({ length: 20 }, (_, i) => keyOf(40 + i)));
    expect(await keysIn(process, { from: keyOf(118), limit: 1 })).toEqual([keyOf(118)]);
    expect(await keysIn(process, { from: 'l' })).toEqual([]);
    expect(await keysIn(process, { limit: 0 })).toEqual([]);
    expect(await keysIn(process, { batchBytes: 1, limit: 3 })).toEqual([keyOf(0), keyOf(1), keyOf(2)]);
    const iterator = process.engine.iterate();
    const reading = iterator.next();
    iterator.close();
    await expect(process.timeline.run(reading)).rejects.toMatchObject({ code: 'CLOSED' });
    await expect(process.timeline.run(iterator.next())).rejects.toMatchObject({ code: 'CLOSED' });
    expect(process.engine.stats().views).toBe(0);
  });
});

describe('dropRange', () => {
  it('frees the space, of whole tables and of parts', async () => {
    const process = await start();
    const { engine, timeline } = process;
    await fill(process, 0, 600);
    await timeline.run(engine.compact());
    const before = bytesOn(process);
    await timeline.run(engine.dropRange(keyOf(100), keyOf(500)));
    expect(bytesOn(process)).toBeLessThan(before * 0.55);
    expect(await keysIn(process)).toEqual([
      ...Array.from({ length: 100 }, (_, i) => keyOf(i)),
      ...Array.from({ length: 100 }, (_, i) => keyOf(500 + i)),
    ]);
    await fill(process, 200, 210);
    await timeline.run(engine.compact());
    expect((await keysIn(process)).length).toBe(210);
    await timeline.run(engine.dropRange('', undefined));
    await timeline.run(engine.compact());
    expect(tablesIn(engine)).toBe(0);
    expect(await keysIn(process)).toEqual([]);
    await timeline.run(engine.dropRange('b', 'a'));
  });

  it('holds against a compaction that runs beside it', async () => {
    const volume = newVolume(random.fork());
    const big = {
      level0Compact: 100,
      level0Slow: 200,
      level0Stop: 300,
      memtableBytes: 65_536,
      sealedMemtables: 16,
      tableBytes: 1_000_000,
      levelBaseBytes: 1e9,
    };
    const first = await start(big, volume);
    await fill(first, 0, 400, 3000);
    await first.timeline.run(first.engine.compact());
    await fill(first, 0, 400, 3000);
    await first.timeline.run(first.engine.flush());
    await first.timeline.run(first.engine.close());
    const image = volume.image();
    let beside = 0;
    for (let turn = 0; turn < 6; turn += 1) {
      const process = await start(big, volumeOf(image, random.fork()));
      const compacting = process.engine.compact();
      for (let steps = 4 * turn; steps > 0; steps -= 1) await process.timeline.step();
      await put(process, new WriteBatch().put(keyOf(5), valueOf(5)));
      const { compactions } = process.engine.stats().counters;
      const dropping = process.engine.dropRange(keyOf(20), keyOf(390));
      while (process.engine.stats().counters['flushes'] === 0) await process.timeline.step();
      const { counters } = process.engine.stats();
      if (compactions === 0 && counters['compactions'] === 0 && counters['moves'] === 0) beside += 1;
      await process.timeline.run(Promise.all([compacting, dropping]));
      expect((await keysIn(process)).length).toBe(30);
    }
    expect(beside).toBeGreaterThan(2);
  });

  it('stays after reopening, before and after the flush', async () => {
    const process = await start({ memtableBytes: 1_000_000 });
    await fill(process, 0, 50);
    await process.timeline.run(process.engine.flush());
    const dropping = process.engine.dropRange(keyOf(10), keyOf(20));
    process.engine.write(new WriteBatch().put(keyOf(15), valueOf(1)), () => undefined);
    expect(process.engine.tryGet(keyOf(12))).toBeUndefined();
    await process.timeline.run(dropping);
    process.mount.volume.powerLoss();
    const again = await start({}, process.mount.volume);
    expect((await keysIn(again)).length).toBe(41);
    expect(await get(again, keyOf(15))).toBe(valueOf(1).toString());
  });
});

describe('compaction', () => {
  it('collects what the policy names, and never lets an older value come back', async () => {
    const process = await start();
    const { engine, timeline } = process;
    await fill(process, 0, 100);
    await timeline.run(engine.compact());
    const batch = new WriteBatch();
    for (let i = 0; i < 20; i += 1) batch.put(keyOf(i), valueOf(i), { expireAtMs: 1000 + i, gcTag: 5 });
    for (let i = 20; i < 60; i += 1) batch.put(keyOf(i), valueOf(i), { tombstone: true, gcTag: i });
    await put(process, batch);
    await timeline.run(
      engine.compact({
        collectable: [
          { from: keyOf(0), to: keyOf(20), gcTag: 5, expiredByMs: 1009 },
          { from: keyOf(20), to: keyOf(50), gcTag: 39, expiredByMs: 0 },
          { from: keyOf(58), gcTag: 58, expiredByMs: 0 },
        ],
      }),
    );
    const gone = [...Array.from({ length: 10 }, (_, i) => i), ...Array.from({ length: 20 }, (_, i) => 20 + i), 58];
    expect(await keysIn(process)).toEqual(Array.from({ length: 100 }, (_, i) => keyOf(i)).filter((_, i) => !gone.includes(i)));
    expect(engine.stats().counters).toMatchObject({ expiredCollected: 10, tombstonesCollected: 21 });
    await timeline.run(engine.compact());
    expect((await keysIn(process)).length).toBe(69);
    const entries = engine.stats().levels.reduce((sum, level) => sum + level.entries, 0);
    expect(entries).toBe(69);
  });

  it('leaves one run of tables, and drops what was overwritten', async () => {
    const process = await start();
    for (let round = 0; round < 4; round += 1) await fill(process, 0, 300, 60);
    await process.timeline.run(process.engine.compact());
    const { levels, counters } = process.engine.stats();
    expect(levels.filter((level) => level.tables > 0).length).toBe(1);
    expect(levels.reduce((sum, level) => sum + level.entries, 0)).toBe(300);
    expect(counters['overwritten']).toBeGreaterThan(0);
    const report = await process.timeline.run(process.engine.verify());
    expect(report.damaged).toEqual([]);
    expect(report.tables).toBe(tablesIn(process.engine));
    expect(report.blocks).toBeGreaterThan(10);
  });

  it('moves a table that overlaps nothing instead of writing it again', async () => {
    const process = await start({ level0Compact: 2, levelBaseBytes: 1_000_000 });
    await fill(process, 0, 400);
    await process.timeline.run(process.engine.compact());
    const { counters } = process.engine.stats();
    expect(counters['moves']).toBeGreaterThan(2);
    expect((await keysIn(process)).length).toBe(400);
  });
});
