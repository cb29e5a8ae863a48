import { describe, expect, test } from '@jest/globals';

import type { CoterieNode } from '../../src/runtime/node.ts';
import { bytes, failure, scenario } from './virtual-cluster.ts';

async function scanAll(nodes: readonly CoterieNode[], bucket: string, count: number): Promise<{ keys: string[]; pages: number }> {
  const keys: string[] = [];
  let cursor = '0';
  let pages = 0;
  do {
    // Any node goes on from a cursor.
    const page = await nodes[pages % nodes.length]?.scan(bucket, cursor, count, {});
    keys.push(...(page?.keys ?? []));
    cursor = page?.cursor ?? '0';
    pages += 1;
  } while (cursor !== '0');
  return { keys, pages };
}

describe('scan', () => {
  test('answers every key of the bucket once where nothing changes, page by page through different nodes', () =>
    scenario({ nodes: 5, n: 3, q: 64, buckets: [{}, {}] }, async (cluster) => {
      await cluster.start();
      expect(await cluster.node(0).scan('default', '0', 10, {})).toEqual({ cursor: '0', keys: [] });
      const keys = Array.from({ length: 300 }, (_, i) => `key-${String(i)}`);
      for (const [i, key] of keys.entries()) await cluster.node(i % 5).put(i % 3 === 0 ? 'bucket-1' : 'default', key, bytes('v'), {}, {});
      const wanted = keys.filter((_, i) => i % 3 !== 0);
      for (const count of [1, 7, 50, 10_000]) {
        const { keys: found } = await scanAll(cluster.up, 'default', count);
        expect(found.length).toBe(wanted.length);
        expect(found.sort()).toEqual([...wanted].sort());
      }
      expect(await cluster.node(2).count('default', {})).toBe(200);
      expect(await cluster.node(2).count('bucket-1', {})).toBe(100);
    }));

  test('is complete for keys that are there throughout, while others come and go and a node is away', () =>
    scenario({ nodes: 5, n: 3, q: 64 }, async (cluster) => {
      await cluster.start();
      const keys = Array.from({ length: 200 }, (_, i) => `stays-${String(i)}`);
      for (const key of keys) await cluster.node(0).put('default', key, bytes('v'), {}, {});
      cluster.kill(4);
      await cluster.sleep(50);
      let running = true;
      const churn = (async (): Promise<void> => {
        for (let i = 0; running; i += 1) {
          await cluster.node(i % 4).put('default', `churn-${String(i % 50)}`, bytes('v'), {}, {});
          if (i % 2 === 0) await cluster.node(i % 4).delete('default', `churn-${String((i * 7) % 50)}`, {});
        }
      })();
      for (let round = 0; round < 3; round += 1) {
        const { keys: found } = await scanAll(cluster.up, 'default', 20);
        expect(keys.filter((key) => !found.includes(key))).toEqual([]);
      }
      running = false;
      await churn;
    }));

  test('finds a key that only some replicas have, and does not show one that was deleted', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      await cluster.node(0).put('default', 'deleted', bytes('v'), {}, { w: 3 });
      cluster.kill(2);
      await cluster.sleep(50);
      await cluster.node(0).put('default', 'new', bytes('v'), {}, {});
      await cluster.node(0).delete('default', 'deleted', {});
      await cluster.boot(2);
      await cluster.ready();
      expect((await cluster.node(2).scan('default', '0', 100, {})).keys).toEqual(['new']);
      await cluster.node(1).put('default', 'brief', bytes('v'), { expireAtMs: cluster.node(1).nowMs() + 100 }, {});
      await cluster.sleep(200);
      expect(await cluster.node(1).count('default', {})).toBe(1);
    }));

  test('fails where too few replicas can be asked', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      cluster.kill(1);
      cluster.kill(2);
      await cluster.sleep(50);
      expect(await failure(() => cluster.node(0).scan('default', '0', 10, {}))).toBe('NO_QUORUM');
    }));
});
