import { spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Redis, type RedisOptions } from 'ioredis';

import { DevCluster } from '../cluster/dev-cluster.ts';
import { hasProgram, INSTALL_REDIS } from './redis-server.ts';

let cluster: DevCluster;
beforeAll(async () => {
  cluster = await DevCluster.start({ nodes: 3, zones: 3, flags: ['--buckets', 'other'] });
}, 60_000);
afterAll(async () => {
  await cluster.stop();
});

/** A client that does not outlive the test, whatever becomes of it. */
async function withClient<T>(index: number, options: RedisOptions, use: (client: Redis) => Promise<T>): Promise<T> {
  const { address } = cluster.member(index);
  const client = new Redis(address.respPort, address.host, options);
  client.on('error', () => undefined);
  try {
    return await use(client);
  } finally {
    client.disconnect();
  }
}

/** Bytes of a linear congruential generator: the same in every run. */
function seededBytes(seed: number): (length: number) => Buffer {
  let state = seed;
  return (length) => {
    const bytes = Buffer.alloc(length);
    for (let at = 0; at < length; at += 1) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      bytes[at] = state >>> 24;
    }
    return bytes;
  };
}

describe('ioredis', () => {
  test('binary keys and values come back byte for byte, through another node', async () => {
    const bytes = seededBytes(7);
    const pairs = Array.from({ length: 60 }, (_, n) => ({ key: bytes(1 + ((n * 17) % 1024)), value: bytes((n * 173) % 9000) }));
    pairs.push({ key: Buffer.from([0]), value: Buffer.from('\r\n$-1\r\n') }, { key: Buffer.alloc(1024, 0xff), value: Buffer.alloc(0) });
    await withClient(0, {}, async (client) => {
      for (const { key, value } of pairs) expect(await client.set(key, value)).toBe('OK');
    });
    await withClient(1, {}, async (client) => {
      const values = await client.mgetBuffer(...pairs.map(({ key }) => key));
      expect(values.map((value) => value?.toString('hex'))).toEqual(pairs.map(({ value }) => value.toString('hex')));
    });
  });

  test('a pipeline answers in order, errors in their places', async () => {
    await withClient(0, {}, async (client) => {
      const pipeline = client.pipeline();
      for (let n = 0; n < 500; n += 1) pipeline.set(`pipe:${n}`, `v${n}`);
      pipeline.call('INCR', 'pipe:1');
      for (let n = 0; n < 500; n += 1) pipeline.get(`pipe:${n}`);
      const replies = (await pipeline.exec()) ?? [];
      expect(replies.slice(0, 500).every(([, reply]) => reply === 'OK')).toBe(true);
      expect(String(replies[500]?.[0])).toMatch(/UNSUPPORTED INCR is not offered/);
      expect(replies.slice(501).map(([, reply]) => reply)).toEqual(Array.from({ length: 500 }, (_, n) => `v${n}`));
    });
  });

  test('auto-pipelining', async () => {
    await withClient(2, { enableAutoPipelining: true }, async (client) => {
      const names = Array.from({ length: 300 }, (_, n) => `auto:${n}`);
      await Promise.all(names.map((name) => client.set(name, name)));
      expect(await Promise.all(names.map((name) => client.get(name)))).toEqual(names);
    });
  });

  test('buckets are databases by name', async () => {
    await withClient(0, {}, async (client) => {
      await client.set('in-bucket', 'default');
      await client.call('SELECT', 'other');
      expect(await client.get('in-bucket')).toBeNull();
      await client.set('in-bucket', 'other');
      await client.call('SELECT', '0');
      expect(await client.get('in-bucket')).toBe('default');
    });
  });

  test('reconnects to a node that was killed and started again, and goes on', async () => {
    await withClient(1, { retryStrategy: () => 50, maxRetriesPerRequest: null }, async (client) => {
      await client.set('reconnect', '1');
      await cluster.kill(2);
      const waiting = client.get('reconnect');
      await cluster.start(2);
      expect(await waiting).toBe('1');
      expect(await client.set('reconnect', '2')).toBe('OK');
      expect(await client.get('reconnect')).toBe('2');
    });
  }, 30_000);

  test('SCAN finds every key that was there throughout, while others come and go', async () => {
    const stable = Array.from({ length: 1500 }, (_, n) => `stable:${n}`);
    await withClient(0, {}, async (client) => {
      await client.mset(Object.fromEntries(stable.map((name) => [name, name])));
      await client.mset(Object.fromEntries(stable.map((name) => [`gone:${name}`, name])));
      await client.del(...stable.map((name) => `gone:${name}`));
    });
    let scanning = true;
    const churn = withClient(2, {}, async (client) => {
      for (let n = 0; scanning; n += 1) {
        await client.set(`churn:${n % 400}`, String(n));
        await client.set(`stable:${n % 1500}`, String(n));
        await client.del(`churn:${(n + 200) % 400}`);
      }
    });
    const seen = new Set<string>();
    let cursor = '0';
    let pages = 0;
    try {
      do {
        // The cursor is all the state there is: each page comes from another node.
        const [next, keys] = await withClient(pages % 3, {}, (client) => client.scan(cursor, 'COUNT', 100));
        for (const name of keys) seen.add(name);
        cursor = next;
        pages += 1;
      } while (cursor !== '0');
    } finally {
      scanning = false;
      await churn;
    }
    expect(stable.filter((name) => !seen.has(name))).toEqual([]);
    expect([...seen].filter((name) => name.startsWith('gone:'))).toEqual([]);
    expect(pages).toBeGreaterThan(5);
  }, 60_000);

  test('SCAN with MATCH, and as a stream', async () => {
    await withClient(0, {}, async (client) => {
      await client.call('SELECT', 'other');
      for (let n = 0; n < 50; n += 1) await client.set(`user:${n}`, 'v');
      await client.set('admin', 'v');
      const found: string[] = [];
      for await (const keys of client.scanStream({ match: 'user:*', count: 7 })) found.push(...(keys as string[]));
      expect(new Set(found)).toEqual(new Set(Array.from({ length: 50 }, (_, n) => `user:${n}`)));
    });
  });
});

/** Runs a program against the first node; answers what it wrote. */
async function run(program: string, args: readonly string[], input = ''): Promise<{ readonly code: number | null; readonly text: string }> {
  const { host, respPort } = cluster.member(0).address;
  const child = spawn(program, ['-h', host, '-p', String(respPort), ...args], { stdio: 'pipe' });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  child.stdin.end(input, 'latin1');
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  const timer = new AbortController();
  const late = delay(40_000, undefined, { signal: timer.signal }).then(
    () => child.kill('SIGKILL'),
    () => undefined,
  );
  const code = await ended;
  timer.abort();
  await late;
  return { code, text };
}

// Without these programs the tests above carry the compatibility; what is missing is said, and nothing is skipped silently.
const cli = hasProgram('redis-cli') && hasProgram('redis-benchmark');

describe(cli ? 'redis-cli and redis-benchmark' : `redis-cli and redis-benchmark are missing (${INSTALL_REDIS})`, () => {
  if (!cli) {
    test('are missing, as hasProgram says', () => {
      expect(hasProgram('redis-cli') && hasProgram('redis-benchmark')).toBe(false);
    });
    return;
  }

  test('commands, typed and as arguments', async () => {
    expect((await run('redis-cli', ['SET', 'cli', 'a b'])).text).toBe('OK\n');
    expect((await run('redis-cli', [], 'GET cli\nTTL cli\nEXPIRE cli 100\nTYPE cli\nKV.GET none\nINCR cli\n')).text).toMatch(
      /^"?a b"?\n-1\n1\nstring\n\n\nERR UNSUPPORTED INCR is not offered/,
    );
  });

  test('RESP3', async () => {
    expect((await run('redis-cli', ['-3', '--no-raw'], 'SET cli3 v\nGET none\nCONFIG GET save\n')).text).toBe(
      'OK\n(nil)\n1# "save" => ""\n',
    );
  });

  test('--scan and --bigkeys go through the whole bucket', async () => {
    const scanned = await run('redis-cli', ['--scan', '--pattern', 'pipe:*']);
    expect(scanned.text.trim().split('\n').sort()).toEqual(Array.from({ length: 500 }, (_, n) => `pipe:${n}`).sort());
    const big = await run('redis-cli', ['--bigkeys']);
    expect(big.code).toBe(0);
    expect(big.text).toMatch(/Biggest string found/);
  });

  test('--pipe loads in bulk', async () => {
    const requests = Array.from({ length: 3000 }, (_, n) => `*3\r\n$3\r\nSET\r\n$9\r\nload:${1000 + n}\r\n$4\r\n${1000 + n}\r\n`);
    const { text } = await run('redis-cli', ['--pipe'], requests.join(''));
    expect(text).toMatch(/errors: 0, replies: 3000/);
  });

  test.each([
    ['one at a time', ['-t', 'set,get,mset', '-n', '2000', '-c', '20', '-d', '100', '-r', '1000', '-q']],
    ['pipelined', ['-t', 'ping,set,get', '-n', '6000', '-c', '10', '-P', '16', '-d', '1000', '-r', '1000', '-q']],
  ])(
    'redis-benchmark, %s',
    async (_name, args) => {
      const { code, text } = await run('redis-benchmark', args);
      expect(text).toMatch(/SET: [\d.]+ requests per second/);
      expect(text).toMatch(/GET: [\d.]+ requests per second/);
      expect(text).not.toMatch(/ERR|WARNING|Error/);
      expect(code).toBe(0);
    },
    60_000,
  );
});
