/**
 * Where a development cluster lives on disk: `topology.json`, and for each node a data directory and a log beside it.
 *
 * Invariant: the topology is written once, when the cluster is made; starting again finds the same members, ports and data.
 */

import { join } from 'node:path';

import { CoterieError } from '../../base/errors.ts';
import { bucketId, clusterId, memberName } from '../../base/ids.ts';
import { createTopology } from '../../cluster/ring/topology-create.ts';
import { type BucketDefinition, DEFAULT_PARTITIONS, type Topology } from '../../cluster/ring/topology.ts';
import { randomHex } from '../random.ts';
import { openTopologyFile } from '../topology-file.ts';
import { freePorts, HOST, requirePort } from './ports.ts';

export interface DevRequest {
  readonly directory: string;
  /** `undefined`: as the directory has it, else 5. */
  readonly nodes: number | undefined;
  /** `undefined`: as the directory has it, else 3. */
  readonly zones: number | undefined;
  readonly replicas: number | undefined;
  /** Buckets beside `default`; only when the cluster is made. */
  readonly buckets: readonly string[];
  /** Whether a bucket named `strong` is made too: it needs `fsync: always`. */
  readonly strong: boolean;
  /** Free ports instead of 6400+i, 8400+i, 7400+i. */
  readonly freePorts: boolean;
}

const STRONG = 'strong';
const BASES = { respPort: 6400, httpPort: 8400, peerPort: 7400 } as const;

export function topologyPath(directory: string): string {
  return join(directory, 'topology.json');
}

export function dataPath(directory: string, name: string): string {
  return join(directory, name);
}

export function logPath(directory: string, name: string): string {
  return join(directory, `${name}.log`);
}

/**
 * The topology of the cluster in the directory, made there if there is none.
 *
 * @throws CoterieError SETTING_INVALID when the directory holds a cluster of another shape; CLUSTER_TOO_SMALL
 */
export async function openLayout(request: DevRequest): Promise<{ topology: Topology; isNew: boolean }> {
  const layout = await openTopologyFile(topologyPath(request.directory), () => newTopology(request));
  if (!layout.isNew) compare(request, layout.topology);
  return layout;
}

function compare(request: DevRequest, topology: Topology): void {
  const zones = new Set(topology.members.map(({ zone }) => zone)).size;
  const differs = (asked: number | undefined, has: number): boolean => asked !== undefined && asked !== has;
  if (differs(request.nodes, topology.members.length) || differs(request.zones, zones) || differs(request.replicas, topology.N)) {
    throw new CoterieError(
      'SETTING_INVALID',
      `${request.directory} holds a cluster of ${topology.members.length} nodes in ${zones} zones with N=${topology.N}; ` +
        `ask for the same, name another directory with --data, or remove it to start afresh`,
    );
  }
}

async function newTopology(request: DevRequest): Promise<Topology> {
  const nodes = request.nodes ?? 5;
  const zones = Math.min(request.zones ?? 3, nodes);
  const ports = request.freePorts ? await freePorts(3 * nodes) : undefined;
  const port = (index: number, which: 0 | 1 | 2, base: number): number => ports?.[3 * index + which] ?? base + index + 1;
  const N = request.replicas ?? Math.min(3, nodes);
  return createTopology({
    clusterId: clusterId(randomHex(16)),
    tokenSeed: randomHex(8),
    N,
    Q: DEFAULT_PARTITIONS,
    buckets: bucketsOf(request, N),
    members: Array.from({ length: nodes }, (_, index) => ({
      name: memberName(`node-${index + 1}`),
      address: {
        host: HOST,
        respPort: port(index, 0, BASES.respPort),
        httpPort: port(index, 1, BASES.httpPort),
        peerPort: port(index, 2, BASES.peerPort),
      },
      zone: `zone-${(index % zones) + 1}`,
      rack: 'rack-1',
      weight: 1,
    })),
  });
}

function bucketsOf({ buckets, strong }: DevRequest, N: number): BucketDefinition[] {
  const made = ['default', ...buckets].map((name, index) => majorityBucket(name, index, N));
  if (!strong || buckets.includes(STRONG)) return made;
  return [...made, { ...majorityBucket(STRONG, made.length, N), consistency: 'strong' }];
}

/** A bucket whose reads and writes overlap: R and W are majorities of N. */
function majorityBucket(name: string, index: number, N: number): BucketDefinition {
  const majority = Math.floor(N / 2) + 1;
  return { id: bucketId(index), name, consistency: 'eventual', R: majority, W: majority, blindWrites: 'newest' };
}

/** @throws CoterieError PORT_IN_USE naming the port and the node it is for */
export async function requirePorts(topology: Topology): Promise<void> {
  for (const { name, address } of topology.members) {
    for (const port of [address.respPort, address.httpPort, address.peerPort]) {
      await requirePort(port).catch((error: unknown) => {
        throw new CoterieError(
          'PORT_IN_USE',
          `port ${port} of ${name} is in use: is this cluster, or another one, running already? Stop it, or start this one with --data DIRECTORY --ports free`,
          { cause: error },
        );
      });
    }
  }
}
