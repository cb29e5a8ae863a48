/** `make bench NAME=resp`: one node over RESP against a bare Node server and redis-server, loaded by redis-benchmark. */

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { inTurn, type Row, row } from './measure.ts';
import { freePorts, inTemporaryDirectory, requireProgram, ServerProcess, startSingle } from './servers.ts';

const ROUNDS = 3;
const CLIENTS = 50;
const VALUE_BYTES = 1024;
const KEYS = 100_000;
const OPERATIONS: Readonly<Record<string, number>> = { 1: 150_000, 16: 400_000 };
const BARE = fileURLToPath(new URL('peers/bare-log-server.ts', import.meta.url));

type Case = `${'SET' | 'GET'} ${'1' | '16'}`;
type Rates = Readonly<Record<Case, number>>;

async function benchmark(port: number, depth: number): Promise<Readonly<Record<'SET' | 'GET', number>>> {
  const args = [
    '-p',
    String(port),
    '-c',
    String(CLIENTS),
    '-n',
    String(OPERATIONS[depth]),
    '-d',
    String(VALUE_BYTES),
    '-r',
    String(KEYS),
    '-P',
    String(depth),
  ];
  const { stdout } = await promisify(execFile)('redis-benchmark', [...args, '-t', 'set,get', '--csv']);
  const rate = (name: string): number => Number(new RegExp(`"${name}","([\\d.]+)"`).exec(stdout)?.[1] ?? Number.NaN);
  return { SET: rate('SET'), GET: rate('GET') };
}

async function measured(port: number): Promise<Rates> {
  const one = await benchmark(port, 1);
  const sixteen = await benchmark(port, 16);
  return { 'SET 1': one.SET, 'GET 1': one.GET, 'SET 16': sixteen.SET, 'GET 16': sixteen.GET };
}

async function ours(): Promise<Rates> {
  return inTemporaryDirectory(async (directory) => {
    const { server, ports } = await startSingle(directory, ['--fsync', 'interval', '--fsync-interval-ms', '1000']);
    try {
      return await measured(ports.resp);
    } finally {
      await server.stop();
    }
  });
}

async function peer(start: (directory: string, port: number) => ServerProcess): Promise<Rates> {
  return inTemporaryDirectory(async (directory) => {
    const [port = 0] = await freePorts(1);
    const server = start(directory, port);
    try {
      await server.listening(port);
      return await measured(port);
    } finally {
      await server.stop();
    }
  });
}

export async function resp(): Promise<Row[]> {
  requireProgram('redis-benchmark', 'redis-tools');
  requireProgram('redis-server', 'redis-server');
  const results = await inTurn(ROUNDS, {
    ours,
    'bare Node + log': () => peer((directory, port) => new ServerProcess(process.execPath, [BARE, String(port), `${directory}/bare.log`])),
    'redis, everysec': () =>
      peer(
        (directory, port) =>
          new ServerProcess('redis-server', [
            '--port',
            String(port),
            '--dir',
            directory,
            '--bind',
            '127.0.0.1',
            '--appendonly',
            'yes',
            '--appendfsync',
            'everysec',
            '--save',
            '',
            '--loglevel',
            'warning',
          ]),
      ),
  });
  return (['SET 1', 'GET 1', 'SET 16', 'GET 16'] as const).flatMap((name) => {
    const [verb = '', depth = ''] = name.split(' ');
    const setup = `${verb}, depth ${depth}; N=1 R=W=1, fsync interval 1 s, 1 KiB values, ${CLIENTS} clients`;
    const rates = (list: readonly Rates[]): number[] => list.map((result) => result[name]);
    return (['bare Node + log', 'redis, everysec'] as const).map((other) =>
      row(setup, 'ops/s', rates(results.ours), other, rates(results[other])),
    );
  });
}
