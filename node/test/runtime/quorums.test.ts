import { describe, expect, test } from '@jest/globals';

import { bytes, contextIn, failure, scenario, texts } from './virtual-cluster.ts';

describe('reads and writes through any node', () => {
  test('what is put through one node is read through every other', () =>
    scenario({ nodes: 5, n: 3 }, async (cluster) => {
      await cluster.start();
      for (let i = 0; i < 20; i += 1) {
        const key = `k${String(i)}`;
        await cluster.node(i % 5).put('default', key, bytes(`v${String(i)}`), {}, {});
        for (const node of cluster.up) expect(texts(await node.get('default', key, {}))).toEqual([`v${String(i)}`]);
      }
    }));

  test('a key that was never written has neither versions nor a context; a deleted one has a context', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      expect(await cluster.node(0).get('default', 'k', {})).toEqual({ versions: [], context: undefined });
      await cluster.node(0).put('default', 'k', bytes('v'), {}, {});
      expect((await cluster.node(1).delete('default', 'k', {})).existed).toBe(true);
      expect((await cluster.node(1).delete('default', 'k', {})).existed).toBe(false);
      const read = await cluster.node(2).get('default', 'k', {});
      expect(read.versions).toEqual([]);
      expect(read.context?.length).toBeGreaterThan(0);
    }));

  test('a write with a context replaces exactly what it saw; concurrent ones are siblings, newest first', () =>
    scenario({ nodes: 4, n: 3 }, async (cluster) => {
      await cluster.start();
      await cluster.node(0).put('default', 'k', bytes('base'), {}, {});
      const { context } = await cluster.node(1).get('default', 'k', {});
      if (context === undefined) throw new Error('no context');
      await cluster.node(1).put('default', 'k', bytes('left'), {}, { context });
      const right = await cluster.node(2).put('default', 'k', bytes('right'), {}, { context });
      expect(right.siblings).toBe(2);
      const both = await cluster.node(3).get('default', 'k', {});
      expect(texts(both)).toEqual(['right', 'left']);
      await cluster.node(3).put('default', 'k', bytes('resolved'), {}, { context: both.context ?? bytes('') });
      expect(texts(await cluster.node(0).get('default', 'k', {}))).toEqual(['resolved']);
    }));

  test('expiry is absolute; EXPIRE and PERSIST change it, a put with keepTtl keeps it', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      const node = cluster.node(0);
      await node.put('default', 'k', bytes('v'), { expireAtMs: node.nowMs() + 1000 }, {});
      await node.put('default', 'k', bytes('w'), { keepTtl: true }, {});
      expect((await node.get('default', 'k', {})).versions[0]?.expireAtMs).toBeGreaterThan(node.nowMs());
      expect(await cluster.node(1).expire('default', 'k', node.nowMs() + 5000, {})).toMatchObject({ changed: true });
      await cluster.sleep(2000);
      expect(texts(await node.get('default', 'k', {}))).toEqual(['w']);
      expect(await node.expire('default', 'k', 0, {})).toMatchObject({ changed: true });
      expect(await node.expire('default', 'k', 0, {})).toMatchObject({ changed: false });
      await cluster.sleep(9000);
      expect(texts(await node.get('default', 'k', {}))).toEqual(['w']);
      await node.expire('default', 'k', node.nowMs(), {});
      expect(texts(await node.get('default', 'k', {}))).toEqual([]);
      expect(await node.expire('default', 'absent', 1, {})).toMatchObject({ changed: false });
    }));
});

describe('every legal R and W', () => {
  for (const [nodes, n] of [
    [1, 1],
    [2, 2],
    [3, 3],
    [6, 5],
  ] as const) {
    test(`N=${String(n)} on ${String(nodes)} nodes`, () =>
      scenario({ nodes, n }, async (cluster) => {
        await cluster.start();
        for (let r = 1; r <= n; r += 1) {
          for (let w = 1; w <= n; w += 1) {
            const key = `k${String(r)}${String(w)}`;
            await cluster.node((r + w) % nodes).put('default', key, bytes(key), {}, { w });
            const { versions } = await cluster.node(r % nodes).get('default', key, { r });
            // A smaller quorum may miss it, but never answers anything else.
            if (r + w > n) expect(versions.length).toBe(1);
            for (const { value } of versions) expect(Buffer.from(value).toString()).toBe(key);
          }
        }
      }));
  }

  test('an illegal one is refused', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      const node = cluster.node(0);
      for (const bad of [0, 4, -1, 1.5, Number.NaN]) {
        expect(await failure(() => node.get('default', 'k', { r: bad }))).toBe('QUORUM_INVALID');
        expect(await failure(() => node.put('default', 'k', bytes('v'), {}, { w: bad }))).toBe('QUORUM_INVALID');
      }
      for (const quorum of ['strict', 'sloppy'] as const) expect(texts(await node.get('default', 'k', { quorum }))).toEqual([]);
    }));
});

describe('a request that cannot be right', () => {
  test('is refused with its own code, before any effect', () =>
    scenario({ nodes: 3, n: 3, options: { limits: { pairBytes: 100 } } }, async (cluster) => {
      await cluster.start();
      const node = cluster.node(0);
      const put = (key: string, value: string, expiry = {}, options = {}): Promise<string | undefined> =>
        failure(() => node.put('default', key, bytes(value), expiry, options));
      expect(await put('', 'v')).toBe('KEY_EMPTY none');
      expect(await put('k'.repeat(1025), 'v')).toBe('KEY_TOO_LONG none');
      expect(await put('k', 'v'.repeat(100))).toBe('PAIR_TOO_LARGE none');
      expect(await put('k', 'v'.repeat(99))).toBeUndefined();
      expect(await put('k', 'v', { expireAtMs: -1 })).toBe('EXPIRY_INVALID none');
      expect(await put('k', 'v', { expireAtMs: 2 ** 48 })).toBe('EXPIRY_INVALID none');
      expect(await put('k', 'v', {}, { timeoutMs: 0 })).toBe('TIMEOUT_INVALID none');
      expect(await put('k', 'v', {}, { timeoutMs: 60_001 })).toBe('TIMEOUT_INVALID none');
      expect(await put('k', 'v', {}, { operationId: bytes('short') })).toBe('OPERATION_ID_INVALID');
      expect(await put('k', 'v', {}, { context: bytes('nonsense') })).toBe('CONTEXT_BROKEN none');
      expect(await put('k', 'v', {}, { context: bytes('') })).toBe('CONTEXT_BROKEN none');
      const { context } = await node.get('default', 'k', {});
      if (context === undefined) throw new Error('no context');
      expect(await put('other', 'v', {}, { context })).toBe('CONTEXT_FOREIGN none');
      expect(await failure(() => node.get('absent', 'k', {}))).toBe('BUCKET_UNKNOWN none');
      expect(await failure(() => node.get('default', '', {}))).toBe('KEY_EMPTY none');
      expect(await failure(() => node.scan('default', 'x', 10, {}))).toBe('REQUEST_INVALID');
      expect(await failure(() => node.scan('default', '18446744073709551616', 10, {}))).toBe('REQUEST_INVALID');
      expect(await failure(() => node.scan('default', '0', 0, {}))).toBe('REQUEST_INVALID');
    }));

  test('a context from another cluster is foreign', async () => {
    let context = bytes('');
    await scenario({ nodes: 1, n: 1 }, async (cluster) => {
      await cluster.start();
      context = contextIn(await cluster.node(0).put('default', 'k', bytes('v'), {}, {}));
    });
    await scenario({ nodes: 1, n: 1, clusterId: 'ffffffffffffffffffffffffffffffff' }, async (other) => {
      await other.start();
      expect(await failure(() => other.node(0).put('default', 'k', bytes('v'), {}, { context }))).toBe('CONTEXT_FOREIGN none');
    });
  });
});

describe('with members down', () => {
  test('W reachable replicas suffice; below it a write is refused before any effect, a read without R too', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      await cluster.node(0).put('default', 'k', bytes('one'), {}, {});
      cluster.kill(2);
      await cluster.sleep(50);
      await cluster.node(0).put('default', 'k', bytes('two'), {}, {});
      expect(texts(await cluster.node(1).get('default', 'k', {}))).toEqual(['two']);
      expect(await failure(() => cluster.node(0).put('default', 'k', bytes('x'), {}, { w: 3 }))).toBe('NO_QUORUM none');
      expect(await failure(() => cluster.node(0).get('default', 'k', { r: 3 }))).toBe('NO_QUORUM');
      cluster.kill(1);
      await cluster.sleep(50);
      expect(await failure(() => cluster.node(0).put('default', 'k', bytes('x'), {}, {}))).toBe('NO_QUORUM none');
      expect(texts(await cluster.node(0).get('default', 'k', { r: 1 }))).toEqual(['two']);
      await cluster.node(0).put('default', 'k', bytes('three'), {}, { w: 1 });
      expect(texts(await cluster.node(0).get('default', 'k', { r: 1 }))).toEqual(['three']);
    }));

  test('a node that can reach no replica of a key says so', () =>
    scenario({ nodes: 4, n: 2 }, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0, 1);
      cluster.kill(0);
      cluster.kill(1);
      await cluster.sleep(50);
      expect(await failure(() => cluster.node(2).put('default', key, bytes('v'), {}, { w: 1, quorum: 'strict' }))).toBe('NO_QUORUM none');
      expect(await failure(() => cluster.node(2).get('default', key, { r: 1, quorum: 'strict' }))).toBe('NO_QUORUM');
    }));

  test('a write whose replicas fall silent times out with outcome unknown, and is there when they return', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0);
      cluster.isolate(0);
      const late = failure(() => cluster.node(0).put('default', key, bytes('v'), {}, { timeoutMs: 300 }));
      expect(await late).toBe('TIMEOUT unknown');
      cluster.heal();
      await cluster.ready();
      expect(texts(await cluster.node(1).get('default', key, { r: 3 }))).toEqual(['v']);
    }));

  test('a forward whose answer is lost is unknown where it would show that it was made twice, and is not tried elsewhere', () =>
    scenario({ nodes: 4, n: 3 }, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0);
      const [outside = -1] = cluster.others(key);
      cluster.network.block(cluster.hosts[0]?.name ?? '', cluster.hosts[outside]?.name ?? '');
      const operationId = new Uint8Array(16).fill(1);
      const put = (): unknown => cluster.node(outside).put('default', key, bytes('v'), {}, { timeoutMs: 300, operationId });
      expect(await failure(put)).toBe('TIMEOUT unknown');
      cluster.heal();
      expect(texts(await cluster.node(outside).get('default', key, {}))).toEqual(['v']);
      const copy = await cluster.node(0).local('default', key);
      expect(copy.versions.length).toBe(1);
    }));

  test('the second primary coordinates when the first is down', () =>
    scenario({ nodes: 5, n: 3 }, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(2);
      cluster.kill(2);
      await cluster.sleep(50);
      const [second = -1] = cluster.primaries(key).slice(1);
      await cluster.node((second + 1) % 5 === 2 ? (second + 2) % 5 : (second + 1) % 5).put('default', key, bytes('v'), {}, {});
      expect(cluster.node(second).stats().counters['coordinated']).toBe(1);
    }));
});

describe('bounds', () => {
  test('operations beyond the limit are refused with BUSY before any effect', () =>
    scenario({ nodes: 3, n: 3, options: { limits: { operations: 4, waiting: 0 } } }, async (cluster) => {
      await cluster.start();
      const codes = await Promise.all(
        Array.from({ length: 10 }, (_, i) => failure(() => cluster.node(0).put('default', `k${String(i)}`, bytes('v'), {}, {}))),
      );
      expect(codes.filter((code) => code === undefined)).toHaveLength(4);
      expect(codes.filter((code) => code === 'BUSY none')).toHaveLength(6);
      expect(await failure(() => cluster.node(0).put('default', 'k', bytes('v'), {}, {}))).toBeUndefined();
    }));

  test('one node answers a read at once, without a promise', () =>
    scenario({ nodes: 1, n: 1 }, async (cluster) => {
      await cluster.start();
      await cluster.node(0).put('default', 'k', bytes('v'), {}, {});
      const result = cluster.node(0).get('default', 'k', {});
      expect(result).not.toBeInstanceOf(Promise);
      expect(texts(await result)).toEqual(['v']);
    }));
});
