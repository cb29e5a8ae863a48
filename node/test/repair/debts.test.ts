import { describe, expect, test } from '@jest/globals';

import type { PartitionId } from '../../src/base/ids.ts';
import { Debts } from '../../src/cluster/repair/debts.ts';
import type { QuorumKind } from '../../src/cluster/quorum/legality.ts';
import { bytes, scenario, topologyOf, type VirtualCluster } from '../runtime/virtual-cluster.ts';

const OPTIONS = {
  engine: { memtableBytes: 1 << 16, cacheBytes: 1 << 16, reserveBytes: 1 << 16 },
  timings: { repairMs: 3_600_000, scrubMs: 0, repairRetryMs: 200, hintOverdueMs: 3000 },
};

function counted(cluster: VirtualCluster, name: string): number {
  return cluster.up.reduce((sum, node) => sum + (node.stats().counters[name] ?? 0), 0);
}

function debts(cluster: VirtualCluster): number {
  return cluster.up.reduce((sum, node) => sum + node.stats().hints.debt, 0);
}

/** Nobody owes a comparison: not that of the start, nor any other. */
async function settled(cluster: VirtualCluster): Promise<void> {
  await cluster.until(() => cluster.up.every((node) => node.repairs()?.owed === 0));
}

/** Leaves no room on a node's disk, and writes the key until the node has noticed: from then on it misses what is written. */
async function fillDisk(cluster: VirtualCluster, position: number, key: string, quorum: QuorumKind): Promise<void> {
  cluster.volume(position).capacityBytes = 1000;
  await cluster.until(async () => {
    await cluster.node(0).put('default', key, bytes('old'), {}, { quorum });
    return cluster.node(position).stats().engine['state'] === 'full';
  });
}

/** Makes room again. */
async function emptyDisk(cluster: VirtualCluster, position: number): Promise<void> {
  cluster.volume(position).capacityBytes = Number.POSITIVE_INFINITY;
  await cluster.until(() => cluster.node(position).stats().engine['state'] === 'open');
}

describe('what is owed', () => {
  const topology = topologyOf({ nodes: 5, n: 3 });
  const replicas = topology.partitions[0] ?? [];
  const [self = -1, other = -1] = replicas;
  const stranger = topology.members.findIndex((_, index) => !replicas.includes(index));

  test('is only what both hold, once, until it is paid', () => {
    const owed = new Debts(topology, self);
    const partition = 0 as PartitionId;
    expect([owed.owe(other, partition), owed.owe(other, partition)]).toEqual([true, false]);
    expect([owed.owe(stranger, partition), owed.owe(self, partition), owed.owe(99, partition)]).toEqual([false, false, false]);
    expect(owed.listOwed(other)).toEqual([partition]);
    owed.paid(other, partition);
    expect(owed.total).toBe(0);
    expect(owed.owe(other, partition)).toBe(true);
  });
});

describe('repair debt makes replicas compare', () => {
  test('a hint that cannot be handed off: the other primaries bring what it says', () =>
    scenario({ nodes: 5, n: 3, options: OPTIONS }, async (cluster) => {
      await cluster.start();
      await settled(cluster);
      const key = cluster.keyOn(0, 1, 2);
      await fillDisk(cluster, 2, key, 'sloppy');
      expect((await cluster.node(0).put('default', key, bytes('v'), {}, { w: 3 })).fallbacks).toBe(1);
      const holder = [3, 4].find((position) => cluster.node(position).stats().hints.hints > 0) ?? -1;
      cluster.isolate(2, [holder]);
      await emptyDisk(cluster, 2);
      expect(new Set(await cluster.digests(key)).size).toBe(2);
      await cluster.until(async () => new Set(await cluster.digests(key)).size === 1);
      expect(counted(cluster, 'comparisonsOwed')).toBeGreaterThan(0);
      expect([counted(cluster, 'hintsDelivered'), counted(cluster, 'readRepairs')]).toEqual([0, 0]);
      // Only its delivery ends it.
      expect([cluster.node(holder).stats().hints.hints, debts(cluster)]).toEqual([1, 1]);
      cluster.heal();
      await cluster.until(() => debts(cluster) === 0 && cluster.node(holder).stats().hints.hints === 0);
    }));

  test.each(['sloppy', 'strict'] as const)('a primary that failed, and nobody to stand in for it (%s)', (quorum) =>
    scenario({ nodes: 3, n: 3, options: OPTIONS }, async (cluster) => {
      await cluster.start();
      await settled(cluster);
      const key = cluster.keyOn(0, 1, 2);
      await fillDisk(cluster, 2, key, quorum);
      await cluster.node(0).put('default', key, bytes('v'), {}, { quorum });
      await cluster.until(() => counted(cluster, 'comparisonsOwed') === 1);
      await emptyDisk(cluster, 2);
      await cluster.until(async () => new Set(await cluster.digests(key)).size === 1);
      expect(counted(cluster, 'readRepairs')).toBe(0);
      await settled(cluster);
    }),
  );

  test('a primary that no fallback had a copy for, when no primary was there: told once the others have theirs', () =>
    scenario({ nodes: 5, n: 3, options: OPTIONS }, async (cluster) => {
      await cluster.start();
      await settled(cluster);
      const key = cluster.keyOn(0, 1, 2);
      for (const position of [0, 1, 2]) cluster.kill(position);
      await cluster.until(() =>
        [3, 4].every((position) =>
          cluster
            .node(position)
            .cluster()
            .members.slice(0, 3)
            .every(({ state }) => state !== 'connected'),
        ),
      );
      await cluster.node(3).put('default', key, bytes('v'), {}, { w: 2 });
      await cluster.until(() => debts(cluster) === 1);
      for (const position of [3, 4]) cluster.isolate(position, [0, 1, 2]);
      for (const position of [0, 1, 2]) await cluster.boot(position);
      // The comparisons of their return find nothing.
      await cluster.until(() => [0, 1, 2].every((position) => cluster.node(position).ready().ready));
      await settled(cluster);
      expect(await cluster.digests(key)).toEqual([undefined, undefined, undefined]);
      cluster.heal();
      await cluster.until(async () => (await cluster.digests(key)).every((digest) => digest !== undefined));
      await cluster.until(() => debts(cluster) === 0);
      expect([counted(cluster, 'hintsDelivered'), counted(cluster, 'readRepairs')]).toEqual([2, 0]);
      expect(counted(cluster, 'comparisonsOwed')).toBeGreaterThan(0);
    }));
});
