/** What the engine keeps to under load: memory, files, waiting and disk, on a simulated disk in virtual time. */

import { describe, expect, it } from '@jest/globals';
import { SimExecutor } from '../../sim/disk/executor.ts';
import { SimMount } from '../../sim/disk/mount.ts';
import { DIRECTORY, newVolume, TINY } from '../../sim/storage/engine-process.ts';
import { Timeline } from '../../sim/storage/timeline.ts';
import type { Executor } from '../../src/env/executor.ts';
import { Engine } from '../../src/storage/engine.ts';
import { WriteBatch } from '../../src/storage/write-batch.ts';
import { closeLater, fill, get, keyOf, keysIn, put, random, start, tablesIn, valueOf } from './engine-stores.ts';

describe('budgets', () => {
  it('without any cache, lookups through many tables still end', async () => {
    const process = await start({ cacheBytes: 0, bloomBitsPerKey: 0, level0Compact: 100, level0Slow: 200, level0Stop: 300 });
    for (let round = 0; round < 12; round += 1) {
      await put(
        process,
        new WriteBatch()
          .put('a', valueOf(round))
          .put(`m${String(round)}`, valueOf(round))
          .put('z', valueOf(round)),
      );
      await process.timeline.run(process.engine.flush());
    }
    expect(process.engine.stats().levels[0]?.tables).toBe(12);
    const found = await process.timeline.run(
      Promise.all(
        Array.from({ length: 12 }, async (_, i) => Buffer.from((await process.engine.get(`m${String(i)}`))?.value ?? '').toString()),
      ),
      20_000,
    );
    expect(found).toEqual(Array.from({ length: 12 }, (_, i) => valueOf(i).toString()));
  });

  it('the cache and the open files keep theirs', async () => {
    const process = await start({ cacheBytes: 20_000, openFiles: 8, level0Compact: 1 });
    await fill(process, 0, 1500);
    await process.timeline.run(process.engine.compact());
    expect(tablesIn(process.engine)).toBeGreaterThan(8);
    for (let i = 0; i < 1500; i += 7) expect(await get(process, keyOf(i))).toBe(valueOf(i).toString());
    const settled = new Promise<void>((resolve) => {
      process.timeline.after(10, resolve);
    });
    await process.timeline.run(settled);
    const { cacheBytes, openFiles, counters } = process.engine.stats();
    // Beside the cache, block memory of at most 256 KiB is kept for reuse.
    expect(cacheBytes).toBeLessThan(20_000 + 256 * 1024);
    expect(openFiles).toBeLessThanOrEqual(8);
    expect(counters['cacheEvictions']).toBeGreaterThan(0);
  });

  it('writers are held back while flushes lag, then refused, and go on by themselves', async () => {
    const process = await start({ memtableBytes: 8192, sealedMemtables: 1, stalledBytes: 8192 });
    const { engine, timeline } = process;
    let done = 0;
    const codes: unknown[] = [];
    for (let i = 0; i < 60; i += 1) {
      engine.write(new WriteBatch().put(keyOf(i), valueOf(i, 900)), (error) => {
        if (error === undefined) done += 1;
        else codes.push([error.code, error.outcome, error.retryAfterMs]);
      });
    }
    expect(engine.stats().stall).toBe('stopped');
    expect(codes.length).toBeGreaterThan(0);
    expect(new Set(codes.map((code) => JSON.stringify(code)))).toEqual(new Set([JSON.stringify(['BUSY', 'none', 100])]));
    expect(done).toBe(0);
    await timeline.run(engine.flush());
    for (let left = 50; left > 0; left -= 1) await timeline.step();
    expect(done).toBe(60 - codes.length);
    expect(engine.stats()).toMatchObject({ stall: 'none', stalledWrites: 0 });
    expect(engine.stats().stalledMs).toBeGreaterThan(0);
    await put(process, new WriteBatch().put('after', valueOf(1)));
    expect((await keysIn(process)).length).toBe(61 - codes.length);
  });

  it('under a stop that lasts, a write ends soon: acknowledged, for it is durable, or refused with nothing done', async () => {
    const volume = newVolume(random.fork());
    const timeline = new Timeline();
    const mount = new SimMount(volume, { schedule: timeline.schedule });
    const executor = new SimExecutor(mount, { random: random.fork(), sliceDelayMs: 2 });
    let goOn = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const hanging: Executor = {
      run: async (job, message, priority) => {
        await held;
        return executor.run(job, message, priority);
      },
      pace: (share) => {
        executor.pace(share);
      },
      close: () => executor.close(),
    };
    const tuning = { ...TINY, memtableBytes: 8192, sealedMemtables: 1, stalledBytes: 8192 };
    const engine = await timeline.run(Engine.open({ ...tuning, directory: DIRECTORY, vfs: mount.vfs, executor: hanging, clock: timeline }));
    closeLater({ engine, timeline, mount });
    const ends: { readonly code: string; readonly outcome: string | undefined; readonly afterMs: number }[] = [];
    for (let i = 0; i < 200; i += 1) {
      const since = timeline.monotonicMs();
      engine.write(new WriteBatch().put(keyOf(i), valueOf(i, 900)), (error) => {
        ends.push({ code: error?.code ?? 'done', outcome: error?.outcome, afterMs: timeline.monotonicMs() - since });
      });
      await timeline.run(
        new Promise<void>((resolve) => {
          timeline.after(50, resolve);
        }),
      );
    }
    expect(engine.stats().stall).toBe('stopped');
    expect(ends).toHaveLength(200);
    expect(Math.max(...ends.map(({ afterMs }) => afterMs))).toBeLessThan(400);
    expect(new Set(ends.map(({ code, outcome }) => `${code} ${String(outcome)}`))).toEqual(new Set(['done undefined', 'BUSY none']));
    expect(engine.stats().memtableBytes).toBeLessThan(100_000);
    goOn();
    const kept = ends.filter(({ code }) => code === 'done').length;
    expect((await keysIn({ engine, timeline, mount })).length).toBe(kept);
    await timeline.run(engine.flush());
    expect(engine.stats()).toMatchObject({ stall: 'none', stalledWrites: 0 });
  });

  it('a disk below the reserve refuses writes before it is full, keeps reads, and resumes by itself', async () => {
    const process = await start({ reserveBytes: 1_000_000 });
    const { engine, timeline, mount } = process;
    await fill(process, 0, 100);
    const { volume } = mount;
    volume.capacityBytes = volume.medium.usedBytes() + 1_050_000;
    let refusal: unknown;
    for (let i = 0; i < 100 && refusal === undefined; i += 1) {
      const batch = new WriteBatch();
      for (let j = 0; j < 30; j += 1) batch.put(keyOf(100 + 30 * i + j), valueOf(i, 200));
      refusal = await put(process, batch).then(
        () => undefined,
        (error: unknown) => error,
      );
    }
    expect(refusal).toMatchObject({ code: 'DISK_FULL', outcome: 'none' });
    expect(volume.freeBytes()).toBeGreaterThan(600_000);
    expect(engine.stats().state).toBe('full');
    expect(await get(process, keyOf(50))).toBe(valueOf(50).toString());
    volume.capacityBytes = Number.POSITIVE_INFINITY;
    const later = new Promise<void>((resolve) => {
      timeline.after(1000, resolve);
    });
    await timeline.run(later);
    expect(engine.stats().state).toBe('open');
    await put(process, new WriteBatch().put('after', valueOf(1)));
  });
});
