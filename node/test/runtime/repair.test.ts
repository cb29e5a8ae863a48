import { describe, expect, test } from '@jest/globals';

import { bytes, failure, scenario, texts } from './virtual-cluster.ts';

describe('read repair', () => {
  test('one read brings a replica that missed a write up to date', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0, 1, 2);
      await cluster.node(0).put('default', key, bytes('old'), {}, {});
      cluster.kill(2);
      await cluster.sleep(50);
      await cluster.node(0).put('default', key, bytes('new'), {}, {});
      await cluster.boot(2);
      await cluster.ready();
      const [a, b, c] = await cluster.digests(key);
      expect(a).toBe(b);
      expect(c).not.toBe(a);
      // The stale one coordinates, and must not answer what it has.
      expect(texts(await cluster.node(2).get('default', key, {}))).toEqual(['new']);
      await cluster.until(async () => new Set(await cluster.digests(key)).size === 1);
      await cluster.until(() => cluster.node(2).stats().counters['readRepairs'] === 1);
    }));

  test('a replica that answers after the client was served is repaired too', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0, 1, 2);
      cluster.kill(2);
      await cluster.sleep(50);
      await cluster.node(0).put('default', key, bytes('v'), {}, {});
      await cluster.boot(2);
      await cluster.ready();
      expect(texts(await cluster.node(0).get('default', key, { r: 1 }))).toEqual(['v']);
      await cluster.until(async () => new Set(await cluster.digests(key)).size === 1);
    }));

  test('concurrent writes on both sides of a partition are merged by the first read', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0, 1, 2);
      await cluster.node(0).put('default', key, bytes('base'), {}, { w: 3 });
      const { context } = await cluster.node(0).get('default', key, {});
      if (context === undefined) throw new Error('no context');
      cluster.isolate(0);
      await cluster.until(() => cluster.node(1).cluster().members[0]?.reachable === false);
      await cluster.until(() => cluster.node(0).cluster().members[1]?.reachable === false);
      await cluster.node(0).put('default', key, bytes('left'), {}, { context, w: 1 });
      await cluster.node(1).put('default', key, bytes('right'), {}, { context });
      cluster.heal();
      await cluster.ready();
      const read = await cluster.node(2).get('default', key, { r: 3 });
      expect(texts(read).sort()).toEqual(['left', 'right']);
      await cluster.until(async () => new Set(await cluster.digests(key)).size === 1);
    }));

  test('what a read answered is not gone in the next one, whoever answers that', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0, 1, 2);
      await cluster.node(0).put('default', key, bytes('old'), {}, { w: 3 });
      // A write that reached only its coordinator.
      cluster.isolate(0);
      expect(await failure(() => cluster.node(0).put('default', key, bytes('new'), {}, { timeoutMs: 50 }))).toBe('TIMEOUT unknown');
      cluster.heal();
      cluster.network.reset('node-1', 'node-3');
      await cluster.ready();
      const first = texts(await cluster.node(0).get('default', key, {}));
      cluster.kill(0);
      await cluster.sleep(50);
      const second = texts(await cluster.node(1).get('default', key, {}));
      expect([first, second]).toEqual([['new'], ['new']]);
    }));

  test('a deleted value does not come back through a replica that missed the delete', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0, 1, 2);
      await cluster.node(0).put('default', key, bytes('v'), {}, { w: 3 });
      cluster.kill(2);
      await cluster.sleep(50);
      await cluster.node(0).delete('default', key, {});
      await cluster.boot(2);
      await cluster.ready();
      expect(texts(await cluster.node(2).get('default', key, {}))).toEqual([]);
      expect(await cluster.node(1).count('default', {})).toBe(0);
      await cluster.until(async () => new Set(await cluster.digests(key)).size === 1);
    }));
});

describe('hedged reads', () => {
  test('a value that is late is asked of a second replica', () =>
    scenario({ nodes: 4, n: 3 }, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0, 1, 2);
      await cluster.node(3).put('default', key, bytes('v'), {}, { w: 3 });
      // Slow, not lost: what is asked of it comes far too late.
      cluster.network.link('node-1', 'node-4').delayUs = 900_000;
      let hedged = 0;
      for (let i = 0; i < 6; i += 1) {
        expect(texts(await cluster.node(3).get('default', key, {}))).toEqual(['v']);
        hedged = cluster.node(3).stats().counters['hedges'] ?? 0;
      }
      expect(hedged).toBeGreaterThan(0);
    }));
});

describe('damage and a full disk', () => {
  test('a full disk refuses writes before any effect where it coordinates alone, keeps reads, and resumes', () =>
    scenario({ nodes: 1, n: 1, options: { engine: { memtableBytes: 1 << 16, reserveBytes: 1 << 16 } } }, async (cluster) => {
      await cluster.start();
      const node = cluster.node(0);
      await node.put('default', 'k', bytes('v'), {}, {});
      cluster.volume(0).capacityBytes = 1000;
      await cluster.until(async () => (await failure(() => node.put('default', 'x', bytes('v'), {}, {}))) === 'DISK_FULL none');
      expect(texts(await node.get('default', 'k', {}))).toEqual(['v']);
      cluster.volume(0).capacityBytes = Number.POSITIVE_INFINITY;
      await cluster.until(async () => (await failure(() => node.put('default', 'k', bytes('w'), {}, {}))) === undefined);
      expect(texts(await node.get('default', 'k', {}))).toEqual(['w']);
    }));

  test('a damaged copy is no answer: the others are read, and it is never taken for absent', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      const keys = Array.from({ length: 200 }, (_, i) => `key-${String(i)}`);
      for (const key of keys) await cluster.node(0).put('default', key, bytes('v'.repeat(300)), {}, { w: 3 });
      await cluster.stop(2);
      for (const { path, size } of cluster.volume(2).files()) {
        if (!path.endsWith('.sst') && !path.includes('table')) continue;
        for (let at = 100; at < size - 400; at += 2000) cluster.volume(2).flip(path, at, 0x55);
      }
      await cluster.boot(2);
      await cluster.ready();
      let damaged = 0;
      for (const key of keys) {
        expect(texts(await cluster.node(2).get('default', key, {}))).toEqual(['v'.repeat(300)]);
        const alone = await failure(() => cluster.node(2).local('default', key));
        if (alone === 'DATA_DAMAGED') damaged += 1;
        else expect(alone).toBeUndefined();
      }
      expect(damaged).toBeGreaterThan(0);
    }));

  test('a damaged copy without others is an error, and is counted', () =>
    scenario({ nodes: 1, n: 1 }, async (cluster) => {
      await cluster.start();
      for (let i = 0; i < 200; i += 1) await cluster.node(0).put('default', `key-${String(i)}`, bytes('v'.repeat(300)), {}, {});
      await cluster.stop(0);
      for (const { path, size } of cluster.volume(0).files()) {
        if (!path.endsWith('.sst')) continue;
        for (let at = 100; at < size - 400; at += 2000) cluster.volume(0).flip(path, at, 0x55);
      }
      await cluster.boot(0);
      await cluster.ready();
      let damaged = 0;
      for (let i = 0; i < 200; i += 1) {
        const code = await failure(() => cluster.node(0).get('default', `key-${String(i)}`, {}));
        if (code === undefined) continue;
        expect(code).toBe('DATA_DAMAGED');
        damaged += 1;
      }
      expect(damaged).toBeGreaterThan(0);
      const { counters } = cluster.node(0).stats();
      expect([counters['damagedReads'], counters['readsFailed']]).toEqual([damaged, damaged]);
    }));

  test('a forwarded write that a full disk leaves short says so, not that its coordinator was silent', () =>
    scenario({ nodes: 4, n: 3, options: { engine: { memtableBytes: 1 << 16, reserveBytes: 1 << 16 } } }, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0);
      const [outside = -1] = cluster.others(key);
      cluster.volume(cluster.primaries(key)[2] ?? -1).capacityBytes = 1000;
      const text = async (): Promise<string> => {
        try {
          await cluster.node(outside).put('default', key, bytes('v'), {}, { w: 3, timeoutMs: 500, quorum: 'strict' });
          return '';
        } catch (error) {
          return (error as Error).message;
        }
      };
      await cluster.until(async () => (await text()) !== '');
      expect(await text()).toBe('3 of 3 replicas must take the write, and 1 failed with DISK_FULL');
    }));
});
