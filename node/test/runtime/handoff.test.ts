import { describe, expect, test } from '@jest/globals';

import type { CoterieNode } from '../../src/runtime/node.ts';
import type { NodeOptions } from '../../src/runtime/options.ts';
import { bytes, contextIn, failure, scenario, texts, type VirtualCluster } from './virtual-cluster.ts';

const SPEC = { nodes: 5, n: 3 } as const;

/** Hints that the nodes that are up keep. */
function hints(cluster: VirtualCluster): number {
  return cluster.up.reduce((sum, node) => sum + node.stats().hints.hints, 0);
}

function total(cluster: VirtualCluster, counter: string): number {
  return cluster.up.reduce((sum, node) => sum + (node.stats().counters[counter] ?? 0), 0);
}

/** Kills the nodes, and waits until every other node knows. */
async function lose(cluster: VirtualCluster, ...positions: readonly number[]): Promise<void> {
  for (const position of positions) cluster.kill(position);
  await cluster.until(() => cluster.up.every((node) => positions.every((at) => node.cluster().members[at]?.state !== 'connected')));
}

async function comeBack(cluster: VirtualCluster, ...positions: readonly number[]): Promise<void> {
  for (const position of positions) await cluster.boot(position);
  await cluster.ready();
}

function at(cluster: VirtualCluster, position: number | undefined): CoterieNode {
  return cluster.node(position ?? -1);
}

describe('a write while primaries are away', () => {
  test('a fallback counts in the stead of its primary, says so, and hands the hint off when the primary is back', () =>
    scenario(SPEC, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0, 1, 2);
      await lose(cluster, 2);
      expect((await cluster.node(3).put('default', key, bytes('v'), {}, { w: 3 })).fallbacks).toBe(1);
      expect(hints(cluster)).toBe(1);
      expect(await failure(() => cluster.node(3).put('default', key, bytes('w'), {}, { w: 3, quorum: 'strict' }))).toBe('NO_QUORUM none');
      await comeBack(cluster, 2);
      await cluster.until(() => hints(cluster) === 0);
      expect(new Set(await cluster.digests(key)).size).toBe(1);
      expect(texts(await cluster.node(4).get('default', key, { r: 3, quorum: 'strict' }))).toEqual(['v']);
      expect(total(cluster, 'readRepairs')).toBe(0);
    }));

  test('W primaries are enough to say nothing of fallbacks', () =>
    scenario(SPEC, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0, 1, 2);
      await lose(cluster, 2);
      const answer = await cluster.node(0).put('default', key, bytes('v'), {}, {});
      expect(answer.fallbacks ?? 0).toBe(0);
      await cluster.until(() => hints(cluster) === 1);
    }));

  test('without any primary a fallback coordinates; nothing of it is lost', () =>
    scenario(SPEC, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0, 1, 2);
      await cluster.node(0).put('default', key, bytes('before'), {}, { w: 3 });
      await lose(cluster, 0, 1, 2);
      expect((await cluster.node(3).put('default', key, bytes('meanwhile'), {}, {})).fallbacks).toBe(2);
      const read = await cluster.node(4).get('default', key, {});
      expect(texts(read)).toEqual(['meanwhile']);
      expect(read.fallbacks).toBe(2);
      expect(await failure(() => cluster.node(4).get('default', key, { quorum: 'strict' }))).toBe('NO_QUORUM');
      expect(await failure(() => cluster.node(3).put('default', key, bytes('x'), {}, { quorum: 'strict' }))).toBe('NO_QUORUM none');
      await comeBack(cluster, 0, 1, 2);
      await cluster.until(() => hints(cluster) === 0);
      for (const position of [0, 1, 2]) expect(texts(await cluster.node(position).get('default', key, {}))).toEqual(['meanwhile']);
    }));

  test('fallbacks alone never say that a key was never written', () =>
    scenario(SPEC, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0, 1, 2);
      await cluster.node(0).put('default', key, bytes('v'), {}, { w: 3 });
      await lose(cluster, 0, 1, 2);
      expect(await failure(() => cluster.node(3).get('default', key, { r: 1 }))).toBe('NO_QUORUM');
      await comeBack(cluster, 0);
      expect(texts(await cluster.node(3).get('default', key, {}))).toEqual(['v']);
    }));

  test('a primary that dies while a write is under way is stood in for', () =>
    scenario(SPEC, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0, 1, 2);
      cluster.kill(2);
      // Nobody has noticed yet.
      expect(cluster.node(0).cluster().members[2]?.state).toBe('connected');
      expect((await cluster.node(0).put('default', key, bytes('v'), {}, { w: 3 })).fallbacks).toBe(1);
    }));
});

describe('dots of fallbacks', () => {
  /** A fallback writes, hands its hint off, and writes again; answers what a reader finds then. */
  const writtenTwice = async (policies: NodeOptions['policies'] = {}): Promise<string[]> => {
    let found: string[] = [];
    await scenario({ ...SPEC, options: { policies } }, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0, 1, 2);
      await cluster.node(0).put('default', key, bytes('base'), {}, { w: 3 });
      const context = contextIn(await cluster.node(0).get('default', key, {}));
      await lose(cluster, 0, 1, 2);
      await cluster.node(3).put('default', key, bytes('first'), {}, { context });
      await comeBack(cluster, 0, 1, 2);
      await cluster.until(() => hints(cluster) === 0);
      await lose(cluster, 0, 1, 2);
      // It has nothing of `first` any more, and knows only `base`, which the context covers.
      await cluster.node(3).put('default', key, bytes('second'), {}, { context });
      await comeBack(cluster, 0, 1, 2);
      await cluster.until(() => hints(cluster) === 0);
      found = texts(await cluster.node(0).get('default', key, { r: 3 })).sort();
    });
    return found;
  };

  test('what a fallback wrote and handed off does not die of what it writes later', async () => {
    expect(await writtenTwice()).toEqual(['first', 'second']);
    // It would, if the fallback went on with the actor whose dots it holds no more.
    expect(await writtenTwice({ spendsStandIn: () => false })).toEqual(['second']);
  });

  test('a retry through a fallback is the same write', () =>
    scenario(SPEC, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0, 1, 2);
      await cluster.node(0).put('default', key, bytes('base'), {}, { w: 3 });
      const context = contextIn(await cluster.node(0).get('default', key, {}));
      await lose(cluster, 0, 1, 2);
      const operationId = bytes('0123456789abcdef');
      await cluster.node(3).put('default', key, bytes('v'), {}, { context, operationId });
      await cluster.node(4).put('default', key, bytes('v'), {}, { context, operationId });
      expect(total(cluster, 'operationsRepeated')).toBe(1);
      await comeBack(cluster, 0, 1, 2);
      await cluster.until(() => hints(cluster) === 0);
      expect(texts(await cluster.node(1).get('default', key, { r: 3 }))).toEqual(['v']);
    }));
});

describe('hints', () => {
  test('survive a loss of power of their fallback', () =>
    scenario(SPEC, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0, 1, 2);
      await lose(cluster, 0, 1, 2);
      await cluster.node(3).put('default', key, bytes('v'), {}, { w: 2 });
      cluster.kill(3, 'power-loss');
      cluster.kill(4, 'power-loss');
      for (const position of [0, 1, 2, 3, 4]) await cluster.boot(position);
      await cluster.ready();
      await cluster.until(() => hints(cluster) === 0);
      expect(texts(await cluster.node(0).get('default', key, { r: 3 }))).toEqual(['v']);
    }));

  test('are handed to the store that has taken the place of the lost one', () =>
    scenario({ nodes: 6, n: 3 }, async (cluster) => {
      await cluster.start();
      const key = 'key';
      const [first = -1, second = -1, third = -1] = cluster.primaries(key);
      const before = cluster.node(first).stats().storeId;
      await lose(cluster, first, second, third);
      const [outside = -1] = cluster.others(key);
      await cluster.node(outside).put('default', key, bytes('v'), {}, {});
      cluster.volume(first).wipe();
      await comeBack(cluster, first, second, third);
      expect(cluster.node(first).stats().storeId).not.toBe(before);
      await cluster.until(() => hints(cluster) === 0);
      expect(new Set(await cluster.digests(key)).size).toBe(1);
    }));

  test('stay until as many primaries as the write was promised have confirmed them', () =>
    scenario(SPEC, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0, 1, 2);
      await lose(cluster, 0, 1, 2);
      await cluster.node(3).put('default', key, bytes('v'), {}, { w: 2 });
      await comeBack(cluster, 1);
      // It has what was kept for it, and the hint stays, because another primary must have it too.
      await cluster.until(async () => (await cluster.node(1).local('default', key)).digest !== undefined);
      await cluster.sleep(5000);
      expect(hints(cluster)).toBe(2);
      await comeBack(cluster, 0);
      await cluster.until(() => hints(cluster) === 0);
    }));

  test('that wait for long are repair debt, and are kept until it is paid', () =>
    scenario({ ...SPEC, options: { timings: { hintOverdueMs: 3000 } } }, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0, 1, 2);
      await lose(cluster, 2);
      await cluster.node(0).put('default', key, bytes('v'), {}, {});
      await cluster.until(() => cluster.up.some((node) => node.stats().hints.debt === 1));
      const shown = (): number =>
        cluster
          .node(0)
          .cluster()
          .members[2]?.waiting.reduce((sum, { debt }) => sum + debt, 0) ?? 0;
      await cluster.until(() => shown() === 1);
      await cluster.sleep(60_000);
      expect(hints(cluster)).toBe(1);
      await comeBack(cluster, 2);
      await cluster.until(() => shown() === 0 && hints(cluster) === 0);
      expect(cluster.up.map((node) => node.stats().hints.debt)).toEqual([0, 0, 0, 0, 0]);
    }));

  test('are bounded: a fallback that is full refuses before any effect, and another one is asked', () =>
    scenario({ ...SPEC, options: { limits: { hintBytes: 4000 } } }, async (cluster) => {
      await cluster.start();
      const keys = Array.from({ length: 1000 }, (_, i) => `key-${String(i)}`).filter((key) =>
        cluster.primaries(key).every((position) => position < 3),
      );
      await lose(cluster, 0, 1, 2);
      const value = new Uint8Array(1500);
      const outcomes: (string | undefined)[] = [];
      for (const key of keys.slice(0, 8)) {
        outcomes.push(await failure(() => cluster.node(3).put('default', key, value, {}, { w: 1 })));
        await cluster.sleep(600);
      }
      for (const node of cluster.up) expect(node.stats().hints.bytes).toBeLessThanOrEqual(4000);
      expect(outcomes[0]).toBeUndefined();
      expect(outcomes.at(-1)).toBe('BUSY none');
      expect(new Set(outcomes)).toEqual(new Set([undefined, 'BUSY none']));
      await comeBack(cluster, 0, 1, 2);
      await cluster.until(() => hints(cluster) === 0);
      expect(await failure(() => cluster.node(3).put('default', 'key', value, {}, { w: 1 }))).toBeUndefined();
    }));

  test('show who waits for whom, at every node', () =>
    scenario(SPEC, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0, 1, 2);
      await lose(cluster, 2);
      await cluster.node(0).put('default', key, bytes('v'), {}, {});
      await cluster.until(() => cluster.up.every((node) => node.cluster().members[2]?.waiting.length === 1));
      const [waiting] = cluster.node(1).cluster().members[2]?.waiting ?? [];
      expect(waiting).toMatchObject({ hints: 1, debt: 0 });
      expect(['node-4', 'node-5']).toContain(waiting?.holder);
      await comeBack(cluster, 2);
      await cluster.until(() => cluster.up.every((node) => node.cluster().members[2]?.waiting.length === 0));
      expect(
        at(cluster, 0)
          .cluster()
          .members.every(({ waiting: left }) => left.length === 0),
      ).toBe(true);
    }));
});
