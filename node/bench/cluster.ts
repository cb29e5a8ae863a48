/** `make bench NAME=cluster`: three nodes with N = 3, R = W = 2 and durable writes against three members of etcd. */

import { join } from 'node:path';

import type { LoadPlan, LoadResult } from './load/generator.ts';
import { load } from './load/load.ts';
import { inTurn, type Row, row } from './measure.ts';
import { freePorts, inTemporaryDirectory, requireProgram, ServerProcess, startCluster } from './servers.ts';

const ROUNDS = 3;
const MEMBERS = 3;
const CLIENTS = 50;
const SECONDS = 8;
const KEYS = 20_000;
const VALUE_BYTES = 1024;

interface Measured extends LoadResult {
  /** Processor time of all members, in microseconds an operation. */
  readonly cpuUs: number;
}

interface Measurements {
  readonly set: Measured;
  readonly get: Measured;
}

async function measured(servers: readonly ServerProcess[], protocol: 'resp' | 'etcd', ports: readonly number[]): Promise<Measurements> {
  const plan: LoadPlan = { protocol, ports, clients: CLIENTS, depth: 1, seconds: SECONDS, keys: KEYS, valueBytes: VALUE_BYTES, reads: 0 };
  await load({ ...plan, seconds: 600, operations: KEYS, sequential: true });
  const timed = async (reads: number): Promise<Measured> => {
    const cpu = (): number => servers.reduce((sum, server) => sum + server.cpuSeconds(), 0);
    const before = cpu();
    const result = await load({ ...plan, reads });
    return { ...result, cpuUs: ((cpu() - before) * 1e6) / result.operations };
  };
  return { set: await timed(0), get: await timed(1) };
}

async function ours(): Promise<Measurements> {
  return inTemporaryDirectory(async (directory) => {
    const { servers, ports } = await startCluster(directory, MEMBERS, ['--fsync', 'always']);
    try {
      return await measured(
        servers,
        'resp',
        ports.map(({ resp }) => resp),
      );
    } finally {
      await Promise.all(servers.map((server) => server.stop()));
    }
  });
}

async function etcd(): Promise<Measurements> {
  return inTemporaryDirectory(async (directory) => {
    const free = await freePorts(2 * MEMBERS);
    const peerUrl = (index: number): string => `http://127.0.0.1:${free[2 * index] ?? 0}`;
    const clientPort = (index: number): number => free[2 * index + 1] ?? 0;
    const indexes = Array.from({ length: MEMBERS }, (_, index) => index);
    const initial = indexes.map((index) => `m${index}=${peerUrl(index)}`).join(',');
    const servers = indexes.map((index) => {
      const client = `http://127.0.0.1:${clientPort(index)}`;
      const urls = ['--listen-client-urls', client, '--advertise-client-urls', client, '--listen-peer-urls', peerUrl(index)];
      const cluster = ['--initial-advertise-peer-urls', peerUrl(index), '--initial-cluster', initial, '--initial-cluster-state', 'new'];
      return new ServerProcess('etcd', [
        '--name',
        `m${index}`,
        '--data-dir',
        join(directory, `m${index}`),
        ...urls,
        ...cluster,
        '--logger',
        'zap',
        '--log-level',
        'error',
      ]);
    });
    try {
      for (const [index, server] of servers.entries()) await server.listening(clientPort(index));
      return await measured(servers, 'etcd', indexes.map(clientPort));
    } finally {
      await Promise.all(servers.map((server) => server.stop()));
    }
  });
}

export async function cluster(): Promise<Row[]> {
  requireProgram('etcd', 'etcd-server');
  const results = await inTurn(ROUNDS, { ours, 'etcd x 3': etcd });
  const figures: readonly (readonly [keyof Measured, string])[] = [
    ['perSecond', 'ops/s'],
    ['p50Ms', 'ms p50'],
    ['p99Ms', 'ms p99'],
    ['p999Ms', 'ms p99.9'],
    ['cpuUs', 'us of CPU an operation, all members'],
  ];
  const setup = `3 nodes, N=3 R=W=2, fsync always, 1 KiB values, ${CLIENTS} clients; etcd by its JSON gateway`;
  return (['set', 'get'] as const).flatMap((name) =>
    figures.map(([figure, unit]) =>
      row(
        `${name === 'set' ? 'durable SET' : 'GET (etcd: serializable)'}; ${setup}`,
        unit,
        results.ours.map((result) => result[name][figure]),
        'etcd x 3',
        results['etcd x 3'].map((result) => result[name][figure]),
      ),
    ),
  );
}
