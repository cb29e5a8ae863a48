/** What a plan says, as the nodes are told it: their topology and settings. */

import { bucketId, clusterId, memberName } from '../../src/base/ids.ts';
import { createTopology } from '../../src/cluster/ring/topology-create.ts';
import type { Topology } from '../../src/cluster/ring/topology.ts';
import type { NodeOptions } from '../../src/runtime/options.ts';
import { BUCKET } from '../clients/client.ts';
import { STRONG_BUCKET } from '../clients/strong-client.ts';
import type { Dice } from '../world/dice.ts';
import type { Plan } from './plan.ts';

/** The cluster of a plan. @param dice for its id, and the seed of its tokens */
export function topologyOf(plan: Plan, dice: Dice): Topology {
  const { strong } = plan;
  const hex = (digits: number): string => Array.from({ length: digits }, () => dice.below(16).toString(16)).join('');
  return createTopology({
    clusterId: clusterId(hex(32)),
    N: plan.n,
    Q: plan.q,
    tokenSeed: hex(16),
    buckets: [
      { id: bucketId(0), name: BUCKET, consistency: 'eventual', R: plan.r, W: plan.w, blindWrites: plan.blindWrites },
      ...(strong === undefined
        ? []
        : [{ id: bucketId(1), name: STRONG_BUCKET, consistency: 'strong', R: strong.r, W: strong.w, blindWrites: 'newest' } as const]),
    ],
    members: plan.members.map(({ name, zone, rack, weight }) => ({
      name: memberName(name),
      address: { host: name, peerPort: 7400, respPort: 6379, httpPort: 8400 },
      zone,
      rack,
      weight,
    })),
  });
}

/** What one of its nodes is started with: everything small, so that a short run seals, flushes and compacts. */
export function settingsOf(plan: Plan, topology: Topology, name: string): Omit<NodeOptions, 'env' | 'log'> {
  return {
    name: memberName(name),
    topology,
    directory: '/data',
    limits: {
      ...plan.admission,
      hintBytes: plan.hintBytes,
      ...(plan.truncation === undefined ? {} : { clockEntries: plan.truncation.entries, clockEntryAgeMs: plan.truncation.ageMs }),
    },
    timings: {
      collectMs: plan.collectMs,
      hintOverdueMs: plan.hintOverdueMs,
      ...(plan.repairs ? { repairMs: 5000, repairRetryMs: 300, scrubMs: 20_000 } : { repairMs: 0, scrubMs: 0 }),
    },
    engine: {
      fsync: plan.fsync,
      memtableBytes: plan.memtableBytes,
      cacheBytes: (plan.singleReads ? 8 : 64) * 1024,
      openFiles: 16,
      blockBytes: 512,
      tableBytes: 16 * 1024,
      levelBaseBytes: 32 * 1024,
      levelRatio: 4,
      level0Compact: 2,
      // Not zstd: zlib's handles are async resources, which the guard forbids.
      compression: ['none', 'snappy', 'lz4'],
      reserveBytes: 8 * 1024,
      // Memory of evicted blocks is overwritten: who kept a value too long shows it.
      poison: true,
    },
  };
}
