/** Overload of one node of a cluster: what waits, what is refused before any effect, and in what order. */

import { describe, expect, test } from '@jest/globals';

import type { NodeOptions } from '../../src/runtime/options.ts';
import { bytes, failure, scenario, texts, type VirtualCluster } from './virtual-cluster.ts';

const small = (operations: number, waiting: number): Partial<NodeOptions> => ({ limits: { operations, waiting } });

/** Puts a key after each pause, and lists how they ended, in the order in which they did. */
async function puts(cluster: VirtualCluster, keys: readonly string[], pauseMs: number, timeoutMs = 5000): Promise<string[]> {
  const ended: string[] = [];
  const all: Promise<void>[] = [];
  for (const key of keys) {
    all.push(
      failure(() => cluster.node(0).put('default', key, bytes(key), {}, { timeoutMs })).then((code) => {
        ended.push(code === undefined ? key : `${key} ${code}`);
      }),
    );
    await cluster.sleep(pauseMs);
  }
  await Promise.all(all);
  return ended;
}

async function shown(cluster: VirtualCluster, keys: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const key of keys) found.push(...texts(await cluster.node(1).get('default', key, { r: 3 })));
  return found;
}

describe('admission', () => {
  test('a burst waits and is served in order; what has no place is refused and leaves nothing', () =>
    scenario({ nodes: 3, n: 3, options: small(1, 2) }, async (cluster) => {
      await cluster.start();
      const keys = ['a', 'b', 'c', 'd', 'e'];
      expect(await puts(cluster, keys, 0)).toEqual(['d BUSY none', 'e BUSY none', 'a', 'b', 'c']);
      expect(await shown(cluster, keys)).toEqual(['a', 'b', 'c']);
      const { operationsInFlight, operationsWaiting, counters } = cluster.node(0).stats();
      expect([operationsInFlight, operationsWaiting, counters['waited'], counters['busy']]).toEqual([0, 0, 2, 2]);
    }));

  test('a value that waits is the one that was handed in', () =>
    scenario({ nodes: 3, n: 3, options: small(1, 2) }, async (cluster) => {
      await cluster.start();
      const first = cluster.node(0).put('default', 'a', bytes('a'), {}, {});
      const value = bytes('as it was');
      const second = cluster.node(0).put('default', 'b', value, {}, {});
      value.fill(0);
      await Promise.all([first, second]);
      expect(await shown(cluster, ['b'])).toEqual(['as it was']);
    }));

  test('what waits past its deadline is refused before any effect, not timed out', () =>
    scenario({ nodes: 3, n: 3, options: small(1, 4) }, async (cluster) => {
      await cluster.start();
      const late = 'late';
      // Nobody answers: the first write holds the only place until its time is over.
      cluster.isolate(0);
      const first = failure(() => cluster.node(0).put('default', cluster.keyOn(0), bytes('slow'), {}, { timeoutMs: 400 }));
      const startMs = cluster.world.nowUs / 1000;
      expect(await failure(() => cluster.node(0).put('default', late, bytes(late), {}, { timeoutMs: 100 }))).toBe('BUSY none');
      expect(cluster.world.nowUs / 1000 - startMs).toBeLessThan(120);
      expect(await first).toMatch(/^(TIMEOUT unknown|NO_QUORUM none)$/);
      cluster.heal();
      await cluster.ready();
      expect(await shown(cluster, [late])).toEqual([]);
    }));

  test('under overload the newest goes first, and nobody waits for long', () =>
    scenario({ nodes: 3, n: 3, options: small(1, 3) }, async (cluster) => {
      await cluster.start();
      // More than an interval of pressure without a break: one write takes about 2 ms, and two come each 2 ms.
      const crowd = Array.from({ length: 400 }, (_, i) => `crowd-${String(i)}`);
      const endedMs = new Map<string, number>();
      const beganMs = new Map<string, number>();
      const outcomes = new Map<string, string | undefined>();
      const all: Promise<void>[] = [];
      const nowMs = (): number => cluster.world.nowUs / 1000;
      for (const [at, key] of crowd.entries()) {
        beganMs.set(key, nowMs());
        all.push(
          failure(() => cluster.node(0).put('default', key, bytes(key), {}, {})).then((code) => {
            outcomes.set(key, code);
            endedMs.set(key, nowMs());
          }),
        );
        if (at % 2 === 1) await cluster.sleep(2);
      }
      await Promise.all(all);
      const tookMs = (key: string): number => (endedMs.get(key) ?? 0) - (beganMs.get(key) ?? 0);
      // Once it is overload, who is served has waited at most for the one before, and who is not learns it soon.
      const late = crowd.slice(300);
      const served = late.filter((key) => outcomes.get(key) === undefined);
      const refused = late.filter((key) => outcomes.get(key) === 'BUSY none');
      expect(served.length + refused.length).toBe(late.length);
      expect(served.length).toBeGreaterThan(late.length / 4);
      // The line is looked through each 5 ms.
      expect(Math.max(...refused.map(tookMs))).toBeLessThan(5 + 5 + 0.1);
      expect(Math.max(...served.map(tookMs))).toBeLessThan(5 + 5);
      // Of two that came together the second is served first, or alone.
      const pairs = late.flatMap((key, at) => (at % 2 === 0 ? [[key, late[at + 1] ?? ''] as const] : []));
      const inOrder = pairs.filter(
        ([older, newer]) =>
          outcomes.get(older) === undefined &&
          (outcomes.get(newer) !== undefined || (endedMs.get(older) ?? 0) < (endedMs.get(newer) ?? 0)) &&
          tookMs(older) > 3,
      );
      expect(inOrder.length).toBeLessThan(pairs.length / 10);
      expect(await shown(cluster, refused.slice(0, 20))).toEqual([]);
      await cluster.sleep(1000);
      expect(await puts(cluster, ['x', 'y', 'z'], 0)).toEqual(['x', 'y', 'z']);
    }));

  test('reads and scans wait and are refused like writes, and a scan does not wait for its own reads', () =>
    scenario({ nodes: 3, n: 3, options: small(1, 1) }, async (cluster) => {
      await cluster.start();
      for (const key of ['a', 'b', 'c']) await cluster.node(0).put('default', key, bytes(key), {}, {});
      const node = cluster.node(0);
      const [scan, read, refused] = await Promise.allSettled([
        node.scan('default', '0', 10, {}),
        Promise.resolve(node.get('default', 'a', {})),
        node.scan('default', '0', 10, {}),
      ]);
      expect(scan).toMatchObject({ status: 'fulfilled', value: { cursor: '0' } });
      expect(read).toMatchObject({ status: 'fulfilled' });
      expect(refused).toMatchObject({ status: 'rejected', reason: { code: 'BUSY', outcome: 'none' } });
    }));

  test('a store that stops its writers for its compactions holds a closed loop back, which is refused nothing', () => {
    const engine = { memtableBytes: 64 * 1024, level0Compact: 1, level0Slow: 1, level0Stop: 1, backgroundShare: () => 0.01 };
    return scenario({ nodes: 1, n: 1, options: { engine } }, async (cluster) => {
      await cluster.start();
      const node = cluster.node(0);
      const { operationsLimit } = node.stats();
      for (let round = 0; round < 30; round += 1) {
        const keys = Array.from({ length: 100 }, (_, index) => `${String(round)}-${String(index)}`);
        const ends = await Promise.all(keys.map((key) => failure(() => node.put('default', key, new Uint8Array(100), {}, {}))));
        expect(ends.filter((end) => end !== undefined)).toEqual([]);
        expect(node.stats().operationsLimit).toBe(operationsLimit);
      }
      expect(node.stats().engine['stalledMs']).toBeGreaterThan(2000);
    });
  });

  test('a node that stops refuses what waits', () =>
    scenario({ nodes: 3, n: 3, options: small(1, 4) }, async (cluster) => {
      await cluster.start();
      const node = cluster.node(0);
      const ends = ['a', 'b'].map((key) => failure(() => node.put('default', key, bytes(key), {}, {})));
      await cluster.stop(0);
      expect(await Promise.all(ends)).toEqual([undefined, 'CLOSED none']);
    }));
});
