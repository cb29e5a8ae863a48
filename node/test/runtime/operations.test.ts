import { describe, expect, test } from '@jest/globals';

import { bytes, contextIn, failure, scenario, texts } from './virtual-cluster.ts';

const ID = bytes('0123456789abcdef');

describe('operation ids', () => {
  test('a retry through another coordinator is the same write: one version, the same answer', () =>
    scenario({ nodes: 5, n: 3 }, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0);
      const first = await cluster.node(4).put('default', key, bytes('v'), {}, { operationId: ID });
      expect(first.existed).toBe(false);
      cluster.kill(0);
      await cluster.sleep(50);
      const again = await cluster.node(3).put('default', key, bytes('v'), {}, { operationId: ID });
      expect(again.existed).toBe(false);
      const read = await cluster.node(4).get('default', key, {});
      expect(texts(read)).toEqual(['v']);
      const repeated = cluster.up.map((node) => node.stats().counters['operationsRepeated'] ?? 0);
      expect(repeated.reduce((sum, n) => sum + n, 0)).toBe(1);
    }));

  test('a coordinator that missed the first attempt asks the others before it writes', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0, 1, 2);
      await cluster.node(0).put('default', key, bytes('base'), {}, { w: 3 });
      const { context } = await cluster.node(0).get('default', key, {});
      if (context === undefined) throw new Error('no context');
      cluster.kill(0);
      await cluster.sleep(50);
      await cluster.node(1).put('default', key, bytes('v'), {}, { operationId: ID, context });
      await cluster.boot(0);
      await cluster.ready();
      // Node 0 coordinates again, and its own copy knows nothing of the operation.
      await cluster.node(2).put('default', key, bytes('v'), {}, { operationId: ID, context });
      expect(cluster.node(0).stats().counters['gathers']).toBe(1);
      expect(cluster.node(0).stats().counters['operationsRepeated']).toBe(1);
      expect(texts(await cluster.node(2).get('default', key, { r: 3 }))).toEqual(['v']);
    }));

  test('the same id with another body is refused before any effect, through any node', () =>
    scenario({ nodes: 4, n: 3 }, async (cluster) => {
      await cluster.start();
      await cluster.node(0).put('default', 'k', bytes('v'), {}, { operationId: ID });
      for (const node of cluster.up) {
        expect(await failure(() => node.put('default', 'k', bytes('other'), {}, { operationId: ID }))).toBe('OPERATION_ID_REUSED none');
        expect(await failure(() => node.delete('default', 'k', { operationId: ID }))).toBe('OPERATION_ID_REUSED none');
      }
      expect(texts(await cluster.node(1).get('default', 'k', {}))).toEqual(['v']);
    }));

  test('a retry after a time-out finishes the write that had begun', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0, 1, 2);
      cluster.isolate(0, [2]);
      const options = { operationId: ID, timeoutMs: 200, w: 3 };
      expect(await failure(() => cluster.node(0).put('default', key, bytes('v'), {}, options))).toBe('TIMEOUT unknown');
      cluster.heal();
      await cluster.ready();
      await cluster.node(1).put('default', key, bytes('v'), {}, { operationId: ID, w: 3 });
      expect(texts(await cluster.node(2).get('default', key, { r: 3 }))).toEqual(['v']);
      expect(new Set(await cluster.digests(key)).size).toBe(1);
    }));

  test('a retry finds an attempt that only the replica that answers last has seen', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0, 1, 2);
      const first = failure(() => cluster.node(0).put('default', key, bytes('v'), {}, { operationId: ID, timeoutMs: 200 }));
      // Its copies are asked for, and come; what it then sends does not arrive.
      await cluster.sleep(0.45);
      cluster.network.block('node-1', 'node-2');
      cluster.network.block('node-1', 'node-3');
      expect(await first).toBe('TIMEOUT unknown');
      cluster.network.reset('node-1', 'node-2');
      cluster.network.reset('node-1', 'node-3');
      cluster.heal();
      await cluster.sleep(500);
      await cluster.ready();
      expect((await cluster.node(1).local('default', key)).digest).toBeUndefined();
      // Node 0 does not coordinate now, and is slow to answer.
      cluster.clock(0).offsetUs = -5_000_000;
      cluster.network.link('node-1', 'node-2').delayUs = 10_000;
      await cluster.node(1).put('default', key, bytes('v'), {}, { operationId: ID });
      expect(cluster.node(1).stats().counters['operationsRepeated']).toBe(1);
    }));

  test('many retries at once through all nodes make one version', () =>
    scenario({ nodes: 5, n: 3 }, async (cluster) => {
      await cluster.start();
      const context = contextIn(await cluster.node(0).put('default', 'k', bytes('base'), {}, {}));
      await Promise.all(
        [0, 1, 2, 3, 4].map(async (i) => cluster.node(i).put('default', 'k', bytes('v'), {}, { operationId: ID, context })),
      );
      expect(texts(await cluster.node(0).get('default', 'k', { r: 3 }))).toEqual(['v']);
    }));
});

describe('blind writes', () => {
  test(
    '10,000 through three coordinators end with one value everywhere',
    () =>
      scenario({ nodes: 3, n: 3 }, async (cluster) => {
        await cluster.start();
        for (let round = 0; round < 100; round += 1) {
          await Promise.all(
            Array.from({ length: 100 }, async (_, i) =>
              cluster.node(i % 3).put('default', 'k', bytes(`${String(round)}-${String(i)}`), {}, { w: 1 + (i % 3) }),
            ),
          );
        }
        const read = await cluster.node(1).get('default', 'k', { r: 3 });
        expect(read.versions).toHaveLength(1);
        await cluster.until(async () => new Set(await cluster.digests('k')).size === 1);
      }),
    30_000,
  );

  test('with blindWrites: quorum a coordinator that was away sees what it replaces', () =>
    scenario({ nodes: 3, n: 3, buckets: [{ blindWrites: 'quorum' }] }, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0, 1, 2);
      const context = contextIn(await cluster.node(0).put('default', key, bytes('base'), {}, { w: 3 }));
      cluster.kill(0);
      await cluster.sleep(50);
      await cluster.node(1).put('default', key, bytes('with context'), {}, { context });
      await cluster.boot(0);
      await cluster.ready();
      await cluster.node(0).put('default', key, bytes('blind'), {}, {});
      expect(texts(await cluster.node(2).get('default', key, { r: 3 }))).toEqual(['blind']);
    }));

  test('EXPIRE through a coordinator that missed the value finds it', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0, 1, 2);
      cluster.kill(0);
      await cluster.sleep(50);
      await cluster.node(1).put('default', key, bytes('v'), {}, {});
      await cluster.boot(0);
      await cluster.ready();
      const atMs = cluster.node(0).nowMs() + 60_000;
      expect(await cluster.node(0).expire('default', key, atMs, {})).toMatchObject({ changed: true });
      expect((await cluster.node(2).get('default', key, {})).versions[0]?.expireAtMs).toBe(atMs);
    }));
});

describe('clocks', () => {
  test('a node whose wall clock is far ahead is refused by the others; another primary takes its writes', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0, 1, 2);
      cluster.clock(0).offsetUs = 3_600_000_000;
      expect(await failure(() => cluster.node(0).put('default', key, bytes('v'), {}, { timeoutMs: 500 }))).toBe('TIMEOUT unknown');
      expect(await failure(() => cluster.node(1).put('default', cluster.keyOn(1), bytes('v'), {}, {}))).toBeUndefined();
      // What it has written is no answer to the others, and does not stand in the way of theirs, though it comes first.
      cluster.network.link('node-3', 'node-2').delayUs = 20_000;
      expect(texts(await cluster.node(1).get('default', key, {}))).toEqual([]);
      const other = cluster.keyOn(1, 0);
      await cluster.node(1).put('default', other, bytes('w'), {}, {});
      expect(texts(await cluster.node(2).get('default', other, {}))).toEqual(['w']);
    }));

  test('a node whose wall clock was set back does not coordinate until it has caught up', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0, 1, 2);
      await cluster.node(0).put('default', key, bytes('one'), {}, {});
      cluster.clock(0).offsetUs = -5_000_000;
      await cluster.node(0).put('default', key, bytes('two'), {}, {});
      expect(cluster.node(1).stats().counters['coordinated']).toBe(1);
      expect(cluster.node(0).ready().reasons.join()).toContain('behind the times');
      expect(texts(await cluster.node(0).get('default', key, {}))).toEqual(['two']);
      await cluster.sleep(6000);
      expect(cluster.node(0).ready().ready).toBe(true);
    }));
});
