/** `make bench NAME=cluster`: three nodes with N = 3, R = W = 2 and durable writes against three members of etcd, eventual and strong. */

import { join } from 'node:path';

import { inTemporaryDirectory } from './children.ts';
import type { LoadPlan, LoadResult } from './load/generator.ts';
import { load } from './load/load.ts';
import { inTurn, type Row, row } from './measure.ts';
import { freePorts } from '../src/cli/dev/ports.ts';
import { requireProgram, ServerProcess, startCluster } from './servers.ts';

const ROUNDS = 3;
const MEMBERS = 3;
const CLIENTS = 50;
const SECONDS = 6;
/** Untimed rounds before the first: a node's code is compiled while it runs, and half a minute of load passes before it is as fast as it stays. */
const WARM_ROUNDS = 3;
const KEYS = 20_000;
const VALUE_BYTES = 1024;

interface Measured extends LoadResult {
  /** Processor time of all members, in microseconds an operation. */
  readonly cpuUs: number;
}

/** Members under test and how to speak to them. */
interface Contestant {
  readonly servers: readonly ServerProcess[];
  readonly protocol: LoadPlan['protocol'];
  readonly ports: readonly number[];
}

function planOf({ protocol, ports }: Contestant): LoadPlan {
  return { protocol, ports, clients: CLIENTS, depth: 1, seconds: SECONDS, keys: KEYS, valueBytes: VALUE_BYTES, reads: 0 };
}

/** The same members by another protocol. */
function by(contestant: Contestant, protocol: LoadPlan['protocol']): Contestant {
  return { ...contestant, protocol };
}

async function fill(contestant: Contestant): Promise<void> {
  await load({ ...planOf(contestant), seconds: 600, operations: KEYS, sequential: true });
}

async function measured(contestant: Contestant, reads: number): Promise<Measured> {
  const cpu = (): number => contestant.servers.reduce((sum, server) => sum + server.cpuSeconds(), 0);
  const before = cpu();
  const result = await load({ ...planOf(contestant), reads });
  return { ...result, cpuUs: ((cpu() - before) * 1e6) / result.operations };
}

async function coterie(directory: string): Promise<Contestant> {
  const { servers, ports } = await startCluster(directory, MEMBERS, ['--fsync', 'always']);
  return { servers, protocol: 'resp', ports: ports.map(({ resp }) => resp) };
}

async function etcd(directory: string): Promise<Contestant> {
  const free = await freePorts(2 * MEMBERS);
  const peerUrl = (index: number): string => `http://127.0.0.1:${free[2 * index] ?? 0}`;
  const clientPort = (index: number): number => free[2 * index + 1] ?? 0;
  const indexes = Array.from({ length: MEMBERS }, (_, index) => index);
  const initial = indexes.map((index) => `m${index}=${peerUrl(index)}`).join(',');
  const servers = indexes.map((index) => {
    const client = `http://127.0.0.1:${clientPort(index)}`;
    const urls = ['--listen-client-urls', client, '--advertise-client-urls', client, '--listen-peer-urls', peerUrl(index)];
    const cluster = ['--initial-advertise-peer-urls', peerUrl(index), '--initial-cluster', initial, '--initial-cluster-state', 'new'];
    const where = ['--name', `m${index}`, '--data-dir', join(directory, `etcd-${index}`)];
    return new ServerProcess('etcd', [...where, ...urls, ...cluster, '--logger', 'zap', '--log-level', 'error']);
  });
  for (const [index, server] of servers.entries()) {
    await server.until('is healthy', async () => {
      const response = await fetch(`http://127.0.0.1:${clientPort(index)}/health`);
      return (await response.text()).includes('"true"');
    });
  }
  return { servers, protocol: 'etcd', ports: indexes.map(clientPort) };
}

const FIGURES: readonly (readonly [keyof Measured, string])[] = [
  ['perSecond', 'ops/s'],
  ['p50Ms', 'ms p50'],
  ['p99Ms', 'ms p99'],
  ['p999Ms', 'ms p99.9'],
  ['cpuUs', 'us of CPU an operation, all members'],
];

export async function cluster(): Promise<Row[]> {
  requireProgram('etcd', 'etcd-server');
  return inTemporaryDirectory(async (directory) => {
    const ours = await coterie(directory);
    const peer = await etcd(directory);
    const strong = by(ours, 'resp-strong');
    const linearizable = by(peer, 'etcd-linearizable');
    await fill(ours);
    await fill(strong);
    await fill(peer);
    const setup = `3 nodes, N=3 R=W=2, fsync always, 1 KiB values, ${CLIENTS} clients, warm after ${WARM_ROUNDS * SECONDS} s; ours by RESP, etcd by its JSON gateway (HTTP/1.1 keep-alive), one load generator`;
    const rows: Row[] = [];
    for (const [name, reads, us, them] of [
      ['durable SET', 0, ours, peer],
      ['GET (etcd: serializable)', 1, ours, peer],
      ['SET in a strong bucket', 0, strong, linearizable],
      ['GET in a strong bucket (etcd: linearizable)', 1, strong, linearizable],
    ] as const) {
      for (let round = 0; round < WARM_ROUNDS; round += 1) {
        await measured(us, reads);
        await measured(them, reads);
      }
      const results = await inTurn(name, ROUNDS, { ours: () => measured(us, reads), 'etcd x 3': () => measured(them, reads) });
      for (const [figure, unit] of FIGURES) {
        const figures = (list: readonly Measured[]): number[] => list.map((result) => result[figure]);
        rows.push(row(`${name}; ${setup}`, unit, figures(results.ours), 'etcd x 3', figures(results['etcd x 3'])));
      }
    }
    await Promise.all([...ours.servers, ...peer.servers].map((server) => server.stop()));
    return rows;
  });
}
