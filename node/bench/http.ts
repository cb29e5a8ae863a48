/** `make bench NAME=http`: one node over HTTP against Koa saying hello, loaded by wrk. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { inTemporaryDirectory, outputOf } from './children.ts';
import { inTurn, type Row, row } from './measure.ts';
import { freePorts } from '../src/cli/dev/ports.ts';
import { requireProgram, ServerProcess, startSingle } from './servers.ts';

const ROUNDS = 5;
const CONNECTIONS = 50;
const SECONDS = 4;
const VALUE_BYTES = 1024;
const KEYS = 10_000;
const HELLO = fileURLToPath(new URL('peers/koa-hello.ts', import.meta.url));

async function wrk(url: string, script?: string): Promise<number> {
  const args = ['-t', '1', '-c', String(CONNECTIONS), '-d', `${SECONDS}s`, ...(script === undefined ? [] : ['-s', script]), url];
  const printed = await outputOf('wrk', args);
  const refused = /Non-2xx or 3xx responses: (\d+)/.exec(printed)?.[1];
  if (refused !== undefined) throw new Error(`${refused} answers of ${url} were failures`);
  return Number(/Requests\/sec:\s+([\d.]+)/.exec(printed)?.[1] ?? Number.NaN);
}

/** wrk's script for one method: the keys in turn, so that the first seconds of PUT write them all. Requests are made once, as for the peer. */
function script(directory: string, method: 'GET' | 'PUT'): string {
  const path = join(directory, `${method}.lua`);
  const body = method === 'PUT' ? `wrk.body = string.rep("x", ${VALUE_BYTES})\n` : '';
  writeFileSync(
    path,
    `${body}local requests, at = {}, 0
init = function()
  for key = 1, ${KEYS} do requests[key] = wrk.format("${method}", "/v1/kv/default/key-" .. key) end
end
request = function()
  at = at % ${KEYS} + 1
  return requests[at]
end
`,
  );
  return path;
}

export async function http(): Promise<Row[]> {
  requireProgram('wrk', 'wrk');
  return inTemporaryDirectory(async (directory) => {
    const ours = await startSingle(join(directory, 'data'), ['--fsync', 'interval', '--fsync-interval-ms', '1000']);
    const url = `http://127.0.0.1:${ours.ports.http}`;
    const [port = 0] = await freePorts(1);
    const koa = new ServerProcess(process.execPath, [HELLO, String(port)]);
    await koa.listening(port);
    const hello = (): Promise<number> => wrk(`http://127.0.0.1:${port}/`);
    // The keys, and a warm start for both.
    await wrk(url, script(directory, 'PUT'));
    await hello();
    const rows: Row[] = [];
    for (const method of ['GET', 'PUT'] as const) {
      const path = script(directory, method);
      const results = await inTurn(method, ROUNDS, { ours: () => wrk(url, path), 'Koa hello world': hello });
      const setup = `${method} of 1 KiB; N=1 R=W=1, fsync interval 1 s, ${CONNECTIONS} connections; peer: GET of 11 bytes`;
      rows.push(row(setup, 'requests/s', results.ours, 'Koa hello world', results['Koa hello world']));
    }
    await Promise.all([ours.server.stop(), koa.stop()]);
    return rows;
  });
}
