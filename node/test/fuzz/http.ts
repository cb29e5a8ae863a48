/**
 * Feeds odd and wrong input to the HTTP API: `node test/fuzz/http.ts --count 1000000 --seed 1`.
 *
 * Most inputs are requests that HTTP understands, with wrong encodings, parameters, headers and bodies, many on one connection: each must have
 * exactly one answer, and one that is no success must be a problem document with a code. The others are mutated bytes on connections of their own. A
 * crash, an internal error, memory that grows, or a good request that fails afterwards ends the program with exit code 1. The last line of its
 * output is JSON.
 */

import { connect, type Socket } from 'node:net';

import { readFlags, wholeNumber } from '../../sim/command/flags.ts';
import { HttpServed } from '../http/serve.ts';
import { SeededRandom } from '../transport/cluster.ts';
import { check, rounds } from './growth.ts';
import { type HttpInput, HttpInputs } from './http-inputs.ts';

const WIDTH = 16;
const BATCH = 16;
const STATUSES = new Set([200, 204, 300, 400, 401, 403, 404, 405, 409, 413, 429, 503]);
const SUCCESS = new Set([200, 204, 300]);
const GOOD = '/v1/kv/default/good';

interface Response {
  readonly status: number;
  readonly head: string;
  readonly body: string;
  readonly end: number;
}

/** The response that begins at `from`; `undefined` while it is not complete. A bodiless one is told by its status or by `bodiless`. */
function responseAt(text: string, from: number, bodiless: boolean): Response | undefined {
  const blank = text.indexOf('\r\n\r\n', from);
  if (blank === -1) return undefined;
  const head = text.slice(from, blank);
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1] ?? 0);
  check(status > 0, `no response begins with ${JSON.stringify(head.slice(0, 80))}`);
  if (status === 100) return responseAt(text, blank + 4, bodiless);
  const length = bodiless || status === 204 ? 0 : Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0);
  const end = blank + 4 + length;
  return end > text.length ? undefined : { status, head, body: text.slice(blank + 4, end), end };
}

function judge(input: HttpInput, { status, head, body }: Response): void {
  const asked = `${input.method} ${input.path}: ${status}`;
  check(STATUSES.has(status), `${asked} ${body.slice(0, 300)}`);
  if (SUCCESS.has(status) || input.method === 'HEAD') return;
  check(head.includes('\r\nContent-Type: application/problem+json'), `${asked}, but no problem document: ${head}`);
  const problem = JSON.parse(body) as Record<string, unknown>;
  check(problem['status'] === status && /^[A-Z_]+$/.test(String(problem['code'])), `${asked}: ${body}`);
}

/** Sends the inputs one behind the other on one connection, without waiting. */
function converse(port: number, inputs: HttpInputs, batch: readonly HttpInput[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect(port, '127.0.0.1', () => {
      for (const input of batch) socket.write(inputs.encode(input));
    });
    let text = '';
    let answered = 0;
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      try {
        let at = 0;
        for (;;) {
          const input = batch[answered];
          const response = input === undefined ? undefined : responseAt(text, at, input.method === 'HEAD');
          if (input === undefined || response === undefined) break;
          judge(input, response);
          at = response.end;
          answered += 1;
        }
        text = text.slice(at);
        check(answered < batch.length || text === '', `bytes behind the last response: ${text.slice(0, 200)}`);
        if (answered === batch.length) socket.end();
      } catch (error) {
        socket.destroy(error as Error);
      }
    });
    socket.on('error', reject);
    socket.on('close', () => {
      if (answered === batch.length) {
        resolve();
        return;
      }
      const asked = JSON.stringify(batch[answered]?.path);
      reject(new Error(`fuzzing found: ${answered} answers to ${batch.length} requests, then ${text.slice(0, 300)}; asked was ${asked}`));
    });
  });
}

/** Sends bytes on a connection of their own, and waits until it is closed. */
function attack(port: number, bytes: readonly Buffer[], abandon: boolean): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      for (const each of bytes) socket.write(each);
      if (abandon) socket.destroy();
      else socket.end();
    });
    socket.resume();
    socket.on('error', () => undefined);
    socket.on('close', () => {
      resolve();
    });
  });
}

async function goodRequest(served: HttpServed): Promise<void> {
  const put = await served.ask('PUT', GOOD, { body: 'good' });
  const got = await served.ask('GET', GOOD);
  check(
    put.status === 204 && got.status === 200 && got.body.toString() === 'good',
    `a good request was answered with ${put.status}, ${got.status}`,
  );
  check(
    served.logged.every(({ event }) => event !== 'http-internal-error'),
    `an internal error: ${JSON.stringify(served.logged.find(({ event }) => event === 'http-internal-error'))}`,
  );
  served.logged.length = 0;
}

async function fuzzRequests(count: number, random: SeededRandom): Promise<object> {
  const inputs = new HttpInputs(random);
  const served = await HttpServed.start({ delay: () => random.below(3) });
  const growth = await rounds(count, async () => {
    const batches = Array.from({ length: WIDTH }, () => Array.from({ length: BATCH }, () => inputs.request()));
    await Promise.all(batches.map((batch) => converse(served.port, inputs, batch)));
    await goodRequest(served);
    served.node.clear();
    return WIDTH * BATCH;
  });
  const statuses = Object.fromEntries(
    [...served.metrics.expose().matchAll(/method="(\w+)",status="(\d+)"\} (\d+)/g)].map((m) => [
      `${m[1] ?? ''} ${m[2] ?? ''}`,
      Number(m[3]),
    ]),
  );
  await served.stop();
  return { inputs: count, statuses, growth };
}

async function fuzzBytes(count: number, random: SeededRandom): Promise<object> {
  const inputs = new HttpInputs(random);
  const served = await HttpServed.start();
  const growth = await rounds(count, async () => {
    const attacks = Array.from({ length: WIDTH }, () => Array.from({ length: 1 + random.below(4) }, () => inputs.mutated()));
    await Promise.all(attacks.map((bytes) => attack(served.port, bytes, random.below(4) === 0)));
    await goodRequest(served);
    served.node.clear();
    return attacks.reduce((sum, bytes) => sum + bytes.length, 0);
  });
  await served.stop();
  return { inputs: count, growth };
}

const values = readFlags({ count: { type: 'string' }, seed: { type: 'string' } });
const count = wholeNumber(values.count, 20_000, 'count', 1000);
const seed = wholeNumber(values.seed, 1, 'seed', 0);

const started = performance.now();
try {
  const requests = await fuzzRequests(Math.ceil(count * 0.7), new SeededRandom(seed));
  const bytes = await fuzzBytes(Math.ceil(count * 0.3), new SeededRandom(seed + 1));
  const seconds = Math.round((performance.now() - started) / 100) / 10;
  console.log(JSON.stringify({ ok: true, seed, inputs: count, seconds, requests, bytes }));
} catch (error) {
  console.error(error);
  console.log(JSON.stringify({ ok: false, seed, inputs: count, error: String(error) }));
  process.exitCode = 1;
}
