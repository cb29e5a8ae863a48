import { describe, expect, test } from '@jest/globals';

import { VfsError } from '../../src/env/vfs.ts';
import { wrapFiles } from '../../sim/mutants/wrapped-vfs.ts';
import { bytes, type ClusterSpec, failure, scenario, texts, type VirtualCluster } from './virtual-cluster.ts';

async function fill(cluster: VirtualCluster, count: number, value: string): Promise<string[]> {
  const keys = Array.from({ length: count }, (_, i) => `key-${String(i)}`);
  for (const key of keys) await cluster.up[0]?.put('default', key, bytes(value), {}, {});
  return keys;
}

const INTERVAL: ClusterSpec = { nodes: 3, n: 3, options: { engine: { fsync: { kind: 'interval', everyMs: 1000 }, reserveBytes: 0 } } };

/** A key whose newest value nodes 0 and 1 have just acknowledged, while node 2 is away and has an older one. */
async function writtenWithout2(cluster: VirtualCluster): Promise<string> {
  await cluster.start();
  const key = cluster.keyOn(0, 1, 2);
  await cluster.node(0).put('default', key, bytes('old'), {}, { w: 3 });
  await cluster.sleep(1500);
  cluster.isolate(2);
  await cluster.until(() => cluster.node(0).cluster().members[2]?.reachable === false);
  await cluster.node(0).put('default', key, bytes('new'), {}, {});
  return key;
}

/** Node 1, which may have lost that value, starts and has it again. */
async function synchronisesFirst(cluster: VirtualCluster, key: string): Promise<void> {
  cluster.heal();
  await cluster.boot(1);
  await cluster.ready();
  expect(cluster.node(1).stats().counters['entriesCopied']).toBeGreaterThan(0);
  // Node 0, the only one that had it, may go now.
  cluster.kill(0);
  await cluster.sleep(50);
  expect(texts(await cluster.node(2).get('default', key, {}))).toEqual(['new']);
}

describe('restarts', () => {
  test('a clean one keeps store and actor; an unclean one takes a new actor', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      await fill(cluster, 20, 'one');
      const first = cluster.node(0).stats();
      await cluster.stop(0);
      await cluster.boot(0);
      await cluster.ready();
      const second = cluster.node(0).stats();
      expect(second).toMatchObject({ storeId: first.storeId, actorEpoch: first.actorEpoch, boot: first.boot + 1 });
      cluster.kill(0, 'power-loss');
      await cluster.boot(0);
      await cluster.ready();
      const third = cluster.node(0).stats();
      expect(third).toMatchObject({ storeId: first.storeId, boot: first.boot + 2 });
      expect(third.actorEpoch).not.toBe(first.actorEpoch);
      for (const key of await fill(cluster, 20, 'two')) expect(texts(await cluster.node(1).get('default', key, {}))).toEqual(['two']);
    }));

  test('every acknowledged write survives the power loss of all nodes at once', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      const keys = await fill(cluster, 100, 'v');
      for (let i = 0; i < 3; i += 1) cluster.kill(i, 'power-loss');
      await Promise.all([0, 1, 2].map((i) => cluster.boot(i)));
      await cluster.ready();
      for (const key of keys) expect(texts(await cluster.node(2).get('default', key, {}))).toEqual(['v']);
    }));

  test('with fsync: interval a store that lost power synchronises before it counts again', () =>
    scenario(INTERVAL, async (cluster) => {
      const key = await writtenWithout2(cluster);
      cluster.kill(1, 'power-loss');
      await synchronisesFirst(cluster, key);
    }));

  test('after a stop whose last sync failed too: what it had acknowledged may be gone', () =>
    scenario(INTERVAL, async (cluster) => {
      const key = await writtenWithout2(cluster);
      const volume = cluster.volume(1);
      volume.judge = ({ kind, path }) => (kind === 'dataSync' && /\.log(\.new)?$/.test(path) ? 'io' : 'ok');
      await cluster.stop(1);
      volume.judge = () => 'ok';
      volume.powerLoss();
      await synchronisesFirst(cluster, key);
    }));

  test('after a stop on a full disk, which cannot be recorded, is an unclean one', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      await cluster.node(0).put('default', 'k', bytes('v'), {}, { w: 3 });
      const { actorEpoch } = cluster.node(0).stats();
      const volume = cluster.volume(0);
      volume.capacityBytes = volume.medium.usedBytes();
      await cluster.stop(0);
      volume.capacityBytes = Number.POSITIVE_INFINITY;
      await cluster.boot(0);
      await cluster.ready();
      expect(cluster.node(0).stats().actorEpoch).not.toBe(actorEpoch);
      expect(texts(await cluster.node(0).get('default', 'k', { r: 3 }))).toEqual(['v']);
    }));

  test('a single node needs nobody', () =>
    scenario({ nodes: 1, n: 1 }, async (cluster) => {
      await cluster.start();
      await cluster.node(0).put('default', 'k', bytes('v'), {}, {});
      for (const how of ['process-death', 'power-loss'] as const) {
        cluster.kill(0, how);
        await cluster.boot(0);
        expect(cluster.node(0).ready()).toEqual({ ready: true, reasons: [] });
        expect(texts(await cluster.node(0).get('default', 'k', {}))).toEqual(['v']);
      }
    }));

  test('the first node up again serves without the others once it has waited for their word, with a new actor', () =>
    scenario({ nodes: 3, n: 3, buckets: [{ R: 1, W: 1 }] }, async (cluster) => {
      await cluster.start();
      await cluster.node(0).put('default', 'k', bytes('v'), {}, { w: 3 });
      const { actorEpoch } = cluster.node(0).stats();
      for (let i = 0; i < 3; i += 1) await cluster.stop(i);
      await cluster.boot(0);
      expect(cluster.node(0).ready().ready).toBe(false);
      expect(await failure(() => cluster.node(0).get('default', 'k', {}))).toBe('NO_QUORUM');
      await cluster.until(() => cluster.node(0).ready().ready);
      expect(texts(await cluster.node(0).get('default', 'k', {}))).toEqual(['v']);
      expect(cluster.node(0).stats().actorEpoch).not.toBe(actorEpoch);
    }));
});

describe('a wiped store', () => {
  test('comes back as a new store, copies its partitions, and only then counts and coordinates', () =>
    scenario({ nodes: 4, n: 3 }, async (cluster) => {
      await cluster.start();
      const keys = await fill(cluster, 150, 'v');
      const before = cluster.node(1).stats().storeId;
      cluster.kill(1);
      cluster.volume(1).wipe();
      // One other is away, so too few synchronised ones can be reached: it waits, and says so.
      cluster.kill(3);
      await cluster.boot(1);
      await cluster.sleep(3000);
      const waiting = cluster.node(1).stats().synchronisation;
      expect(waiting).toMatchObject({ synchronised: false, waitingFor: expect.stringContaining('node-4') });
      expect(cluster.node(1).ready().reasons.join()).toContain('not synchronised');
      const mine = keys.find((key) => cluster.primaries(key)[0] === 1 && cluster.primaries(key).includes(3)) ?? '';
      expect(await failure(() => cluster.node(1).get('default', mine, { quorum: 'strict' }))).toBe('NO_QUORUM');
      await cluster.boot(3);
      await cluster.ready();
      expect(cluster.node(1).stats().storeId).not.toBe(before);
      expect(cluster.node(0).cluster().members[1]?.id).toBe(cluster.node(1).stats().storeId);
      for (const key of keys) {
        expect(new Set(await cluster.digests(key)).size).toBe(1);
        expect(texts(await cluster.node(1).get('default', key, { r: 1 }))).toEqual(['v']);
      }
      await cluster.node(1).put('default', mine, bytes('w'), {}, {});
      expect(texts(await cluster.node(0).get('default', mine, {}))).toEqual(['w']);
    }));

  test('its old disk is refused for good', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      await fill(cluster, 10, 'v');
      cluster.kill(1);
      const old = cluster.image(1);
      cluster.volume(1).wipe();
      await cluster.boot(1);
      await cluster.ready();
      cluster.kill(1);
      cluster.volume(1).restore(old);
      await cluster.boot(1);
      await cluster.sleep(5000);
      expect(cluster.node(1).ready().reasons.join('\n')).toContain('node-1 refuses this store');
      expect(cluster.node(0).cluster().members[1]?.reachable).toBe(false);
      expect(await failure(() => cluster.node(1).get('default', 'key-1', { r: 1 }))).toBe('NO_QUORUM');
      expect(await failure(() => cluster.node(1).put('default', 'key-1', bytes('w'), {}, { w: 1 }))).toContain('none');
    }));

  test('an interrupted copy goes on where it was', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      const keys = Array.from({ length: 600 }, (_, i) => `key-${String(i)}`);
      const value = bytes('v'.repeat(5000));
      for (const key of keys) await cluster.node(0).put('default', key, value, {}, { w: 3 });
      cluster.kill(2);
      cluster.volume(2).wipe();
      for (const from of ['node-1', 'node-2']) cluster.network.link(from, 'node-3').bytesPerSecond = 3_000_000;
      await cluster.boot(2);
      await cluster.until(() => (cluster.node(2).stats().counters['entriesCopied'] ?? 0) > 900);
      cluster.kill(2);
      await cluster.boot(2);
      await cluster.ready();
      const again = cluster.node(2).stats().counters['entriesCopied'] ?? 0;
      expect(again).toBeGreaterThan(0);
      expect(again).toBeLessThan(700);
      for (const key of keys) expect(new Set(await cluster.digests(key)).size).toBe(1);
    }));
});

describe('a store whose copies rot while it copies', () => {
  test('gives up what it lost and copies anew; while its disk cannot be written it waits before it tries again', () => {
    let failing = false;
    const vfs: ClusterSpec['vfs'] = (disk, position) => ({
      ...wrapFiles(disk, (file) => file),
      open: (path, mode) =>
        position === 2 && failing && path.endsWith('identity.new')
          ? Promise.reject(new VfsError('IO', path, 'open'))
          : disk.open(path, mode),
    });
    return scenario({ nodes: 3, n: 3, vfs }, async (cluster) => {
      await cluster.start();
      const keys = await fill(cluster, 300, 'v'.repeat(1000));
      cluster.kill(2);
      cluster.volume(2).wipe();
      for (const from of ['node-1', 'node-2']) cluster.network.link(from, 'node-3').bytesPerSecond = 300_000;
      await cluster.boot(2);
      await cluster.until(() => (cluster.node(2).stats().counters['entriesCopied'] ?? 0) > 200);
      await cluster.stop(2);
      for (const { path, size } of cluster.volume(2).files()) {
        if (!path.endsWith('.sst')) continue;
        for (let at = 100; at < size - 400; at += 2000) cluster.volume(2).flip(path, at, 0x55);
      }
      for (const from of ['node-1', 'node-2']) cluster.network.link(from, 'node-3').bytesPerSecond = 100_000_000;
      let refused = 0;
      const log = {
        log: (_level: string, event: string): void => {
          if (event === 'copy-not-begun-anew') refused += 1;
        },
      };
      await cluster.boot(2, { log, timings: { copyRetryMs: 500 } });
      failing = true;
      await cluster.until(() => refused > 0);
      await cluster.sleep(5000);
      // Once for each of two sources and each pause, at most.
      expect(refused).toBeLessThanOrEqual(2 * (1 + 5000 / 500));
      failing = false;
      await cluster.ready();
      for (const key of keys) expect((await cluster.node(2).local('default', key)).digest).toBeDefined();
    });
  });
});

describe('a rewound store', () => {
  test('is told so, takes a new actor, and counts again after it has synchronised', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      await fill(cluster, 20, 'old');
      await cluster.stop(0);
      const old = cluster.image(0);
      await cluster.boot(0);
      await cluster.ready();
      const keys = await fill(cluster, 20, 'new');
      const { storeId, actorEpoch, boot } = cluster.node(0).stats();
      cluster.kill(0);
      cluster.volume(0).restore(old);
      await cluster.boot(0);
      await cluster.ready();
      const after = cluster.node(0).stats();
      expect(after.counters['rewinds']).toBe(1);
      expect(after.storeId).toBe(storeId);
      expect(after.actorEpoch).not.toBe(actorEpoch);
      expect(after.boot).toBeGreaterThan(boot);
      for (const key of keys) expect(texts(await cluster.node(0).get('default', key, { r: 1 }))).toEqual(['new']);
    }));

  test('is noticed however often it starts alone before it meets a peer', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      await cluster.stop(0);
      const old = cluster.image(0);
      await cluster.boot(0);
      await cluster.ready();
      const keys = await fill(cluster, 20, 'new');
      await cluster.stop(0);
      cluster.volume(0).restore(old);
      cluster.isolate(0);
      for (let i = 0; i < 4; i += 1) {
        await cluster.boot(0);
        await cluster.sleep(2000);
        await cluster.stop(0);
      }
      cluster.heal();
      await cluster.boot(0);
      await cluster.ready();
      expect(cluster.node(0).stats().counters['rewinds']).toBe(1);
      for (const key of keys) expect(texts(await cluster.node(0).get('default', key, { r: 1 }))).toEqual(['new']);
    }));

  test('is noticed within one run, by the leases that peers saw', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      await fill(cluster, 5, 'old');
      const old = cluster.image(0);
      for (let i = 0; i < 8; i += 1) {
        await cluster.sleep(500);
        await fill(cluster, 5, 'new');
      }
      cluster.kill(0, 'power-loss');
      cluster.volume(0).restore(old);
      await cluster.boot(0);
      await cluster.ready();
      expect(cluster.node(0).stats().counters['rewinds']).toBe(1);
      expect(texts(await cluster.node(0).get('default', 'key-1', { r: 1 }))).toEqual(['new']);
    }));
});

describe('a directory that is not ours', () => {
  test('of another cluster, another member, a newer format, in use, or damaged: each is refused with its own code', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      const volume = cluster.volume(0);
      expect(await failure(() => cluster.boot(0))).toBe('DATA_DIR_IN_USE');
      await cluster.stop(0);
      const image = cluster.image(0);
      const other = { ...cluster.topology, clusterId: 'ffffffffffffffffffffffffffffffff' as typeof cluster.topology.clusterId };
      expect(await failure(() => cluster.boot(0, { topology: other }))).toBe('DATA_DIR_FOREIGN');
      cluster.kill(1);
      cluster.volume(1).restore(image);
      expect(await failure(() => cluster.boot(1))).toBe('DATA_DIR_FOREIGN');
      const at = 'coterie-identity '.length;
      volume.flip('/data/identity', at, '1'.charCodeAt(0) ^ '9'.charCodeAt(0));
      expect(await failure(() => cluster.boot(0))).toBe('DATA_DIR_NEWER');
      volume.restore(image);
      volume.flip('/data/identity', 100, 0x01);
      expect(await failure(() => cluster.boot(0))).toBe('DATA_DAMAGED');
    }));
});
