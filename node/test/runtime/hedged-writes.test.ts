/** Writes whose coordinator is silent (runtime/hedged-write.ts). */

import { describe, expect, test } from '@jest/globals';

import { SHIPPED_POLICIES } from '../../src/runtime/policies.ts';
import { bytes, failure, scenario, texts, type VirtualCluster } from './virtual-cluster.ts';

const count = (cluster: VirtualCluster, position: number, name: string): number => cluster.node(position).stats().counters[name] ?? 0;

/** Stops the process as SIGSTOP does; answers what lets it go on. */
function pause(cluster: VirtualCluster, position: number): () => void {
  const { process } = cluster.hosts[position] ?? {};
  if (process === undefined) throw new Error('not running');
  process.pause();
  return () => {
    process.resume();
  };
}

const FIVE = { nodes: 5, n: 3 } as const;
/** Long before any of them is avoided, and long after the first begins a write no more. */
const SOON_MS = 250;

describe('a write whose coordinator is silent', () => {
  test.each(['stopped', 'cut off', 'dead'])('is made by the second primary where the first is %s', (how) =>
    scenario(FIVE, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0);
      const [, second = -1] = cluster.primaries(key);
      const [outside = -1] = cluster.others(key);
      await cluster.node(outside).put('default', key, bytes('before'), {}, {});
      if (how === 'stopped') pause(cluster, 0);
      else if (how === 'cut off') cluster.isolate(0);
      else cluster.kill(0, 'power-loss');
      const startedUs = cluster.world.nowUs;
      await cluster.node(outside).put('default', key, bytes('meanwhile'), {}, {});
      expect(cluster.world.nowUs - startedUs).toBeLessThan(1000 * SOON_MS);
      expect(count(cluster, outside, 'writeHedges')).toBe(1);
      expect(count(cluster, second, 'coordinated')).toBe(1);
      expect(texts(await cluster.node(outside).get('default', key, {}))).toEqual(['meanwhile']);
    }),
  );

  test('is not made elsewhere where its clock is ahead: it says so once, and then makes it alone', () =>
    scenario(FIVE, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0);
      const [outside = -1] = cluster.others(key);
      cluster.clock(0).offsetUs += 300_000;
      for (const value of ['one', 'two', 'three']) await cluster.node(outside).put('default', key, bytes(value), {}, {});
      expect(texts(await cluster.node(outside).get('default', key, { r: 3 }))).toEqual(['three']);
      expect([count(cluster, 0, 'coordinated'), count(cluster, outside, 'forwards')]).toEqual([3, 4]);
    }));

  test('is made elsewhere however many there are: what is silent is not only slow', () =>
    scenario(FIVE, async (cluster) => {
      await cluster.start();
      const [outside = -1] = cluster.others(cluster.keyOn(0));
      const keys = Array.from({ length: 400 }, (_, i) => `key-${String(i)}`).filter((key) => cluster.primaries(key)[0] === 0);
      expect(keys.length).toBeGreaterThan(40);
      pause(cluster, 0);
      const startedUs = cluster.world.nowUs;
      await Promise.all(keys.map(async (key) => cluster.node(outside).put('default', key, bytes('v'), {}, {})));
      expect(cluster.world.nowUs - startedUs).toBeLessThan(1000 * SOON_MS);
    }));

  /** A write through a stopped coordinator, another through one that is well, and what is there when the first goes on. */
  async function writeTwice(cluster: VirtualCluster): Promise<string[]> {
    await cluster.start();
    const key = cluster.keyOn(0);
    const [outside = -1] = cluster.others(key);
    const resume = pause(cluster, 0);
    // What the others have made of the first write does not come to the one that was asked first.
    for (const other of cluster.primaries(key)) {
      if (other !== 0) cluster.network.block(cluster.hosts[other]?.name ?? '', cluster.hosts[0]?.name ?? '');
    }
    await cluster.node(outside).put('default', key, bytes('one'), {}, {});
    await cluster.until(() => cluster.node(outside).cluster().members[0]?.state === 'avoided');
    await cluster.node(outside).put('default', key, bytes('two'), {}, { quorum: 'strict' });
    resume();
    await cluster.sleep(500);
    cluster.heal();
    await cluster.sleep(2000);
    return texts(await cluster.node(outside).get('default', key, { r: 3 }));
  }

  test('is not made a second time by the first when that goes on, and undoes nothing that was written since', () =>
    scenario(FIVE, async (cluster) => {
      expect(await writeTwice(cluster)).toEqual(['two']);
      expect(count(cluster, 0, 'coordinated')).toBe(0);
      expect(count(cluster, 0, 'writesTooLate')).toBe(1);
    }));

  test('would undo it, were late attempts carried out', () =>
    scenario({ ...FIVE, options: { policies: { ...SHIPPED_POLICIES, begins: () => true } } }, async (cluster) => {
      expect(await writeTwice(cluster)).toEqual(['one']);
    }));

  test.each(['nobody but the first', 'another replica'])(
    'is finished, not made again, where the first has begun it and %s says so',
    (who) =>
      scenario({ nodes: 4, n: 3 }, async (cluster) => {
        await cluster.start();
        const key = cluster.keyOn(0);
        const [first = -1, second = -1, third = -1] = cluster.primaries(key);
        const [outside = -1] = cluster.others(key);
        const name = (position: number): string => cluster.hosts[position]?.name ?? '';
        await cluster.node(outside).put('default', key, bytes('before'), {}, {});
        // Its answers are lost, and what the others must know comes to one of them only, or to none.
        cluster.network.block(name(first), name(outside));
        cluster.network.block(name(first), name(second));
        if (who === 'nobody but the first') {
          cluster.network.unblock(name(first), name(second));
          cluster.network.link(name(first), name(third)).blocked = true;
        }
        const { existed } = await cluster.node(outside).delete('default', key, {});
        expect(existed).toBe(true);
        expect(count(cluster, second, 'writesFoundBegun')).toBe(1);
        cluster.heal();
        await cluster.sleep(2000);
        expect(texts(await cluster.node(outside).get('default', key, { r: 3 }))).toEqual([]);
      }),
  );

  test('is told of only once the second begins it no more: what is written next is later', () =>
    scenario({ nodes: 4, n: 3 }, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0);
      const [first = -1, second = -1] = cluster.primaries(key);
      const [outside = -1] = cluster.others(key);
      const name = (position: number): string => cluster.hosts[position]?.name ?? '';
      await cluster.node(outside).put('default', key, bytes('before'), {}, {});
      // The first answers after the second was asked, which is stopped by then.
      cluster.network.link(name(first), name(outside)).delayUs = 100_000;
      const resume = pause(cluster, second);
      const startedUs = cluster.world.nowUs;
      await cluster.node(outside).put('default', key, bytes('one'), {}, {});
      expect(cluster.world.nowUs - startedUs).toBeGreaterThan(200_000);
      await cluster.node(outside).put('default', key, bytes('two'), {}, {});
      resume();
      await cluster.sleep(2000);
      for (const node of cluster.up) expect(texts(await node.get('default', key, { r: 3 }))).toEqual(['two']);
    }));

  test('ends with outcome unknown at its time where the second is silent too', () =>
    scenario({ nodes: 4, n: 3 }, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0);
      const [outside = -1] = cluster.others(key);
      for (const position of cluster.primaries(key)) pause(cluster, position);
      const startedUs = cluster.world.nowUs;
      const put = (): unknown => cluster.node(outside).put('default', key, bytes('v'), {}, { timeoutMs: 400 });
      expect(await failure(put)).toBe('TIMEOUT unknown');
      expect(cluster.world.nowUs - startedUs).toBeLessThan(450_000);
    }));
});
