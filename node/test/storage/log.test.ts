/** The commit log: groups, the synced mark, torn tails against damage, and a failed fsync. */

import { describe, expect, it } from '@jest/globals';
import type { Medium } from '../../sim/disk/medium.ts';
import type { Operation } from '../../sim/disk/operation.ts';
import { SeededRandom } from '../../sim/disk/seeded-random.ts';
import { newVolume, openEngine, volumeOf } from '../../sim/storage/engine-process.ts';
import type { EngineProcess, Tuning } from '../../sim/storage/engine-process.ts';
import type { EngineEvent } from '../../src/storage/options.ts';
import { WriteBatch } from '../../src/storage/write-batch.ts';

const LOG: Tuning = { memtableBytes: 1_000_000, reserveBytes: 0 };
const random = new SeededRandom(2);

const start = (tuning: Tuning = LOG): Promise<EngineProcess> => openEngine(newVolume(random.fork()), random.fork(), tuning);

function write({ engine }: EngineProcess, key: string, value = key): Promise<void> {
  return new Promise((resolve, reject) => {
    engine.write(new WriteBatch().put(key, Buffer.from(value)), (error) => {
      if (error === undefined) resolve();
      else reject(error);
    });
  });
}

async function keysIn({ engine, timeline }: EngineProcess): Promise<string[]> {
  const iterator = engine.iterate();
  const entries = await timeline.run(iterator.next());
  iterator.close();
  return entries.map((entry) => entry.key);
}

const logOf = (process: EngineProcess): string =>
  process.mount.volume
    .files()
    .filter((file) => file.path.endsWith('.log'))
    .at(-1)?.path ?? '';

const pause = ({ timeline }: EngineProcess, ms: number): Promise<void> =>
  timeline.run(
    new Promise<void>((resolve) => {
      timeline.after(ms, resolve);
    }),
  );

describe('groups', () => {
  it('one write and one sync for all that came meanwhile, at most one sync in flight', async () => {
    const process = await start();
    await process.timeline.run(write(process, 'first'));
    const { logSyncs, logWrites } = process.engine.stats().counters;
    await process.timeline.run(Promise.all(Array.from({ length: 200 }, (_, i) => write(process, `k${String(i)}`))));
    const { counters } = process.engine.stats();
    expect((counters['logSyncs'] ?? 0) - (logSyncs ?? 0)).toBeLessThanOrEqual(2);
    expect((counters['logWrites'] ?? 0) - (logWrites ?? 0)).toBeLessThanOrEqual(2);
  });

  it('takes in what comes in the turns after the sync before it', async () => {
    const process = await start();
    const { engine, timeline } = process;
    // The segment's file is made by the first write.
    await timeline.run(write(process, 'zeroth'));
    await pause(process, 100);
    const before = engine.stats().counters['logSyncs'] ?? 0;
    const late = write(process, 'first').then(
      () =>
        new Promise<void>((resolve, reject) => {
          timeline.soon(() => {
            timeline.soon(() => {
              write(process, 'late').then(resolve, reject);
            });
          });
        }),
    );
    // The first is under way by then.
    await pause(process, 1);
    await timeline.run(Promise.all([late, write(process, 'meanwhile')]));
    expect((engine.stats().counters['logSyncs'] ?? 0) - before).toBe(2);
  });

  it('always: what was acknowledged survives the loss of power; interval: it survives the process', async () => {
    for (const kind of ['always', 'interval'] as const) {
      const process = await start({ ...LOG, fsync: kind === 'always' ? { kind } : { kind, everyMs: 1000 } });
      await process.timeline.run(write(process, 'a'));
      if (kind === 'always') process.mount.volume.powerLoss();
      else process.mount.volume.processDeath(process.mount);
      const again = await openEngine(process.mount.volume, random.fork(), LOG);
      expect(await keysIn(again)).toEqual(['a']);
      await again.timeline.run(again.engine.close());
    }
  });

  it('interval: what is older than the interval survives the loss of power', async () => {
    const process = await start({ ...LOG, fsync: { kind: 'interval', everyMs: 100 } });
    await process.timeline.run(write(process, 'a'));
    await pause(process, 150);
    process.mount.volume.powerLoss();
    const again = await openEngine(process.mount.volume, random.fork(), LOG);
    expect(await keysIn(again)).toEqual(['a']);
  });
});

describe('the interval policy under much writing', () => {
  it('syncs before its time, so that the end of a segment finds little left', async () => {
    const process = await start({ ...LOG, memtableBytes: 64 * 1024 * 1024, fsync: { kind: 'interval', everyMs: 100_000 } });
    const value = 'x'.repeat(256 * 1024);
    for (let i = 0; i < 15; i += 1) await process.timeline.run(write(process, `key-${String(i)}`, value));
    expect(process.engine.stats().counters['logSyncs']).toBe(0);
    for (let i = 15; i < 40; i += 1) await process.timeline.run(write(process, `key-${String(i)}`, value));
    expect(process.engine.stats().counters['logSyncs']).toBeGreaterThan(0);
    await process.timeline.run(process.engine.close());
  });
});

describe('a synchronous write of the log', () => {
  /** Lets the `nth` write to a log file fail, and counts how they were made. */
  function watchWrites(process: EngineProcess, fail: { readonly at: number; readonly with: 'io' | 'no-space' } | undefined): Operation[] {
    const seen: Operation[] = [];
    process.mount.volume.judge = (operation: Operation) => {
      if (operation.kind !== 'write' || !/\.log(\.new)?$/.test(operation.path)) return 'ok';
      seen.push(operation);
      return fail !== undefined && seen.length - 1 === fail.at ? fail.with : 'ok';
    };
    return seen;
  }

  const policies = [{ kind: 'always' }, { kind: 'interval', everyMs: 1000 }] as const;

  it.each(policies)('%j: is what a small group costs', async (fsync) => {
    const process = await start({ ...LOG, fsync });
    await process.timeline.run(write(process, 'first'));
    const seen = watchWrites(process, undefined);
    await process.timeline.run(Promise.all([write(process, 'a'), write(process, 'b')]));
    expect(seen.map(({ synchronous }) => synchronous)).toEqual([true]);
    await process.timeline.run(write(process, 'large', 'x'.repeat(300_000)));
    // Where every group is synced, the room behind a large one is written too.
    const room = fsync.kind === 'always' ? [false] : [];
    expect(seen.map(({ synchronous }) => synchronous)).toEqual([true, false, ...room]);
  });

  it.each(policies)('%j: that fails breaks its file, which is not written again: all goes to a new one', async (fsync) => {
    const process = await start({ ...LOG, fsync });
    await process.timeline.run(write(process, 'a'));
    const old = logOf(process);
    const seen = watchWrites(process, { at: 0, with: 'io' });
    await process.timeline.run(write(process, 'b'));
    expect(seen.filter(({ path }) => path === old)).toHaveLength(1);
    expect(process.engine.stats()).toMatchObject({ state: 'open', counters: { logRewrites: 1 } });
    process.mount.volume.processDeath(process.mount);
    const again = await openEngine(process.mount.volume, random.fork(), LOG);
    expect(await keysIn(again)).toEqual(['a', 'b']);
  });

  it.each(policies)('%j: that finds no room halts the log, and is repeated at its place when there is some', async (fsync) => {
    const process = await start({ ...LOG, fsync });
    await process.timeline.run(write(process, 'a'));
    const { volume } = process.mount;
    volume.capacityBytes = volume.medium.usedBytes() + 10;
    await expect(process.timeline.run(write(process, 'b'))).rejects.toMatchObject({ code: 'DISK_FAILED', outcome: 'unknown' });
    await expect(process.timeline.run(write(process, 'c'))).rejects.toMatchObject({ code: 'DISK_FULL', outcome: 'none' });
    volume.capacityBytes = Number.POSITIVE_INFINITY;
    await pause(process, 1000);
    await process.timeline.run(write(process, 'd'));
    expect(process.engine.stats()).toMatchObject({ state: 'open', counters: { logRewrites: 0 } });
    volume.processDeath(process.mount);
    const again = await openEngine(volume, random.fork(), LOG);
    expect(await keysIn(again)).toEqual(['a', 'b', 'd']);
  });

  it.each(policies)('%j: a crash within it loses nothing that was acknowledged', async (fsync) => {
    for (let turn = 0; turn < 10; turn += 1) {
      const process = await start({ ...LOG, fsync });
      await process.timeline.run(write(process, 'a'));
      const { volume } = process.mount;
      const images: Medium[] = [];
      volume.judge = (operation: Operation) => {
        if (operation.kind === 'write' && operation.synchronous) {
          const { current } = volume;
          images.push(volume[fsync.kind === 'always' ? 'imageAfterPowerLoss' : 'imageAfterProcessDeath'](random.fork(), current));
        }
        return 'ok';
      };
      await process.timeline.run(write(process, 'b'));
      expect(images).toHaveLength(1);
      for (const image of images) {
        const again = await openEngine(volumeOf(image, random.fork()), random.fork(), LOG);
        expect((await keysIn(again))[0]).toBe('a');
        await again.timeline.run(again.engine.close());
      }
    }
  });

  it('interval: what follows a sealed segment reaches the disk within the interval too', async () => {
    const process = await start({ ...LOG, memtableBytes: 4096, fsync: { kind: 'interval', everyMs: 100 } });
    await process.timeline.run(write(process, 'a'));
    await pause(process, 50);
    // Fills the memtable: the next write goes to a new segment, of which the timer that runs knows nothing.
    await process.timeline.run(write(process, 'b', 'x'.repeat(5000)));
    await process.timeline.run(write(process, 'c'));
    await pause(process, 250);
    process.mount.volume.powerLoss();
    const again = await openEngine(process.mount.volume, random.fork(), LOG);
    expect(await keysIn(again)).toEqual(['a', 'b', 'c']);
  });
});

describe('room ahead', () => {
  const value = 'x'.repeat(10_000);
  const sizeOf = (process: EngineProcess): number => process.mount.volume.files().find(({ path }) => path === logOf(process))?.size ?? 0;
  const bytesIn = (process: EngineProcess): number => process.engine.stats().logBytes;

  it('is zeros, which the loss of power leaves nothing of; what was acknowledged is all there, and more can be written', async () => {
    const process = await start();
    await process.timeline.run(write(process, 'a', value));
    const room = sizeOf(process) - bytesIn(process);
    expect(room).toBeGreaterThan(0);
    // It is used, and then there is more of it.
    let size = sizeOf(process);
    let grown = 0;
    for (let i = 0; i < 20; i += 1) {
      await process.timeline.run(write(process, `k${String(i)}`, value));
      grown += sizeOf(process) > size ? 1 : 0;
      size = sizeOf(process);
    }
    expect(grown).toBeLessThan(8);
    process.mount.volume.powerLoss();
    const logged: unknown[] = [];
    const again = await openEngine(process.mount.volume, random.fork(), { ...LOG, log: (event) => logged.push(event.name) });
    expect((await keysIn(again)).length).toBe(21);
    expect(logged).not.toContain('log-tail-cut');
    await again.timeline.run(write(again, 'b', value));
    again.mount.volume.powerLoss();
    const third = await openEngine(again.mount.volume, random.fork(), LOG);
    expect((await keysIn(third)).length).toBe(22);
  });

  it('is given back at the end, and not taken where syncs are seldom', async () => {
    const process = await start();
    await process.timeline.run(write(process, 'a', value));
    const path = logOf(process);
    await process.timeline.run(process.engine.close());
    const size = process.mount.volume.files().find((file) => file.path === path)?.size ?? 0;
    expect(size).toBeGreaterThan(10_000);
    expect(size).toBeLessThan(10_500);
    const seldom = await start({ ...LOG, fsync: { kind: 'interval', everyMs: 1000 } });
    await seldom.timeline.run(write(seldom, 'a', value));
    expect(sizeOf(seldom)).toBe(bytesIn(seldom));
  });

  it.each(['no-space', 'io'] as const)('that cannot be had (%s) keeps nobody from writing', async (failure) => {
    const process = await start();
    // Makes the file: from now on what a thread writes is room.
    await process.timeline.run(write(process, 'first'));
    let refused = 0;
    process.mount.volume.judge = (operation: Operation) => {
      if (operation.kind !== 'write' || !operation.path.endsWith('.log') || operation.synchronous) return 'ok';
      refused += 1;
      return failure;
    };
    for (const key of ['a', 'b', 'c']) await process.timeline.run(write(process, key, value));
    expect(refused).toBeGreaterThan(0);
    expect(process.engine.stats()).toMatchObject({ state: 'open', counters: { logRewrites: 0 } });
    process.mount.volume.powerLoss();
    expect(await keysIn(await openEngine(process.mount.volume, random.fork(), LOG))).toEqual(['a', 'b', 'c', 'first']);
  });
});

describe('what a stop leaves', () => {
  /** The bytes of a closed store's log, with what is written after a pause (a mark), and one with a torn tail. */
  async function stopped(): Promise<EngineProcess> {
    const process = await start();
    for (const key of ['a', 'b', 'c']) await process.timeline.run(write(process, key));
    await process.timeline.run(process.engine.close());
    return process;
  }

  it('a torn tail is cut, and cut for good', async () => {
    const process = await stopped();
    const path = logOf(process);
    const { vfs } = process.mount;
    const file = await process.timeline.run(vfs.open(path, 'append-or-create'));
    const size = await process.timeline.run(file.size());
    await process.timeline.run(file.write(random.bytes(100), size));
    await process.timeline.run(file.close());
    // The flush that would remove the segment is kept from running.
    process.mount.volume.judge = (operation: Operation) => (operation.kind === 'create' && operation.path.endsWith('.sst') ? 'io' : 'ok');
    const again = await openEngine(process.mount.volume, random.fork(), LOG);
    expect(again.mount.volume.files().find((each) => each.path === path)?.size).toBe(size);
    again.mount.volume.judge = (): 'ok' => 'ok';
    expect(await keysIn(again)).toEqual(['a', 'b', 'c']);
    await again.timeline.run(write(again, 'd'));
    again.mount.volume.powerLoss();
    const third = await openEngine(again.mount.volume, random.fork(), LOG);
    expect(await keysIn(third)).toEqual(['a', 'b', 'c', 'd']);
  });

  it('any change to what was synced is damage that names the file; a change to the mark itself loses nothing', async () => {
    const process = await stopped();
    const path = logOf(process);
    const size = process.mount.volume.files().find((file) => file.path === path)?.size ?? 0;
    const image = process.mount.volume.image();
    let harmless = 0;
    for (let at = 0; at < size; at += 1) {
      const volume = volumeOf(image, random.fork());
      volume.flip(path, at, 1 << random.below(8));
      try {
        const again = await openEngine(volume, random.fork(), LOG);
        expect(await keysIn(again)).toEqual(['a', 'b', 'c']);
        harmless += 1;
      } catch (error) {
        expect(error).toMatchObject({ code: 'DATA_DAMAGED', message: expect.stringMatching(/\.log is damaged at offset \d+/) });
      }
    }
    expect(harmless).toBeLessThanOrEqual(32);
  });

  it('what a start replays is durable before anything is written behind it', async () => {
    const process = await start({ ...LOG, fsync: { kind: 'interval', everyMs: 100_000 } });
    await process.timeline.run(write(process, 'a'));
    const { volume } = process.mount;
    volume.processDeath(process.mount);
    volume.judge = (operation: Operation) => (operation.kind === 'create' && operation.path.endsWith('.sst') ? 'io' : 'ok');
    const second = await openEngine(volume, random.fork(), LOG);
    await second.timeline.run(write(second, 'b'));
    volume.powerLoss();
    const third = await openEngine(volume, random.fork(), LOG);
    expect(await keysIn(third)).toEqual(['a', 'b']);
  });

  it('damage to the last group is noticed once writes have paused, after kill -9 too', async () => {
    const process = await start();
    for (const key of ['a', 'b', 'last']) await process.timeline.run(write(process, key));
    await pause(process, 100);
    const path = logOf(process);
    const { volume } = process.mount;
    const at = Buffer.from(volume.medium.file(volume.medium.find(path) ?? -1).bytes).lastIndexOf('lastlast');
    volume.processDeath(process.mount);
    volume.flip(path, at, 1);
    await expect(openEngine(volume, random.fork(), LOG)).rejects.toMatchObject({ code: 'DATA_DAMAGED' });
  });

  it('a segment that lost its end is damage when another follows', async () => {
    const process = await start();
    await process.timeline.run(write(process, 'a'));
    process.mount.volume.processDeath(process.mount);
    const second = await openEngine(process.mount.volume, random.fork(), LOG);
    // Before the replayed memtable is flushed, a second segment gets writes.
    second.mount.volume.judge = (operation: Operation) => (operation.kind === 'create' && operation.path.endsWith('.sst') ? 'io' : 'ok');
    await second.timeline.run(write(second, 'b'));
    second.mount.volume.processDeath(second.mount);
    second.mount.volume.judge = (): 'ok' => 'ok';
    const paths = second.mount.volume.files().filter((file) => file.path.endsWith('.log'));
    expect(paths.length).toBe(2);
    second.mount.volume.flip(paths[0]?.path ?? '', (paths[0]?.size ?? 0) - 4, 1);
    await expect(openEngine(second.mount.volume, random.fork(), LOG)).rejects.toMatchObject({ code: 'DATA_DAMAGED' });
  });
});

describe('a stop on a full disk', () => {
  it.each([false, true])('makes durable what was acknowledged, and tells whether it had taken more: %j', async (more) => {
    const process = await start({ ...LOG, fsync: { kind: 'interval', everyMs: 60_000 } });
    await process.timeline.run(write(process, 'a'));
    const { volume } = process.mount;
    volume.capacityBytes = volume.medium.usedBytes() + 10;
    if (more) await expect(process.timeline.run(write(process, 'b'))).rejects.toMatchObject({ code: 'DISK_FAILED', outcome: 'unknown' });
    expect(await process.timeline.run(process.engine.close())).toBe(!more);
    volume.powerLoss();
    volume.capacityBytes = Number.POSITIVE_INFINITY;
    expect(await keysIn(await openEngine(volume, random.fork(), LOG))).toEqual(['a']);
  });
});

describe('a failed fsync', () => {
  /** Fails the `which`-th syncs of log files, counting from 0. */
  function failSyncs(process: EngineProcess, which: (nth: number) => boolean): { paths: string[] } {
    const seen = { paths: [] as string[] };
    process.mount.volume.judge = (operation: Operation) => {
      if (operation.kind !== 'dataSync' || !/\.log(\.new)?$/.test(operation.path)) return 'ok';
      seen.paths.push(operation.path);
      return which(seen.paths.length - 1) ? 'io' : 'ok';
    };
    return seen;
  }

  it.each(['always', 'interval'] as const)('%s: is never repeated on that file: all goes to a new one', async (kind) => {
    const process = await start({ ...LOG, fsync: kind === 'always' ? { kind } : { kind, everyMs: 5 } });
    await process.timeline.run(write(process, 'a'));
    await pause(process, 20);
    const seen = failSyncs(process, (nth) => nth === 0);
    await process.timeline.run(write(process, 'b'));
    await pause(process, 20);
    await process.timeline.run(write(process, 'c'));
    await pause(process, 20);
    expect(seen.paths.length).toBeGreaterThanOrEqual(2);
    expect(seen.paths.slice(1)).not.toContain(seen.paths[0]);
    expect(process.engine.stats()).toMatchObject({ state: 'open', counters: { logRewrites: 1 } });
    process.mount.volume.powerLoss();
    const again = await openEngine(process.mount.volume, random.fork(), LOG);
    expect(await keysIn(again)).toEqual(['a', 'b', 'c']);
  });

  it('interval: also when the segment is sealed while its sync is under way', async () => {
    let hits = 0;
    for (let turn = 0; turn < 30; turn += 1) {
      const process = await start({ ...LOG, fsync: { kind: 'interval', everyMs: 3 } });
      const seen = failSyncs(process, (nth) => nth === 0);
      await process.timeline.run(write(process, 'a'));
      for (let steps = turn; steps > 0; steps -= 1) await process.timeline.step();
      await process.timeline.run(process.engine.flush().catch(() => undefined));
      await pause(process, 50);
      if (seen.paths.length > 1) hits += 1;
      expect(seen.paths.slice(1)).not.toContain(seen.paths[0]);
      await process.timeline.run(process.engine.close());
    }
    expect(hits).toBeGreaterThan(5);
  });

  it.each([
    ['the last one, of a stop: all goes to a new file', (nth: number) => nth === 0, []],
    ['the last one, of a stop, and its repetition: the stop says so', () => true, ['disk-failed']],
  ] as const)('%s', async (_, which, said) => {
    const events: EngineEvent[] = [];
    const process = await start({ ...LOG, fsync: { kind: 'interval', everyMs: 60_000 }, log: (event) => events.push(event) });
    const seen = failSyncs(process, which);
    await process.timeline.run(write(process, 'a'));
    expect(seen.paths).toEqual([]);
    expect(await process.timeline.run(process.engine.close())).toBe(said.length === 0);
    expect(events.filter(({ level }) => level === 'error').map(({ name }) => name)).toEqual(said);
    expect(events.at(-1)).toMatchObject({ name: 'closed', detail: { durable: said.length === 0 } });
    process.mount.volume.powerLoss();
    process.mount.volume.judge = (): 'ok' => 'ok';
    const again = await openEngine(process.mount.volume, random.fork(), LOG);
    if (said.length === 0) expect(await keysIn(again)).toEqual(['a']);
  });

  it('a rewrite that a loss of power cuts short leaves what was durable', async () => {
    for (let turn = 0; turn < 20; turn += 1) {
      const process = await start();
      for (const key of ['a', 'b', 'c']) await process.timeline.run(write(process, key));
      await pause(process, 100);
      failSyncs(process, (nth) => nth === 0);
      void write(process, 'd').catch(() => undefined);
      for (let steps = 2 * turn; steps > 0; steps -= 1) await process.timeline.step();
      process.mount.volume.powerLoss();
      process.mount.volume.judge = (): 'ok' => 'ok';
      const again = await openEngine(process.mount.volume, random.fork(), LOG);
      expect((await keysIn(again)).slice(0, 3)).toEqual(['a', 'b', 'c']);
      expect((await again.timeline.run(again.mount.vfs.list('/data/store'))).filter((name) => name.endsWith('.new'))).toEqual([]);
      await again.timeline.run(again.engine.close());
    }
  });

  it('twice: writes stop until a restart, reads go on', async () => {
    const process = await start();
    await process.timeline.run(write(process, 'a'));
    failSyncs(process, () => true);
    const failing = [write(process, 'b'), write(process, 'c')];
    for (const one of failing) await expect(process.timeline.run(one)).rejects.toMatchObject({ code: 'DISK_FAILED', outcome: 'unknown' });
    await expect(process.timeline.run(write(process, 'd'))).rejects.toMatchObject({ code: 'DISK_FAILED', outcome: 'none' });
    await expect(process.timeline.run(process.engine.flush())).rejects.toMatchObject({ code: 'DISK_FAILED' });
    expect(process.engine.stats().state).toBe('failed');
    expect(process.engine.tryGet('a')).toBeDefined();
    process.mount.volume.judge = (): 'ok' => 'ok';
    await process.timeline.run(process.engine.close());
    const again = await openEngine(process.mount.volume, random.fork(), LOG);
    const keys = await keysIn(again);
    expect(keys).toContain('a');
    expect(keys).not.toContain('d');
    await again.timeline.run(write(again, 'e'));
  });
});
