/** `make bench NAME=resp`: one node over RESP against a bare Node server and redis-server, loaded by redis-benchmark. */

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { inTemporaryDirectory, outputOf } from './children.ts';
import { inTurn, type Row, row } from './measure.ts';
import { freePorts } from '../src/cli/dev/ports.ts';
import { requireProgram, ServerProcess, startSingle } from './servers.ts';

const ROUNDS = 5;
const CLIENTS = 50;
const VALUE_BYTES = 1024;
const KEYS = 50_000;
const BARE = fileURLToPath(new URL('peers/bare-log-server.ts', import.meta.url));

/** In this order: the pipelined writes leave no key out for the reads. */
const CASES = [
  { verb: 'SET', depth: 16, operations: 300_000 },
  { verb: 'GET', depth: 16, operations: 500_000 },
  { verb: 'SET', depth: 1, operations: 150_000 },
  { verb: 'GET', depth: 1, operations: 150_000 },
] as const;

type Case = (typeof CASES)[number];

async function benchmark(port: number, { verb, depth, operations }: Case): Promise<number> {
  const load = ['-c', CLIENTS, '-n', operations, '-d', VALUE_BYTES, '-r', KEYS, '-P', depth].map(String);
  const printed = await outputOf('redis-benchmark', ['-p', String(port), ...load, '-t', verb.toLowerCase(), '--csv']);
  return Number(new RegExp(`"${verb}","([\\d.]+)"`).exec(printed)?.[1] ?? Number.NaN);
}

async function bareServer(directory: string): Promise<{ server: ServerProcess; port: number }> {
  const [port = 0] = await freePorts(1);
  const server = new ServerProcess(process.execPath, [BARE, String(port), join(directory, 'bare.log')]);
  await server.listening(port);
  return { server, port };
}

async function redisServer(directory: string): Promise<{ server: ServerProcess; port: number }> {
  const [port = 0] = await freePorts(1);
  const settings = ['--appendonly', 'yes', '--appendfsync', 'everysec', '--save', '', '--loglevel', 'warning', '--logfile', '/dev/null'];
  const server = new ServerProcess('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--dir', directory, ...settings]);
  await server.listening(port);
  return { server, port };
}

export async function resp(): Promise<Row[]> {
  requireProgram('redis-benchmark', 'redis-tools');
  requireProgram('redis-server', 'redis-server');
  return inTemporaryDirectory(async (directory) => {
    const ours = await startSingle(join(directory, 'ours'), ['--fsync', 'interval', '--fsync-interval-ms', '1000']);
    const bare = await bareServer(directory);
    const redis = await redisServer(directory);
    const rows: Row[] = [];
    for (const one of CASES) {
      const results = await inTurn(`${one.verb}, depth ${one.depth}`, ROUNDS, {
        ours: () => benchmark(ours.ports.resp, one),
        'bare Node + log': () => benchmark(bare.port, one),
        'redis, everysec': () => benchmark(redis.port, one),
      });
      const setup = `${one.verb}, depth ${one.depth}; N=1 R=W=1, fsync interval 1 s, 1 KiB values, ${CLIENTS} clients`;
      for (const peer of ['bare Node + log', 'redis, everysec'] as const) rows.push(row(setup, 'ops/s', results.ours, peer, results[peer]));
    }
    await Promise.all([ours.server.stop(), bare.server.stop(), redis.server.stop()]);
    return rows;
  });
}
