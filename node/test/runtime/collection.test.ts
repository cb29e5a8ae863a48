import { describe, expect, test } from '@jest/globals';

import { DEFAULT_TIMINGS } from '../../src/runtime/options.ts';
import { bytes, type ClusterSpec, failure, scenario, texts, type VirtualCluster } from './virtual-cluster.ts';

const THREE: ClusterSpec = { nodes: 3, n: 3, q: 4, options: { timings: { ...DEFAULT_TIMINGS, collectMs: 800 } } };

async function put(cluster: VirtualCluster, keys: readonly string[], value: string): Promise<void> {
  for (const key of keys) await cluster.up[0]?.put('default', key, bytes(value), {}, { w: cluster.up.length });
}

async function remove(cluster: VirtualCluster, keys: readonly string[], w = cluster.up.length): Promise<void> {
  for (const key of keys) await cluster.up[0]?.delete('default', key, { w });
}

/** Whether no node that is up has anything of the keys. */
async function isGone(cluster: VirtualCluster, keys: readonly string[]): Promise<boolean> {
  for (const node of cluster.up) {
    for (const key of keys) if ((await node.local('default', key)).bytes !== undefined) return false;
  }
  return true;
}

/** Entries on the disks and in memory that are not values for good. */
function entries(cluster: VirtualCluster): number {
  return cluster.up.reduce((sum, node) => {
    const levels = node.stats().engine['levels'] as readonly { readonly entries: number }[];
    return sum + levels.reduce((all, level) => all + level.entries, 0);
  }, 0);
}

/** Entries that compactions have dropped because they were collected. */
function reclaimed(cluster: VirtualCluster, name: string): number {
  return cluster.up.reduce((sum, node) => sum + ((node.stats().engine['counters'] as Readonly<Record<string, number>>)[name] ?? 0), 0);
}

function count(cluster: VirtualCluster, name: string): number {
  return cluster.up.reduce((sum, node) => sum + (node.stats().counters[name] ?? 0), 0);
}

const KEYS = Array.from({ length: 20 }, (_, i) => `key-${String(i)}`);

describe('collecting', () => {
  test('what is deleted goes from every store, and its space too', () =>
    scenario(THREE, async (cluster) => {
      await cluster.start();
      await put(cluster, KEYS, 'v');
      await remove(cluster, KEYS);
      await cluster.until(() => isGone(cluster, KEYS));
      await cluster.until(() => count(cluster, 'candidatesCollected') === KEYS.length);
      await cluster.until(() => reclaimed(cluster, 'tombstonesCollected') === 3 * KEYS.length && entries(cluster) === 0);
      for (const key of KEYS) expect(texts(await cluster.node(1).get('default', key, { r: 3 }))).toEqual([]);
      // A key that was collected is as new.
      await put(cluster, KEYS, 'again');
      for (const key of KEYS) expect(texts(await cluster.node(2).get('default', key, { r: 3 }))).toEqual(['again']);
      await cluster.sleep(5000);
      expect(await isGone(cluster, KEYS.slice(0, 1))).toBe(false);
    }));

  test('what has expired goes too, not before its time, and what lives stays', () =>
    scenario(THREE, async (cluster) => {
      await cluster.start();
      const atMs = cluster.node(0).nowMs() + 5000;
      for (const key of KEYS) await cluster.node(0).put('default', key, bytes('v'), { expireAtMs: atMs }, { w: 3 });
      await put(cluster, ['lasting'], 'v');
      await cluster.sleep(4000);
      for (const key of KEYS) expect(texts(await cluster.node(1).get('default', key, { r: 3 }))).toEqual(['v']);
      await cluster.until(() => isGone(cluster, KEYS));
      expect(cluster.node(0).nowMs()).toBeGreaterThan(atMs + 500);
      await cluster.until(() => reclaimed(cluster, 'expiredCollected') === 3 * KEYS.length && entries(cluster) <= 3);
      expect(texts(await cluster.node(1).get('default', 'lasting', { r: 3 }))).toEqual(['v']);
    }));

  test('replicas agree on an expiry within the bound of their clocks', () =>
    scenario(THREE, async (cluster) => {
      const apartMs = 400;
      for (const [position, { clock }] of cluster.hosts.entries()) clock.offsetUs = position * (apartMs / 2) * 1000;
      await cluster.start();
      const [early, late] = [cluster.node(2), cluster.node(0)];
      const atMs = early.nowMs() + 2000;
      await early.put('default', 'key', bytes('v'), { expireAtMs: atMs }, { w: 3 });
      const goneMs: number[] = [];
      while (goneMs.length < 3) {
        for (const node of cluster.up) {
          const gone = texts(await node.get('default', 'key', { r: 3 })).length === 0;
          if (gone && !goneMs.includes(node.nowMs() - atMs) && goneMs.length < 3) goneMs.push(node.nowMs() - atMs);
          // Each by its own clock, to the millisecond.
          expect(gone).toBe(node.nowMs() >= atMs);
        }
        await cluster.sleep(10);
      }
      await cluster.until(() => late.nowMs() >= atMs);
      expect(early.nowMs() - late.nowMs()).toBeLessThanOrEqual(apartMs);
      for (const node of cluster.up) expect(texts(await node.get('default', 'key', { r: 3 }))).toEqual([]);
      await cluster.until(() => isGone(cluster, ['key']));
    }));

  test('repair brings no expired value back, and no replica keeps it', () =>
    scenario({ ...THREE, options: { timings: { ...DEFAULT_TIMINGS, collectMs: 20_000, repairMs: 1000 } } }, async (cluster) => {
      await cluster.start();
      cluster.isolate(2);
      await cluster.until(() => cluster.node(0).cluster().members[2]?.state === 'unreachable');
      const atMs = cluster.node(0).nowMs() + 2000;
      for (const key of KEYS) await cluster.node(0).put('default', key, bytes('v'), { expireAtMs: atMs }, { w: 2 });
      await cluster.sleep(3000);
      cluster.heal();
      await cluster.ready();
      // What has expired is repaired like anything else: replicas are to be equal, and to collect the same.
      await cluster.until(
        async () => new Set(await cluster.digests('key-0')).size === 1 && (await cluster.digests('key-0'))[0] !== undefined,
      );
      for (const node of cluster.up) for (const key of KEYS) expect(texts(await node.get('default', key, { r: 3 }))).toEqual([]);
      await cluster.until(() => isGone(cluster, KEYS));
      await cluster.sleep(10_000);
      expect(await isGone(cluster, KEYS)).toBe(true);
      for (const node of cluster.up) for (const key of KEYS) expect(texts(await node.get('default', key, { r: 3 }))).toEqual([]);
    }));

  test('a delete with an operation id stays for its retries', () =>
    scenario({ ...THREE, options: { timings: { ...DEFAULT_TIMINGS, collectMs: 8000 } } }, async (cluster) => {
      await cluster.start();
      const operationId = new Uint8Array(16).fill(7);
      await cluster.node(0).put('default', 'key', bytes('v'), {}, { w: 3, operationId });
      await remove(cluster, ['key']);
      await cluster.sleep(540_000);
      // The retry of a write that was deleted since changes nothing.
      await cluster.node(1).put('default', 'key', bytes('v'), {}, { w: 3, operationId });
      expect(texts(await cluster.node(2).get('default', 'key', { r: 3 }))).toEqual([]);
      await cluster.sleep(120_000);
      expect(await isGone(cluster, ['key'])).toBe(true);
    }));

  test('a replica that was away blocks it, is named, and revives nothing when it is back', () =>
    scenario(THREE, async (cluster) => {
      await cluster.start();
      await put(cluster, KEYS, 'v');
      cluster.isolate(2);
      await cluster.until(() => cluster.node(0).cluster().members[2]?.state === 'unreachable');
      await remove(cluster, KEYS, 2);
      await cluster.sleep(600_000);
      expect(count(cluster, 'partitionsCollected')).toBe(0);
      const led = [0, 1].map((position) => cluster.node(position).cluster().collection);
      for (const { blocked, partitions } of led) {
        if (partitions > 0) expect(blocked).toEqual([{ member: 'node-3', why: 'unreachable', partitions }]);
      }
      cluster.heal();
      await cluster.until(() => isGone(cluster, KEYS));
      for (const key of KEYS) expect(texts(await cluster.node(2).get('default', key, { r: 3 }))).toEqual([]);
      expect(cluster.node(0).cluster().collection.blocked).toEqual([]);
    }));

  test('a restored old disk is emptied of what was collected, before it gives or counts', () =>
    scenario(THREE, async (cluster) => {
      await cluster.start();
      await put(cluster, [...KEYS, 'lasting'], 'v');
      await cluster.sleep(3000);
      const old = cluster.image(1);
      await remove(cluster, KEYS);
      await put(cluster, ['lasting'], 'later');
      await cluster.until(() => isGone(cluster, KEYS));
      cluster.kill(1);
      cluster.volume(1).restore(old);
      await cluster.boot(1);
      await cluster.ready();
      expect(cluster.node(1).stats().counters['partitionsEmptied']).toBeGreaterThan(0);
      expect(await isGone(cluster, KEYS)).toBe(true);
      for (const key of KEYS) expect(texts(await cluster.node(1).get('default', key, { r: 3 }))).toEqual([]);
      expect(texts(await cluster.node(1).get('default', 'lasting', { r: 1 }))).toEqual(['later']);
    }));

  test('a wiped disk joins whatever the generation', () =>
    scenario(THREE, async (cluster) => {
      await cluster.start();
      await put(cluster, KEYS, 'v');
      await remove(cluster, KEYS);
      await cluster.until(() => isGone(cluster, KEYS));
      await put(cluster, ['lasting'], 'v');
      const empty = new (cluster.image(1).constructor as new () => ReturnType<VirtualCluster['image']>)();
      cluster.kill(1);
      cluster.volume(1).restore(empty);
      await cluster.boot(1);
      await cluster.ready();
      expect(texts(await cluster.node(1).get('default', 'lasting', { r: 1 }))).toEqual(['v']);
      await put(cluster, ['more'], 'v');
      await remove(cluster, ['more']);
      await cluster.until(() => isGone(cluster, ['more']));
    }));

  test.each([3, 10, 30, 60, 90, 120, 150, 200, 300, 500])(
    'its leader may die, %i ms after a delete: nothing comes back, and it goes on',
    (ms) =>
      scenario({ ...THREE, q: 1, options: { timings: { ...DEFAULT_TIMINGS, collectMs: 400 } } }, async (cluster) => {
        await cluster.start();
        const leader = cluster.primaries('key')[0] ?? 0;
        await put(cluster, KEYS, 'v');
        await remove(cluster, KEYS);
        await cluster.sleep(ms);
        cluster.kill(leader, 'power-loss');
        await cluster.sleep(50);
        await cluster.boot(leader);
        await cluster.ready();
        const node = cluster.node(leader);
        // Until the others have found out that its old connections are dead.
        await cluster.until(async () => (await failure(() => node.get('default', 'key-0', { r: 3 }))) === undefined);
        for (const key of KEYS) expect(texts(await node.get('default', key, { r: 3 }))).toEqual([]);
        await cluster.until(() => isGone(cluster, KEYS));
        for (const key of KEYS) expect(texts(await node.get('default', key, { r: 3 }))).toEqual([]);
      }),
  );

  test('replicas that differ are made equal first', () =>
    scenario(THREE, async (cluster) => {
      await cluster.start();
      await put(cluster, KEYS, 'v');
      // Deletes that reach one replica only: the others still have the value.
      for (const key of KEYS) {
        const [first = 0, second = 0, third = 0] = cluster.primaries(key);
        cluster.isolate(first, [second, third]);
        await failure(() => cluster.node(first).delete('default', key, { w: 1, timeoutMs: 20 }));
        cluster.heal();
      }
      await cluster.ready();
      await cluster.until(() => isGone(cluster, KEYS));
      for (const key of KEYS) expect(texts(await cluster.node(1).get('default', key, { r: 3 }))).toEqual([]);
    }));

  /** A key whose third primary missed a write, so that a fallback keeps a hint of it. */
  async function hinted(cluster: VirtualCluster): Promise<{ readonly key: string; readonly fallback: number }> {
    const key = cluster.keyOn(0, 1, 2);
    cluster.kill(2);
    await cluster.until(() => cluster.up.every((node) => node.cluster().members[2]?.state !== 'connected'));
    await cluster.node(0).put('default', key, bytes('v'), {}, { w: 3 });
    return { key, fallback: [3, 4].find((position) => cluster.node(position).stats().hints.hints > 0) ?? -1 };
  }

  const FIVE: ClusterSpec = { nodes: 5, n: 3, options: { timings: { ...DEFAULT_TIMINGS, collectMs: 800 } } };

  test('a hint that is kept blocks it, by name, and goes home first', () =>
    scenario(FIVE, async (cluster) => {
      await cluster.start();
      const { key, fallback } = await hinted(cluster);
      // Its primary is reachable for the rounds, and not for hints.
      cluster.isolate(fallback, [2]);
      await cluster.boot(2);
      await cluster.node(0).delete('default', key, { w: 2 });
      await cluster.sleep(20_000);
      expect(await isGone(cluster, [key])).toBe(false);
      const [first = 0] = cluster.primaries(key);
      const { blocked } = cluster.node(first).cluster().collection;
      expect(blocked).toContainEqual({ member: `node-${String(fallback + 1)}`, why: 'hints', partitions: 1 });
      cluster.heal();
      await cluster.until(() => isGone(cluster, [key]));
      for (const node of cluster.up) expect(texts(await node.get('default', key, { r: 3 }))).toEqual([]);
    }));

  test('a hint on a restored old disk is neither shown nor handed off, and is dropped', () =>
    scenario(FIVE, async (cluster) => {
      await cluster.start();
      const { key, fallback } = await hinted(cluster);
      const old = cluster.image(fallback);
      await cluster.boot(2);
      await cluster.until(() => cluster.node(fallback).stats().hints.hints === 0);
      await cluster.node(0).delete('default', key, { w: 3 });
      await cluster.until(() => isGone(cluster, [key]));
      cluster.kill(fallback);
      cluster.volume(fallback).restore(old);
      cluster.kill(2);
      await cluster.boot(fallback);
      for (let times = 0; times < 50; times += 1) {
        for (const node of cluster.up) {
          // A node that finds its disk old, or its peers gone, may refuse; it may not show what was deleted.
          let shown: readonly string[] = [];
          const failed = await failure(async () => {
            shown = texts(await node.get('default', key, { r: 1 + (times % 2), timeoutMs: 200 }));
          });
          expect([shown, failed ?? 'answered']).toEqual([[], expect.stringMatching(/^(answered|NO_QUORUM|NOT_SYNCHRONISED|TIMEOUT)/)]);
        }
        await cluster.sleep(100);
      }
      await cluster.boot(2);
      await cluster.ready();
      await cluster.until(() => cluster.node(fallback).stats().hints.hints === 0);
      expect(cluster.node(fallback).stats().counters['hintsOutlived']).toBe(1);
      for (const node of cluster.up) expect(texts(await node.get('default', key, { r: 3 }))).toEqual([]);
      expect(await isGone(cluster, [key])).toBe(true);
    }));

  test('polled while it is collected, a deleted key answers nothing, and goes for good', () =>
    scenario(THREE, async (cluster) => {
      await cluster.start();
      await put(cluster, ['key'], 'v');
      await remove(cluster, ['key']);
      let over = false;
      const polling = (async (): Promise<void> => {
        for (let at = 0; !over; at += 1) {
          expect(texts(await cluster.node(at % 3).get('default', 'key', { r: 1 + (at % 3) }))).toEqual([]);
          await cluster.sleep(1);
        }
      })();
      await cluster.until(() => isGone(cluster, ['key']));
      await cluster.until(() => reclaimed(cluster, 'tombstonesCollected') === 3 && entries(cluster) === 0);
      await cluster.sleep(3000);
      over = true;
      await polling;
      expect(await isGone(cluster, ['key'])).toBe(true);
      expect(count(cluster, 'candidatesCollected')).toBe(1);
    }));
});
