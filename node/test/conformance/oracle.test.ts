import { afterAll, beforeAll, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { Redis, type RedisOptions } from 'ioredis';
import RedisMock from 'ioredis-mock';

import { DevCluster } from '../cluster/dev-cluster.ts';

/** One command with its arguments. */
type Call = readonly [name: string, ...args: (string | number)[]];

const SEED = 20_260_301;
const KEYS = ['a', 'b', 'c', 'dd', 'e:1'];
/** Far beyond the time a run takes, so that nothing expires while both sides are asked. */
const LONG_SECONDS = { min: 1000, max: 100_000 };

const key = fc.constantFrom(...KEYS);
const keys = fc.array(key, { minLength: 1, maxLength: 6 });
const value = fc.oneof(fc.string({ maxLength: 30 }), fc.constantFrom('', '0', 'value', 'x'.repeat(3000)));
const seconds = fc.integer(LONG_SECONDS);
const milliseconds = fc.integer({ min: LONG_SECONDS.min * 1000, max: LONG_SECONDS.max * 1000 });

const call: fc.Arbitrary<Call> = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.constant('get'), key) },
  { weight: 4, arbitrary: fc.tuple(fc.constant('set'), key, value) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('set'), key, value, fc.constant('EX'), seconds) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('set'), key, value, fc.constant('PX'), milliseconds) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('set'), key, value, fc.constant('KEEPTTL')) },
  { weight: 2, arbitrary: keys.map((some): Call => ['del', ...some]) },
  { weight: 2, arbitrary: keys.map((some): Call => ['mget', ...some]) },
  { weight: 2, arbitrary: fc.array(fc.tuple(key, value), { minLength: 1, maxLength: 4 }).map((pairs): Call => ['mset', ...pairs.flat()]) },
  { weight: 2, arbitrary: keys.map((some): Call => ['exists', ...some]) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('strlen'), key) },
  { weight: 3, arbitrary: fc.tuple(fc.constantFrom('ttl', 'pttl', 'expiretime', 'pexpiretime'), key) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('expire'), key, seconds) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('pexpire'), key, milliseconds) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('expireat'), key, fc.integer({ min: 4_000_000_000, max: 4_100_000_000 })) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('pexpireat'), key, fc.integer({ min: 4_000_000_000_000, max: 4_100_000_000_000 })) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('persist'), key) },
);

/** By how much two clocks' readings of one expiry may differ when the commands that set it ran up to `elapsedMs` apart. */
function tolerance(name: string, elapsedMs: number): number {
  switch (name) {
    case 'ttl':
    case 'expiretime':
      // Whole seconds on both sides, rounded each in its own way.
      return Math.ceil(elapsedMs / 1000) + 1;
    case 'pttl':
    case 'pexpiretime':
      return Math.ceil(elapsedMs) + 1;
    default:
      return 0;
  }
}

let cluster: DevCluster;
let mock: Redis;
beforeAll(async () => {
  cluster = await DevCluster.start({ nodes: 3, zones: 3 });
  mock = new RedisMock();
}, 60_000);
afterAll(async () => {
  mock.disconnect();
  await cluster.stop();
});

/** A client that does not outlive the test, whatever becomes of it. */
async function withClient(index: number, options: RedisOptions, use: (client: Redis) => Promise<void>): Promise<void> {
  const { address } = cluster.member(index);
  const client = new Redis(address.respPort, address.host, options);
  try {
    await use(client);
  } finally {
    client.disconnect();
  }
}

/** Runs the calls on both sides and requires equal replies. */
async function agree(calls: readonly Call[], ask: (calls: readonly Call[]) => Promise<unknown[]>, ours: Redis): Promise<void> {
  await mock.flushall();
  await ours.del(...KEYS);
  const started = performance.now();
  const replies = await ask(calls);
  const expected = ((await mock.pipeline(calls.map((each) => [...each])).exec()) ?? []).map(([error, reply]) => error ?? reply);
  const elapsedMs = performance.now() - started;
  for (const [index, each] of calls.entries()) {
    const mine = replies[index];
    const theirs = expected[index];
    const near = tolerance(each[0], elapsedMs);
    const both = typeof mine === 'number' && typeof theirs === 'number' && mine >= 0 && theirs >= 0;
    if (near > 0 && both && Math.abs(mine - theirs) <= near) continue;
    expect({ index, call: each, reply: mine }).toEqual({ index, call: each, reply: theirs });
  }
}

test('the same sequences, one by one, answer what ioredis-mock answers', async () => {
  await withClient(0, {}, async (ours) => {
    const ask = async (calls: readonly Call[]): Promise<unknown[]> => {
      const replies: unknown[] = [];
      for (const [name, ...args] of calls) replies.push(await ours.call(name, ...args));
      return replies;
    };
    await fc.assert(
      fc.asyncProperty(fc.array(call, { minLength: 1, maxLength: 30 }), (calls) => agree(calls, ask, ours)),
      { numRuns: 150, seed: SEED },
    );
  });
}, 60_000);

test('the same sequences, sent without waiting for replies, answer the same', async () => {
  await withClient(1, { enableAutoPipelining: true }, async (ours) => {
    const ask = (calls: readonly Call[]): Promise<unknown[]> => Promise.all(calls.map(([name, ...args]) => ours.call(name, ...args)));
    await fc.assert(
      fc.asyncProperty(fc.array(call, { minLength: 1, maxLength: 30 }), (calls) => agree(calls, ask, ours)),
      { numRuns: 150, seed: SEED + 1 },
    );
  });
}, 60_000);
