/** The simulated disk keeps its model: what is synced stays, what is not may go in every way, and a crashed process has no effect. */

import { describe, expect, it } from '@jest/globals';
import { SimExecutor } from '../../sim/disk/executor.ts';
import { Medium } from '../../sim/disk/medium.ts';
import { SimMount } from '../../sim/disk/mount.ts';
import { Fenced } from '../../sim/disk/operation.ts';
import type { Operation, Verdict } from '../../sim/disk/operation.ts';
import { SeededRandom } from '../../sim/disk/seeded-random.ts';
import { SimVolume } from '../../sim/disk/volume.ts';
import { Stuck, Timeline } from '../../sim/storage/timeline.ts';
import type { Job } from '../../src/env/executor.ts';
import type { SyncVfs } from '../../src/env/vfs.ts';

interface World {
  volume: SimVolume;
  timeline: Timeline;
  boot: () => SimMount;
}

function world(seed: number, capacityBytes?: number): World {
  const volume = new SimVolume({ random: new SeededRandom(seed), ...(capacityBytes === undefined ? {} : { capacityBytes }) });
  const timeline = new Timeline();
  return { volume, timeline, boot: () => new SimMount(volume, { schedule: timeline.schedule }) };
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

function contentOf(disk: SyncVfs, path: string): string | undefined {
  const size = disk.sizeOf(path);
  if (size === undefined) return undefined;
  const file = disk.open(path, 'read');
  const into = new Uint8Array(size);
  file.read(into, 0);
  file.close();
  return new TextDecoder().decode(into);
}

async function store(disk: SimMount, path: string, text: string, sync: 'data' | 'entry' | 'both' | 'none'): Promise<void> {
  const file = await disk.vfs.open(path, 'append-or-create');
  await file.write(bytes(text), 0);
  if (sync === 'data' || sync === 'both') await file.dataSync();
  if (sync === 'entry' || sync === 'both') await disk.vfs.syncDir('/');
  await file.close();
}

describe('files', () => {
  it('behave as files do', async () => {
    const { timeline, boot } = world(1);
    const mount = boot();
    const { vfs } = mount;
    await timeline.run(
      (async () => {
        await vfs.mkdir('/a/b');
        const file = await vfs.open('/a/b/x', 'create');
        await file.write(bytes('hello'), 0);
        await file.write(bytes('there'), 10);
        expect(await file.size()).toBe(15);
        const into = new Uint8Array(20);
        expect(await file.read(into, 3)).toBe(12);
        expect(new TextDecoder().decode(into.subarray(0, 12))).toBe('lo\0\0\0\0\0there');
        expect(file.readSync(into, 20)).toBe(0);
        await file.truncate(4);
        await file.write(bytes('!'), 6);
        expect(contentOf(mount.sync, '/a/b/x')).toBe('hell\0\0!');
        file.writeSync(bytes('HE'), 0);
        expect(contentOf(mount.sync, '/a/b/x')).toBe('HEll\0\0!');
        await expect(vfs.open('/a/b/x', 'create')).rejects.toMatchObject({ code: 'EXISTS' });
        await expect(vfs.open('/a/b/y', 'read')).rejects.toMatchObject({ code: 'NOT_FOUND' });
        await expect(vfs.list('/none')).rejects.toMatchObject({ code: 'NOT_FOUND' });
        await vfs.rename('/a/b/x', '/a/b/z');
        expect(await vfs.list('/a/b')).toEqual(['z']);
        // An open handle outlives its name.
        await vfs.unlink('/a/b/z');
        expect(await vfs.list('/a/b')).toEqual([]);
        expect(file.readSync(into, 0)).toBe(7);
        await file.close();
        expect(() => file.readSync(into, 0)).toThrow(expect.objectContaining({ code: 'CLOSED' }));
        expect(() => {
          file.writeSync(bytes('x'), 0);
        }).toThrow(expect.objectContaining({ code: 'CLOSED' }));
        await expect(file.write(bytes('x'), 0)).rejects.toMatchObject({ code: 'CLOSED' });
      })(),
    );
  });

  it('fail a buffer that changes while it is written, and poison one that is read into', async () => {
    const { timeline, boot } = world(1);
    const violations: string[] = [];
    const { volume } = boot();
    const mount = new SimMount(volume, { schedule: timeline.schedule, violation: (message) => violations.push(message) });
    const file = await timeline.run(mount.vfs.open('/x', 'create'));
    // A Buffer, whose `slice` is a view.
    const buffer = Buffer.from('abc');
    const written = file.write(buffer, 0);
    buffer[0] = 0;
    await timeline.run(written);
    expect(violations).toHaveLength(1);
    const into = new Uint8Array(3);
    const read = file.read(into, 0);
    expect(into[0]).toBe(0xa5);
    await timeline.run(read);
    expect(new TextDecoder().decode(into)).toBe('abc');
  });
});

describe('a loss of power', () => {
  it('keeps what was synced, with its entry', async () => {
    for (let seed = 0; seed < 50; seed += 1) {
      const { volume, timeline, boot } = world(seed);
      await timeline.run(store(boot(), '/x', 'kept', 'both'));
      volume.powerLoss();
      expect(contentOf(boot().sync, '/x')).toBe('kept');
    }
  });

  it('loses data without its sync and entries without theirs, each on its own', async () => {
    const seen = { noEntry: 0, empty: 0, whole: 0, torn: 0 };
    const text = 'abcdefghij'.repeat(200);
    for (let seed = 0; seed < 200; seed += 1) {
      const { volume, timeline, boot } = world(seed);
      await timeline.run(store(boot(), '/x', text, 'none'));
      volume.powerLoss();
      const left = contentOf(boot().sync, '/x');
      if (left === undefined) seen.noEntry += 1;
      else if (left === '') seen.empty += 1;
      else if (left === text) seen.whole += 1;
      else seen.torn += 1;
    }
    for (const count of Object.values(seen)) expect(count).toBeGreaterThan(5);
  });

  it('loses the entry alone, or the data alone', async () => {
    let entryLost = 0;
    let dataLost = 0;
    for (let seed = 0; seed < 60; seed += 1) {
      const one = world(seed);
      await one.timeline.run(store(one.boot(), '/x', 'data', 'data'));
      one.volume.powerLoss();
      const left = contentOf(one.boot().sync, '/x');
      if (left === undefined) entryLost += 1;
      else expect(left).toBe('data');
      const other = world(seed);
      await other.timeline.run(store(other.boot(), '/x', 'data', 'entry'));
      other.volume.powerLoss();
      const content = contentOf(other.boot().sync, '/x');
      expect(content).toBeDefined();
      if (content !== 'data') dataLost += 1;
    }
    expect(entryLost).toBeGreaterThan(5);
    expect(dataLost).toBeGreaterThan(5);
  });

  it('leaves the old file or the new one after a rename within a directory, never none', async () => {
    const seen = { old: 0, new: 0 };
    for (let seed = 0; seed < 60; seed += 1) {
      const { volume, timeline, boot } = world(seed);
      const mount = boot();
      await timeline.run(store(mount, '/x', 'old', 'both'));
      await timeline.run(store(mount, '/y', 'new', 'data'));
      await timeline.run(mount.vfs.rename('/y', '/x'));
      volume.powerLoss();
      const left = contentOf(boot().sync, '/x');
      expect(['old', 'new']).toContain(left);
      seen[left === 'old' ? 'old' : 'new'] += 1;
    }
    expect(seen.old).toBeGreaterThan(5);
    expect(seen.new).toBeGreaterThan(5);
  });

  it('may bring an unlinked file back, and undo a truncation', async () => {
    const seen = { back: 0, gone: 0, long: 0, short: 0 };
    for (let seed = 0; seed < 60; seed += 1) {
      const { volume, timeline, boot } = world(seed);
      const mount = boot();
      await timeline.run(store(mount, '/x', 'one', 'both'));
      await timeline.run(store(mount, '/y', 'two', 'both'));
      await timeline.run(mount.vfs.unlink('/x'));
      const file = await timeline.run(mount.vfs.open('/y', 'append-or-create'));
      await timeline.run(file.truncate(1));
      volume.powerLoss();
      const disk = boot().sync;
      seen[contentOf(disk, '/x') === undefined ? 'gone' : 'back'] += 1;
      seen[contentOf(disk, '/y') === 't' ? 'short' : 'long'] += 1;
    }
    for (const count of Object.values(seen)) expect(count).toBeGreaterThan(5);
  });

  it('in an image disturbs nothing and agrees with the real one about what is certain', async () => {
    const { volume, timeline, boot } = world(5);
    const mount = boot();
    await timeline.run(store(mount, '/x', 'kept', 'both'));
    await timeline.run(store(mount, '/y', 'perhaps', 'none'));
    const sizes = new Set<number>();
    for (let seed = 0; seed < 20; seed += 1) {
      const image = volume.imageAfterPowerLoss(new SeededRandom(seed));
      const found = image.files();
      expect(found[0]).toMatchObject({ path: '/x', size: 4 });
      sizes.add(found.length);
    }
    expect([...sizes].sort()).toEqual([1, 2]);
    expect(contentOf(mount.sync, '/y')).toBe('perhaps');
  });
});

describe('a crash within an operation', () => {
  it('fences the process: promises never settle, synchronous calls throw, nothing more reaches the disk, locks are free', async () => {
    const { volume, timeline, boot } = world(3);
    const mount = boot();
    await timeline.run(mount.vfs.lock('/LOCK'));
    await expect(timeline.run(mount.vfs.lock('/LOCK'))).rejects.toMatchObject({ code: 'LOCKED' });
    const file = await timeline.run(mount.vfs.open('/x', 'create'));
    volume.judge = (operation) => (operation.kind === 'write' ? 'power-loss' : 'ok');
    let tidied = false;
    const doomed = file.write(bytes('abc'), 0).finally(() => {
      tidied = true;
    });
    await expect(timeline.run(doomed)).rejects.toBeInstanceOf(Stuck);
    expect(tidied).toBe(false);
    expect(mount.alive).toBe(false);
    expect(() => {
      mount.sync.unlink('/x');
    }).toThrow(expect.objectContaining({ name: 'Fenced' }));
    await expect(timeline.run(mount.vfs.unlink('/x'))).rejects.toBeInstanceOf(Stuck);
    volume.judge = () => 'ok';
    await timeline.run(boot().vfs.lock('/LOCK'));
  });

  it('numbers every change, and cuts at any of them', async () => {
    const script = async (mount: SimMount): Promise<void> => {
      await mount.vfs.mkdir('/d');
      await store(mount, '/d/x', 'abc', 'both');
      await mount.vfs.rename('/d/x', '/d/y');
      const file = await mount.vfs.open('/d/y', 'append-or-create');
      await file.truncate(1);
      await file.close();
      await mount.vfs.unlink('/d/y');
    };
    const kinds: string[] = [];
    const whole = world(1);
    whole.volume.judge = (operation: Operation) => {
      if (operation.changes) kinds[operation.index] = operation.kind;
      return 'ok';
    };
    await whole.timeline.run(script(whole.boot()));
    expect(kinds).toEqual(['mkdir', 'create', 'write', 'dataSync', 'syncDir', 'rename', 'truncate', 'unlink']);
    for (let cut = 0; cut < kinds.length; cut += 1) {
      const { volume, timeline, boot } = world(cut);
      volume.judge = (operation) => (operation.changes && operation.index === cut ? 'power-loss' : 'ok');
      await expect(timeline.run(script(boot()))).rejects.toBeInstanceOf(Stuck);
      expect(volume.changes).toBe(cut + 1);
    }
  });

  it('of the process alone keeps what the system had cached', async () => {
    const { volume, timeline, boot } = world(9);
    const mount = boot();
    await timeline.run(store(mount, '/x', 'cached', 'none'));
    volume.processDeath(mount);
    expect(contentOf(boot().sync, '/x')).toBe('cached');
  });
});

describe('failures', () => {
  it('drop the dirty pages of a failed sync; later syncs succeed and do not bring them back', async () => {
    let lost = 0;
    for (let seed = 0; seed < 40; seed += 1) {
      const { volume, timeline, boot } = world(seed);
      const mount = boot();
      await timeline.run(store(mount, '/x', 'base', 'both'));
      const file = await timeline.run(mount.vfs.open('/x', 'append-or-create'));
      await timeline.run(file.write(bytes('more'), 4));
      volume.judge = (operation) => (operation.kind === 'dataSync' ? 'io' : 'ok');
      await expect(timeline.run(file.dataSync())).rejects.toMatchObject({ code: 'IO' });
      volume.judge = () => 'ok';
      await timeline.run(file.dataSync());
      volume.powerLoss();
      const left = contentOf(boot().sync, '/x') ?? '';
      expect(left.startsWith('base')).toBe(true);
      if (left !== 'basemore') lost += 1;
    }
    expect(lost).toBeGreaterThan(10);
  });

  it('fill the disk, and give the room back', async () => {
    const { volume, timeline, boot } = world(2, 100);
    const mount = boot();
    const file = await timeline.run(mount.vfs.open('/x', 'create'));
    await timeline.run(file.write(new Uint8Array(80), 0));
    expect(await timeline.run(mount.vfs.freeBytes('/'))).toBe(20);
    await expect(timeline.run(file.write(new Uint8Array(40), 80))).rejects.toMatchObject({ code: 'NO_SPACE' });
    expect(await timeline.run(file.size())).toBeLessThanOrEqual(100);
    await timeline.run(file.truncate(10));
    await timeline.run(file.write(new Uint8Array(40), 10));
    volume.capacityBytes = 10;
    await expect(timeline.run(mount.vfs.open('/y', 'create'))).rejects.toMatchObject({ code: 'NO_SPACE' });
  });

  it('rot bits, wipe the disk and restore an old one', async () => {
    const { volume, timeline, boot } = world(4);
    await timeline.run(store(boot(), '/x', 'abc', 'both'));
    const image = volume.image();
    volume.flip('/x', 1, 0x01);
    volume.powerLoss();
    expect(contentOf(boot().sync, '/x')).toBe('acc');
    volume.restore(image);
    expect(contentOf(boot().sync, '/x')).toBe('abc');
    const last = boot();
    volume.wipe();
    expect(last.alive).toBe(false);
    expect(boot().sync.list('/')).toEqual([]);
    volume.restore(new Medium());
  });

  it('a synchronous write of the loop is judged, fails and is cut like any other change', async () => {
    const { volume, timeline, boot } = world(11);
    const mount = boot();
    await timeline.run(store(mount, '/x', 'abc', 'both'));
    const file = await timeline.run(mount.vfs.open('/x', 'append-or-create'));
    const seen: Operation[] = [];
    let verdict: Verdict = 'io';
    volume.judge = (operation) => {
      seen.push(operation);
      return verdict;
    };
    const write = (): void => {
      file.writeSync(bytes('defg'), 3);
    };
    expect(write).toThrow(expect.objectContaining({ code: 'IO' }));
    verdict = 'no-space';
    expect(write).toThrow(expect.objectContaining({ code: 'NO_SPACE' }));
    expect(seen).toMatchObject([{ kind: 'write', path: '/x', bytes: 4, position: 3, changes: true, synchronous: true }, {}]);
    verdict = 'process-death';
    expect(write).toThrow(Fenced);
    expect(mount.alive).toBe(false);
    expect(write).toThrow(Fenced);
    volume.judge = (): 'ok' => 'ok';
    expect('abcdefg').toContain(contentOf(boot().sync, '/x'));
  });

  it('slow calls take virtual time, on the loop as held time', async () => {
    const { volume, timeline } = world(4);
    let held = 0;
    const mount = new SimMount(volume, {
      schedule: timeline.schedule,
      latencyMs: (kind) => (kind === 'read' ? 7 : kind === 'write' ? 5 : 0),
      held: (ms) => {
        held += ms;
      },
    });
    await timeline.run(store(mount, '/x', 'abc', 'both'));
    const file = await timeline.run(mount.vfs.open('/x', 'read'));
    const before = timeline.monotonicMs();
    await timeline.run(file.read(new Uint8Array(3), 0));
    expect(timeline.monotonicMs() - before).toBe(7);
    file.readSync(new Uint8Array(3), 0);
    expect(held).toBe(7);
    file.writeSync(new Uint8Array(3), 0);
    expect(held).toBe(12);
  });
});

describe('the executor', () => {
  const job: Job<
    { readonly path: string; readonly shared: Uint8Array; readonly own: Uint8Array },
    { readonly slices: number; readonly out: Uint8Array }
  > = {
    name: 'job',
    module: 'test',
    *run(message, disk) {
      const file = disk.open(message.path, 'create');
      let slices = 0;
      for (; slices < 5; slices += 1) {
        file.write(Uint8Array.of(slices), slices);
        message.shared[slices] = 1;
        message.own[slices] = 1;
        yield undefined;
      }
      file.dataSync();
      file.close();
      return { slices, out: message.own };
    },
  };

  it('runs a job in slices over cloned messages, sharing shared memory', async () => {
    const { timeline, boot } = world(1);
    const mount = boot();
    const executor = new SimExecutor(mount, { random: new SeededRandom(1), sliceDelayMs: 3 });
    const shared = new Uint8Array(new SharedArrayBuffer(8));
    const own = new Uint8Array(8);
    const running = executor.run(job, { path: '/x', shared, own }, 'urgent');
    const closed = executor.close();
    const result = await timeline.run(running);
    await timeline.run(closed);
    expect(result.slices).toBe(5);
    expect(result.out[4]).toBe(1);
    expect(own[0]).toBe(0);
    expect(shared[4]).toBe(1);
    expect(executor.slices).toBe(6);
    await expect(executor.run(job, { path: '/y', shared, own }, 'urgent')).rejects.toMatchObject({ code: 'CLOSED' });
  });

  it('rejects with the coded error of the job', async () => {
    const { timeline, boot } = world(1);
    const mount = boot();
    const executor = new SimExecutor(mount, { random: new SeededRandom(1) });
    const running = executor.run(job, { path: '/none/x', shared: new Uint8Array(1), own: new Uint8Array(1) }, 'background');
    await expect(timeline.run(running)).rejects.toMatchObject({ name: 'VfsError', code: 'NOT_FOUND' });
  });

  it('ends with its process, between or within slices', async () => {
    for (let cut = 0; cut < 7; cut += 1) {
      const { volume, timeline, boot } = world(cut);
      const mount = boot();
      const executor = new SimExecutor(mount, { random: new SeededRandom(1) });
      volume.judge = (operation) => (operation.changes && operation.index === cut ? 'power-loss' : 'ok');
      const running = executor.run(job, { path: '/x', shared: new Uint8Array(8), own: new Uint8Array(8) }, 'background');
      await expect(timeline.run(running)).rejects.toBeInstanceOf(Stuck);
      expect(volume.changes).toBe(cut + 1);
    }
  });
});

describe('a seed', () => {
  it('means the same history every time', async () => {
    const history = async (): Promise<string> => {
      const { volume, timeline, boot } = world(11);
      const mount = boot();
      for (let i = 0; i < 20; i += 1) await timeline.run(store(mount, `/f${String(i)}`, 'x'.repeat(700), 'none'));
      volume.powerLoss();
      const disk = boot().sync;
      return disk
        .list('/')
        .map((name) => `${name} ${contentOf(disk, `/${name}`) ?? ''}`)
        .join('\n');
    };
    expect(await history()).toBe(await history());
  });
});
