/**
 * Feeds odd and wrong input to the Redis protocol: `node test/fuzz/resp.ts --count 1000000 --seed 1`.
 *
 * Half of the inputs are requests that parse, each of which must have exactly one reply, in order; most others are mutated bytes, cut at
 * random; the rest goes through real sockets. A crash, a reply that is none, an internal error, memory that grows, or a good request that fails
 * afterwards ends the program with exit code 1. The last line of its output is JSON.
 */

import { connect } from 'node:net';

import { readFlags, wholeNumber } from '../../sim/command/flags.ts';
import { NodeNetwork } from '../../src/env-node/network.ts';
import { RawClient } from '../conformance/raw-client.ts';
import { replyEnd } from '../conformance/reply-reader.ts';
import { type RespClient, RespDrive, request } from '../resp/drive.ts';
import { SeededRandom } from '../transport/cluster.ts';
import { check, rounds } from './growth.ts';
import { RespInputs } from './resp-inputs.ts';

const MARK = 'the-mark-of-the-fuzzer';
const MARK_REPLY = `$${MARK.length}\r\n${MARK}\r\n`;
/** Requests per connection: what one left half-read must not swallow the next. */
const BATCH = 20;
/** Now and then another server, whose node answers at once or later. */
const BATCHES_PER_SERVER = 200;

/** Replies as whole ones; fails where bytes are none. */
function repliesOf(text: string): string[] {
  const bytes = Buffer.from(text, 'latin1');
  const replies: string[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = replyEnd(bytes, at);
    check(end !== undefined, `a reply that does not end: ${JSON.stringify(text.slice(at, at + 200))}`);
    replies.push(text.slice(at, end));
    at = end ?? bytes.length;
  }
  check(!replies.some((reply) => reply.startsWith('-') && reply.includes('INTERNAL')), `an internal error: ${text.slice(0, 500)}`);
  return replies;
}

class Victim {
  drive: RespDrive;
  #batches = 0;
  readonly #random: SeededRandom;

  constructor(random: SeededRandom) {
    this.#random = random;
    this.drive = this.#fresh();
  }

  #fresh(): RespDrive {
    const turns = this.#random.below(2) === 0 ? 0 : 4;
    return new RespDrive({
      delay: () => (turns === 0 ? 0 : this.#random.below(turns)),
      resp: { requestBytes: 20_000, receiveBytes: 200_000, arguments: 4096, pipeline: 8 },
    });
  }

  async goodRequest(): Promise<void> {
    const client = this.drive.connect();
    const reply = (await client.ask('SET', 'good', MARK)) + (await client.ask('GET', 'good'));
    check(reply === `+OK\r\n${MARK_REPLY}`, `a good request was answered with ${JSON.stringify(reply)}`);
    client.handler.onClose();
    check(this.drive.server.budget.taken === 0, 'bytes of requests are kept that no session holds');
    check([...this.drive.server.clients()].length === 0, 'sessions outlive their connections');
    check(
      this.drive.logged.every(({ event }) => event !== 'resp-internal-error'),
      `an internal error: ${JSON.stringify(this.drive.logged[0])}`,
    );
    this.drive.node.clear();
    this.#batches += 1;
    if (this.#batches % BATCHES_PER_SERVER === 0) this.drive = this.#fresh();
  }
}

function give(client: RespClient, inputs: RespInputs, bytes: Buffer): void {
  for (const piece of inputs.pieces(bytes)) client.give(piece);
}

/** Requests that parse: one reply each, in order. */
async function fuzzRequests(count: number, random: SeededRandom): Promise<object> {
  const inputs = new RespInputs(random);
  const victim = new Victim(random);
  let errors = 0;
  const growth = await rounds(count, async () => {
    const client = victim.drive.connect();
    const sent: Buffer[] = [];
    for (let n = 0; n < BATCH; n += 1) sent.push(inputs.encode(inputs.words()), request('ECHO', MARK));
    give(client, inputs, Buffer.concat(sent));
    await victim.drive.settle();
    const replies = repliesOf(client.take());
    // A word like `post` ends the session; the words of the table never do.
    check(!client.ended, 'a request that parses ended the session');
    check(replies.length === 2 * BATCH, `${2 * BATCH} requests, ${replies.length} replies`);
    check(
      replies.every((reply, index) => index % 2 === 0 || reply === MARK_REPLY),
      'replies out of order',
    );
    errors += replies.filter((reply) => reply.startsWith('-')).length;
    client.handler.onClose();
    await victim.goodRequest();
    return BATCH;
  });
  return { inputs: count, errors, growth };
}

/** Any bytes. */
async function fuzzBytes(count: number, random: SeededRandom): Promise<object> {
  const inputs = new RespInputs(random);
  const victim = new Victim(random);
  let ended = 0;
  const growth = await rounds(count, async () => {
    const client = victim.drive.connect();
    let used = 0;
    while (used < BATCH && !client.ended) {
      give(client, inputs, inputs.mutated());
      if (random.below(10) === 0) client.slow = !client.slow;
      if (random.below(4) === 0) await victim.drive.settle();
      if (random.below(4) === 0) client.handler.onDrain();
      used += 1;
    }
    client.slow = false;
    for (let turn = 0; turn < 3; turn += 1) {
      client.handler.onDrain();
      await victim.drive.settle();
    }
    repliesOf(client.take());
    if (client.ended) ended += 1;
    client.handler.onClose();
    await victim.drive.settle();
    await victim.goodRequest();
    return used;
  });
  return { inputs: count, ended, growth };
}

/** Any bytes through real sockets. */
async function fuzzSockets(count: number, random: SeededRandom): Promise<object> {
  const inputs = new RespInputs(random);
  const drive = new RespDrive({ soon: (fn) => void setImmediate(fn) });
  const network = new NodeNetwork();
  const listener = await network.listen({ host: '127.0.0.1', port: 0 }, (connection) => drive.server.accept(connection));
  const { port } = listener.address;
  const attack = (): Promise<void> =>
    new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => {
        for (let n = 0; n < BATCH; n += 1) for (const piece of inputs.pieces(inputs.mutated())) socket.write(piece);
        if (random.below(4) === 0) socket.destroy();
        else socket.end();
      });
      socket.resume();
      socket.on('error', () => undefined);
      socket.on('close', () => {
        resolve();
      });
    });
  const growth = await rounds(count, async () => {
    await Promise.all(Array.from({ length: 8 }, attack));
    const client = await RawClient.connect(port);
    client.send(request('ECHO', MARK));
    check((await client.reply()) === MARK_REPLY, 'a good request failed');
    client.close();
    return 8 * BATCH;
  });
  await listener.close();
  return { inputs: count, growth };
}

const values = readFlags({ count: { type: 'string' }, seed: { type: 'string' } });
const count = wholeNumber(values.count, 20_000, 'count', 1000);
const seed = wholeNumber(values.seed, 1, 'seed', 0);

const started = performance.now();
try {
  const requests = await fuzzRequests(Math.ceil(count * 0.5), new SeededRandom(seed));
  const bytes = await fuzzBytes(Math.ceil(count * 0.45), new SeededRandom(seed + 1));
  const sockets = await fuzzSockets(Math.ceil(count * 0.05), new SeededRandom(seed + 2));
  const seconds = Math.round((performance.now() - started) / 100) / 10;
  console.log(JSON.stringify({ ok: true, seed, inputs: count, seconds, requests, bytes, sockets }));
} catch (error) {
  console.error(error);
  console.log(JSON.stringify({ ok: false, seed, inputs: count, error: String(error) }));
  process.exitCode = 1;
}
