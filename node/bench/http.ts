/** `make bench NAME=http`: one node over HTTP against Koa saying hello, loaded by wrk. */

import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { inTurn, type Row, row } from './measure.ts';
import { freePorts, inTemporaryDirectory, requireProgram, ServerProcess, startSingle } from './servers.ts';

const ROUNDS = 3;
const CONNECTIONS = 50;
const SECONDS = 5;
const VALUE_BYTES = 1024;
const KEYS = 10_000;
const HELLO = fileURLToPath(new URL('peers/koa-hello.ts', import.meta.url));

async function wrk(url: string, script?: string): Promise<number> {
  const args = ['-t', '1', '-c', String(CONNECTIONS), '-d', `${SECONDS}s`, ...(script === undefined ? [] : ['-s', script]), url];
  const { stdout } = await promisify(execFile)('wrk', args);
  const refused = /Non-2xx or 3xx responses: (\d+)/.exec(stdout)?.[1];
  if (refused !== undefined) throw new Error(`${refused} answers of ${url} were failures`);
  return Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1] ?? Number.NaN);
}

/** wrk's script for one method over random keys. */
function script(directory: string, method: 'GET' | 'PUT'): string {
  const path = join(directory, `${method}.lua`);
  const body = method === 'PUT' ? `wrk.body = string.rep("x", ${VALUE_BYTES})\n` : '';
  writeFileSync(
    path,
    `${body}request = function()\n  return wrk.format("${method}", "/v1/kv/default/key-" .. math.random(1, ${KEYS}))\nend\n`,
  );
  return path;
}

interface Rates {
  readonly get: number;
  readonly put: number;
}

async function ours(): Promise<Rates> {
  return inTemporaryDirectory(async (directory) => {
    const { server, ports } = await startSingle(join(directory, 'data'), ['--fsync', 'interval', '--fsync-interval-ms', '1000']);
    try {
      const url = `http://127.0.0.1:${ports.http}`;
      for (let key = 1; key <= KEYS; key += 1) {
        const response = await fetch(`${url}/v1/kv/default/key-${key}`, { method: 'PUT', body: 'x'.repeat(VALUE_BYTES) });
        await response.arrayBuffer();
      }
      return { put: await wrk(url, script(directory, 'PUT')), get: await wrk(url, script(directory, 'GET')) };
    } finally {
      await server.stop();
    }
  });
}

async function hello(): Promise<Rates> {
  const [port = 0] = await freePorts(1);
  const server = new ServerProcess(process.execPath, [HELLO, String(port)]);
  try {
    await server.listening(port);
    const rate = await wrk(`http://127.0.0.1:${port}/`);
    return { get: rate, put: rate };
  } finally {
    await server.stop();
  }
}

export async function http(): Promise<Row[]> {
  requireProgram('wrk', 'wrk');
  const results = await inTurn(ROUNDS, { ours, 'Koa hello world': hello });
  const setup = `N=1 R=W=1, fsync interval 1 s, ${CONNECTIONS} connections`;
  return (['get', 'put'] as const).map((name) =>
    row(
      `${name.toUpperCase()} of 1 KiB; ${setup}`,
      'requests/s',
      results.ours.map((rates) => rates[name]),
      'Koa hello world',
      results['Koa hello world'].map((rates) => rates[name]),
    ),
  );
}
