import { describe, expect, test } from '@jest/globals';

import { CoterieError } from '../../src/base/errors.ts';
import type { VfsFile } from '../../src/env/vfs.ts';
import { type Policies, SHIPPED_POLICIES } from '../../src/runtime/policies.ts';
import { bound, wrapFiles } from '../../sim/mutants/wrapped-vfs.ts';
import { bytes, type ClusterSpec, failure, scenario, texts, type VirtualCluster } from './virtual-cluster.ts';

const FIRM = 'firm';
const ID = bytes('0123456789abcdef');

function spec(
  nodes: number,
  n: number,
  quorums: { R: number; W: number } = { R: Math.floor(n / 2) + 1, W: Math.floor(n / 2) + 1 },
): ClusterSpec {
  return { nodes, n, buckets: [{}, { name: FIRM, consistency: 'strong', ...quorums }] };
}

/** A key of the strong bucket whose first primaries are these, and the nodes that hold nothing of it. */
function keyOn(cluster: VirtualCluster, ...first: readonly number[]): string {
  for (let i = 0; i < 10_000; i += 1) {
    const key = `key-${String(i)}`;
    if (first.every((position, at) => cluster.primaries(key, 1)[at] === position)) return key;
  }
  throw new Error('no such key');
}

async function read(cluster: VirtualCluster, position: number, key: string): Promise<string[]> {
  return texts(await cluster.node(position).get(FIRM, key, { timeoutMs: 2000 }));
}

function total(cluster: VirtualCluster, counter: string): number {
  return cluster.up.reduce((sum, node) => sum + (node.stats().counters[counter] ?? 0), 0);
}

describe('a strong bucket', () => {
  test('holds what was written, through every node, also one that is no primary', () =>
    scenario(spec(5, 3), async (cluster) => {
      await cluster.start();
      for (let i = 0; i < 5; i += 1) {
        const answer = await cluster.node(i).put(FIRM, 'k', bytes(`v${String(i)}`), {}, {});
        expect(answer).toEqual({ context: undefined, existed: i > 0, siblings: 1, changed: true, fallbacks: 0 });
        for (let reader = 0; reader < 5; reader += 1) expect(await read(cluster, reader, 'k')).toEqual([`v${String(i)}`]);
      }
      const { context } = await cluster.node(0).get(FIRM, 'k', {});
      expect(context).toBeUndefined();
      expect((await cluster.node(3).delete(FIRM, 'k', {})).existed).toBe(true);
      expect(await read(cluster, 1, 'k')).toEqual([]);
      expect((await cluster.node(2).delete(FIRM, 'k', {})).existed).toBe(false);
      await cluster.node(4).put(FIRM, 'k', bytes('again'), {}, {});
      expect(await read(cluster, 0, 'k')).toEqual(['again']);
      expect(total(cluster, 'strongWrites')).toBe(8);
    }));

  for (const [n, R, W] of [
    [1, 1, 1],
    [2, 1, 2],
    [2, 2, 1],
    [3, 1, 3],
    [3, 3, 1],
    [3, 3, 3],
    [5, 3, 3],
    [5, 2, 4],
  ] as const) {
    test(`works with N=${String(n)} R=${String(R)} W=${String(W)}`, () =>
      scenario(spec(n + 1, n, { R, W }), async (cluster) => {
        await cluster.start();
        for (const position of [0, n]) {
          await cluster
            .node(position)
            .put(FIRM, 'k', bytes(`by ${String(position)}`), {}, { operationId: bytes(`operation ${String(position)} 16 b`.slice(0, 16)) });
          await cluster.node(position).put(FIRM, 'k', bytes(`then ${String(position)}`), {}, {});
          expect(await read(cluster, n - position, 'k')).toEqual([`then ${String(position)}`]);
        }
        expect(await cluster.node(0).count(FIRM, {})).toBe(1);
        expect((await cluster.node(0).scan(FIRM, '0', 10, {})).keys).toEqual(['k']);
        await cluster.node(n).delete(FIRM, 'k', {});
        expect(await cluster.node(n).count(FIRM, {})).toBe(0);
        expect((await cluster.node(n).scan(FIRM, '0', 10, {})).keys).toEqual([]);
        // The other bucket is another key space.
        expect(texts(await cluster.node(0).get('default', 'k', {}))).toEqual([]);
      }));
  }

  test('refuses by name what would weaken it, before any effect', () =>
    scenario(spec(3, 3), async (cluster) => {
      await cluster.start();
      const node = cluster.node(0);
      const why = async (call: () => unknown): Promise<string> => {
        try {
          await call();
          return 'nothing';
        } catch (error) {
          const { code, outcome, message } = error as CoterieError;
          return `${code} ${String(outcome)}: ${message}`;
        }
      };
      const token = (await node.put('default', 'k', bytes('v'), {}, {})).context ?? bytes('');
      expect(await why(() => node.put(FIRM, 'k', bytes('v'), { expireAtMs: 2 ** 47 }, {}))).toMatch(
        /^UNSUPPORTED none: .*TTLs and KEEPTTL/,
      );
      expect(await why(() => node.put(FIRM, 'k', bytes('v'), { keepTtl: true }, {}))).toMatch(/^UNSUPPORTED none: .*TTLs and KEEPTTL/);
      expect(await why(() => node.put(FIRM, 'k', bytes('v'), {}, { context: token }))).toMatch(/^UNSUPPORTED none: .*contexts/);
      expect(await why(() => node.delete(FIRM, 'k', { context: token }))).toMatch(/^UNSUPPORTED none: .*contexts/);
      expect(await why(() => node.expire(FIRM, 'k', 2 ** 47, {}))).toMatch(/^UNSUPPORTED none: .*EXPIRE and its kin/);
      expect(await why(() => node.expire(FIRM, 'k', 0, {}))).toMatch(/^UNSUPPORTED none: .*PERSIST/);
      expect(await why(() => node.put(FIRM, 'k', bytes('v'), {}, { quorum: 'sloppy' }))).toMatch(/^UNSUPPORTED none: .*sloppy/);
      expect(await why(() => node.get(FIRM, 'k', { quorum: 'sloppy' }))).toMatch(/^UNSUPPORTED none: .*sloppy/);
      expect(await why(() => node.get(FIRM, 'k', { r: 1 }))).toMatch(/^QUORUM_INVALID none: .*may not be below the bucket's 2/);
      expect(await why(() => node.put(FIRM, 'k', bytes('v'), {}, { w: 1 }))).toMatch(
        /^QUORUM_INVALID none: .*may not be below the bucket's 2/,
      );
      expect(await why(() => node.get(FIRM, 'k', { r: 4 }))).toMatch(/^QUORUM_INVALID none: /);
      expect(await read(cluster, 1, 'k')).toEqual([]);
      await node.put(FIRM, 'k', bytes('v'), {}, { w: 3, quorum: 'strict' });
      expect(texts(await node.get(FIRM, 'k', { r: 3, quorum: 'strict' }))).toEqual(['v']);
    }));

  test('needs fsync: always', () =>
    scenario(spec(3, 3), async (cluster) => {
      const engine = { fsync: { kind: 'interval', everyMs: 100 } } as const;
      expect(await failure(() => cluster.boot(0, { engine }))).toBe('SETTING_INVALID');
      await cluster.start();
    }));

  test('goes on with one of three nodes dead, and stops with two', () =>
    scenario(spec(3, 3), async (cluster) => {
      await cluster.start();
      await cluster.node(0).put(FIRM, 'k', bytes('before'), {}, {});
      cluster.kill(1);
      await cluster.sleep(50);
      await cluster.node(2).put(FIRM, 'k', bytes('after'), {}, {});
      expect(await read(cluster, 0, 'k')).toEqual(['after']);
      cluster.kill(0);
      await cluster.sleep(50);
      expect(await failure(() => cluster.node(2).put(FIRM, 'k', bytes('alone'), {}, {}))).toBe('NO_QUORUM none');
      expect(await failure(() => cluster.node(2).get(FIRM, 'k', {}))).toBe('NO_QUORUM');
      await cluster.boot(1);
      await cluster.ready();
      // The one that comes back has missed a write, and does not bring the old value back.
      expect(await read(cluster, 1, 'k')).toEqual(['after']);
    }));

  test('a write that reached one replica is finished by the read that meets it, and never taken back', () =>
    scenario(spec(3, 3), async (cluster) => {
      const shut = new Shut();
      await shut.start(cluster);
      const key = keyOn(cluster, 0, 1, 2);
      await cluster.node(0).put(FIRM, key, bytes('old'), {}, { w: 3 });
      shut.positions = [1, 2];
      expect(await failure(() => cluster.node(0).put(FIRM, key, bytes('new'), {}, {}))).toBe('TIMEOUT unknown');
      // Nobody is told of it while it cannot be brought to two of them; whom it does not concern is.
      expect(await failure(() => cluster.node(0).get(FIRM, key, {}))).toBe('NO_QUORUM');
      shut.positions = [];
      const copies = await Promise.all(
        [0, 1, 2].map(async (i) => texts({ ...(await cluster.node(i).local(FIRM, key)), context: undefined })),
      );
      expect(copies).toEqual([['new'], ['old'], ['old']]);
      expect(await read(cluster, 0, key)).toEqual(['new']);
      expect(total(cluster, 'strongWriteBacks')).toBe(1);
      for (const reader of [1, 2, 0]) expect(await read(cluster, reader, key)).toEqual(['new']);
    }));

  test('a write that no replica takes says for certain that nothing happened', () =>
    scenario(spec(4, 3), async (cluster) => {
      const shut = new Shut();
      await shut.start(cluster);
      const key = keyOn(cluster, 0, 1, 2);
      shut.positions = [0, 1, 2];
      expect(await failure(() => cluster.node(3).put(FIRM, key, bytes('v'), {}, {}))).toBe('BUSY none');
      shut.positions = [];
      expect(await read(cluster, 0, key)).toEqual([]);
    }));
});

/** Nodes whose stores refuse every object for a while. */
class Shut {
  positions: readonly number[] = [];

  /** Starts every node. */
  async start(cluster: VirtualCluster): Promise<void> {
    await Promise.all(
      cluster.hosts.map((_, position) =>
        cluster.boot(position, {
          policies: {
            reconcile: (local, incoming) => {
              if (this.positions.includes(position)) throw new CoterieError('BUSY', 'shut', { outcome: 'none' });
              return SHIPPED_POLICIES.reconcile(local, incoming);
            },
          },
        }),
      ),
    );
    await cluster.ready();
  }
}

describe('operation ids in a strong bucket', () => {
  test('a retry through another node is the same write, and does not come back over a newer one', () =>
    scenario(spec(5, 3), async (cluster) => {
      await cluster.start();
      await cluster.node(0).put(FIRM, 'k', bytes('mine'), {}, { operationId: ID });
      await cluster.node(1).put(FIRM, 'k', bytes('newer'), {}, {});
      for (let i = 0; i < 5; i += 1) {
        const again = await cluster.node(i).put(FIRM, 'k', bytes('mine'), {}, { operationId: ID });
        expect(again.existed).toBe(false);
        expect(await read(cluster, 4 - i, 'k')).toEqual(['newer']);
      }
      expect(total(cluster, 'operationsRepeated')).toBe(5);
    }));

  test('a retry of a write that reached one replica uses its tag: it stands under what was written after it', () =>
    scenario(spec(3, 3), async (cluster) => {
      const shut = new Shut();
      await shut.start(cluster);
      const key = keyOn(cluster, 0, 1, 2);
      shut.positions = [1, 2];
      expect(await failure(() => cluster.node(0).put(FIRM, key, bytes('mine'), {}, { operationId: ID }))).toBe('TIMEOUT unknown');
      shut.positions = [];
      // Others do not meet the copy of the first attempt: node 0, which alone has it, cannot be reached.
      cluster.isolate(0);
      await cluster.sleep(25_000);
      await cluster.node(1).put(FIRM, key, bytes('newer'), {}, {});
      const tag = (await cluster.node(1).local(FIRM, key)).digest;
      const retried = await cluster.node(2).put(FIRM, key, bytes('mine'), {}, { operationId: ID });
      expect(retried.existed).toBe(false);
      expect(total(cluster, 'operationsRepeated')).toBe(1);
      const after = await read(cluster, 1, key);
      expect((await cluster.node(1).local(FIRM, key)).digest === tag).toBe(after[0] === 'newer');
      cluster.heal();
      await cluster.until(() => cluster.up.every((node) => node.cluster().members.every(({ state }) => state !== 'unreachable')));
      // What was read once stays, whatever the copies of the first attempt.
      for (const reader of [0, 1, 2, 0]) expect(await read(cluster, reader, key)).toEqual(after);
    }));

  test('attempts at the same time through different nodes make one write', () =>
    scenario(spec(5, 5), async (cluster) => {
      await cluster.start();
      for (let round = 0; round < 20; round += 1) {
        const key = `key-${String(round)}`;
        const operationId = bytes(`operation ${String(round).padStart(6, '0')}`);
        const attempts = cluster.up.map((node) =>
          Promise.resolve(node.put(FIRM, key, bytes('mine'), {}, { operationId, timeoutMs: 5000 })),
        );
        const first = await Promise.any(attempts);
        expect(first.existed).toBe(false);
        // From now on it is there; what others write stays above it, whatever the other attempts still do.
        await cluster.node(round % 5).put(FIRM, key, bytes('newer'), {}, {});
        await Promise.allSettled(attempts);
        for (let reader = 0; reader < 5; reader += 1) expect(await read(cluster, reader, key)).toEqual(['newer']);
      }
      expect(total(cluster, 'strongContests')).toBeGreaterThan(0);
    }));

  test('the same id with another body is refused before any effect, through any node', () =>
    scenario(spec(4, 3), async (cluster) => {
      await cluster.start();
      await cluster.node(0).put(FIRM, 'k', bytes('v'), {}, { operationId: ID });
      for (const node of cluster.up) {
        expect(await failure(() => node.put(FIRM, 'k', bytes('other'), {}, { operationId: ID }))).toBe('OPERATION_ID_REUSED none');
        expect(await failure(() => node.delete(FIRM, 'k', { operationId: ID }))).toBe('OPERATION_ID_REUSED none');
      }
      expect(await read(cluster, 1, 'k')).toEqual(['v']);
    }));
});

describe('what counts', () => {
  test('a copy that is not durable yet is not told of: the power may take it back', () => {
    let held = false;
    const waiting: (() => void)[] = [];
    const sync = async (file: VfsFile): Promise<void> => {
      if (held) await new Promise<void>((resolve) => waiting.push(resolve));
      await file.dataSync();
    };
    const vfs: ClusterSpec['vfs'] = (disk) => wrapFiles(disk, (file) => ({ ...bound(file), dataSync: () => sync(file) }));
    return scenario({ ...spec(3, 3), vfs }, async (cluster) => {
      await cluster.start();
      await cluster.node(0).put(FIRM, 'k', bytes('old'), {}, { w: 3 });
      held = true;
      const put = failure(() => cluster.node(0).put(FIRM, 'k', bytes('new'), {}, {}));
      await cluster.until(async () => {
        const copies = await Promise.all(
          [0, 1, 2].map(async (i) => texts({ ...(await cluster.node(i).local(FIRM, 'k')), context: undefined })),
        );
        return copies.flat().every((text) => text === 'new');
      });
      for (const node of cluster.up) expect(await failure(() => node.get(FIRM, 'k', { timeoutMs: 200 }))).toMatch(/^(TIMEOUT|NO_QUORUM)/);
      held = false;
      for (const go of waiting) go();
      expect(await put).toBeUndefined();
      for (const reader of [0, 1, 2]) expect(await read(cluster, reader, 'k')).toEqual(['new']);
    });
  });

  test('a wiped store counts in nothing until it has synchronised, and then has every tag', () =>
    scenario(spec(3, 3), async (cluster) => {
      await cluster.start();
      for (let i = 0; i < 20; i += 1) await cluster.node(i % 3).put(FIRM, `k${String(i)}`, bytes('v'), {}, {});
      await cluster.node(0).delete(FIRM, 'k0', {});
      cluster.kill(2, 'power-loss');
      for (const { path } of cluster.volume(2).medium.files()) cluster.volume(2).medium.apply({ kind: 'unlink', path });
      await cluster.boot(2);
      await cluster.ready();
      for (let i = 0; i < 20; i += 1) expect(await read(cluster, 2, `k${String(i)}`)).toEqual(i === 0 ? [] : ['v']);
      const copies = await Promise.all([0, 1, 2].map(async (i) => (await cluster.node(i).local(FIRM, 'k0')).digest));
      expect(copies[2]).toBe(copies[0]);
    }));

  test('a node that may not make tags forwards the write to one that may', () => {
    const policies: Partial<Policies> = { coordinates: () => false };
    return scenario(spec(4, 3), async (cluster) => {
      await cluster.boot(0, { policies });
      await Promise.all([1, 2, 3].map((i) => cluster.boot(i)));
      await cluster.ready();
      await cluster.node(0).put(FIRM, 'k', bytes('v'), {}, {});
      expect(await read(cluster, 0, 'k')).toEqual(['v']);
      expect(cluster.node(0).stats().counters['forwards']).toBe(1);
      expect(cluster.node(0).stats().counters['strongWrites']).toBe(0);
    });
  });
});
