/** The command line as a user types it, against a running cluster; and what `coterie dev` says when it cannot start. */

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { COTERIE, DevCluster } from './dev-cluster.ts';

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

let directory: string;
let cluster: DevCluster;

/** Runs `coterie` with these words; the cluster's first node is the endpoint. */
async function coterie(words: readonly string[], options: { input?: string; endpoint?: string } = {}): Promise<Ran> {
  const env = { ...process.env, COTERIE_ENDPOINT: options.endpoint ?? cluster.http(0) };
  const child = spawn(process.execPath, [COTERIE, ...words], { env, cwd: directory });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  child.stdin.end(options.input ?? '');
  const code = await new Promise<number>((resolve) => child.once('close', (exit) => resolve(exit ?? -1)));
  expect(err).not.toMatch(/^\s+at /m);
  return { code, out, err };
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'coterie-cli-'));
  cluster = await DevCluster.start({ nodes: 3, zones: 3, directory: join(directory, 'cluster'), flags: ['--buckets', 'carts'] });
}, 60_000);

afterAll(async () => {
  await cluster.stop();
  await rm(directory, { recursive: true, force: true });
}, 60_000);

describe('data commands', () => {
  test('put, get and del a key', async () => {
    expect(await coterie(['put', 'café/1', 'noir'])).toEqual({ code: 0, out: '', err: '' });
    expect(await coterie(['get', 'café/1'], { endpoint: cluster.http(2) })).toEqual({ code: 0, out: 'noir\n', err: '' });
    expect(await coterie(['del', 'café/1'])).toEqual({ code: 0, out: '', err: '' });
    expect(await coterie(['get', 'café/1'])).toEqual({ code: 3, out: '', err: 'not found\n' });
  });

  test('take values from standard input, buckets, quorums and expiries', async () => {
    expect((await coterie(['put', 'k', '-', '--bucket', 'carts', '--w', '3', '--ttl', '600000'], { input: 'two\nlines\n' })).code).toBe(0);
    expect(await coterie(['get', 'k', '--bucket', 'carts', '--r', '3'])).toEqual({ code: 0, out: 'two\nlines\n', err: '' });
    expect((await coterie(['get', 'k'])).code).toBe(3);
  });

  test('answer as JSON, with a context that a later put can give back', async () => {
    const put = JSON.parse((await coterie(['put', 'j', 'one', '--json'])).out) as { ok: boolean; context: string };
    expect(put.ok).toBe(true);
    expect((await coterie(['put', 'j', 'two', '--context', put.context])).code).toBe(0);
    const got = JSON.parse((await coterie(['get', 'j', '--json'])).out) as { value: string; context: string };
    expect(got.value).toBe('two');
    expect((await coterie(['put', 'j', 'three', '--context', put.context])).code).toBe(0);
    const siblings = JSON.parse((await coterie(['get', 'j'])).out) as { values: { value: string }[] };
    expect(siblings.values.map(({ value }) => Buffer.from(value, 'base64').toString()).sort()).toEqual(['three', 'two']);
  });

  test.each([
    [['get'], 2, 'usage: coterie get KEY'],
    [['get', 'a', 'b'], 2, 'usage: coterie get KEY'],
    [['get', 'a', '--colour'], 2, "Unknown option '--colour'"],
    [['get', 'a', '--r', 'two'], 2, '--r must be a whole number from 1 to 255, not "two"'],
    [['get', 'a', '--r', '4'], 1, '[QUORUM_INVALID]'],
    [['get', 'a', '--bucket', 'none'], 1, '[BUCKET_UNKNOWN]'],
    [['put', 'a', 'x'.repeat(10_241)], 1, '[PAIR_TOO_LARGE]'],
    [['put', '', 'x'], 1, '[KEY_EMPTY]'],
    [['put', 'a', 'x', '--context', 'rubbish'], 1, '[CONTEXT_BROKEN]'],
    [['frobnicate'], 2, 'there is no command "frobnicate"; there are node, dev, get'],
    [['status', '--endpoint', 'not a url'], 2, '--endpoint must be a URL'],
  ])('refuse %j', async (words, code, text) => {
    const ran = await coterie(words);
    expect(ran.err).toContain(text);
    expect(ran.code).toBe(code);
    expect(ran.err.trim().split('\n')).toHaveLength(1);
  });

  test('say where they looked when no node answers', async () => {
    const ran = await coterie(['get', 'a'], { endpoint: 'http://127.0.0.1:9' });
    expect(ran.code).toBe(4);
    expect(ran.err).toContain('no node answers at http://127.0.0.1:9');
  });
});

describe('repair', () => {
  test('compares all replicas, shows what is left, and ends with counts', async () => {
    const { code, out, err } = await coterie(['repair', '--scrub']);
    expect([code, err]).toEqual([0, '']);
    expect(out).toMatch(/^0 left$/m);
    expect(out).toMatch(/^node +comparisons +left +differed +fetched +sent +refilled$/m);
    expect(out).toMatch(/^node-2 +\d+ +0 +0 +0 +0 +0$/m);
    const status = JSON.parse((await coterie(['status', '--json'])).out) as { repair: object; members: { lastRepairMs: number | null }[] };
    expect(status.repair).toEqual({ owed: 0, lostRanges: 0 });
    expect(status.members[1]?.lastRepairMs).toBeGreaterThan(0);
  });

  test('takes a range of partitions, and answers as JSON', async () => {
    const { code, out } = await coterie(['repair', '--partition', '0-7', '--json']);
    expect(code).toBe(0);
    const answer = JSON.parse(out) as { missing: string[]; nodes: { requested: { total: number; left: number } }[] };
    expect(answer.missing).toEqual([]);
    // Each of the three nodes holds all partitions, with two others.
    expect(answer.nodes.map(({ requested }) => requested)).toEqual([1, 2, 3].map(() => ({ total: 16, left: 0 })));
    expect(await coterie(['repair', '--partition', '5000'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('numbered from 0 to 1023'),
    });
    expect(await coterie(['repair', '--timeout', 'x'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('--timeout must be a whole number'),
    });
  });
});

describe('help', () => {
  test('every command explains itself', async () => {
    const overview = await coterie(['--help']);
    expect(overview.code).toBe(0);
    for (const name of ['node', 'dev', 'get', 'put', 'del', 'status', 'ring']) {
      expect(overview.out).toContain(`  ${name}`);
      const help = await coterie([name, '--help']);
      expect(help.code).toBe(0);
      expect(help.out).toContain(`Usage: coterie ${name}`);
    }
  }, 30_000);

  test('the version is the package’s', async () => {
    const manifest = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string };
    expect(await coterie(['--version'])).toMatchObject({ code: 0, out: `${manifest.version}\n` });
  });
});

describe('the cluster', () => {
  test('ring shows who holds and coordinates what', async () => {
    const ring = await coterie(['ring']);
    expect(ring.code).toBe(0);
    expect(ring.out).toMatch(/node-1 +1024 +34[12]\n/);
    const { partitions } = JSON.parse((await coterie(['ring', '--json'])).out) as { partitions: number[][] };
    expect(partitions).toHaveLength(1024);
  });

  test('ring simulate judges a placement that need not exist', async () => {
    const json = JSON.parse((await coterie(['ring', 'simulate', '--nodes', '9', '--zones', '3', '--weights', '1,2', '--json'])).out) as {
      summary: { violations: number };
    };
    expect(json.summary.violations).toBe(0);
    expect((await coterie(['ring', 'simulate', '--nodes', '2'])).err).toContain('[CLUSTER_TOO_SMALL]');
    expect((await coterie(['ring', 'simulate', '--weights', '1,x'])).err).toContain('--weights must be whole numbers');
  });

  test('status shows a lost node; what was written stays, over a restart too', async () => {
    expect((await coterie(['status'])).code).toBe(0);
    await coterie(['put', 'lasting', 'value']);
    await cluster.kill(3);
    expect((await coterie(['put', 'without-3', 'value'])).code).toBe(0);
    let status = await coterie(['status', '--json']);
    // The connection's end may be noticed a moment later.
    for (let look = 0; status.code === 0 && look < 50; look += 1) status = await coterie(['status', '--json']);
    expect(status.code).toBe(1);
    const { members } = JSON.parse(status.out) as { members: { name: string; state: string }[] };
    expect(members.map(({ name, state }) => [name, state])).toEqual([
      ['node-1', 'self'],
      ['node-2', 'connected'],
      ['node-3', expect.stringMatching(/^(unreachable|down)$/)],
    ]);
    await cluster.said(/^node-1 counts node-3 as DOWN, on the word of node-(1 and node-2|2 and node-1|1, node-2|2, node-1)$/);
    status = await coterie(['status']);
    expect([status.code, status.out]).toEqual([1, expect.stringMatching(/^node-3 +down +\d+\.\d s ago, silent to node-\d and node-\d/m)]);
    await cluster.start(3);
    await cluster.said(/^node-1 counts node-3 as UP$/);
    // It was heard; the connection to it may stand a moment later.
    for (let look = 0; status.code !== 0 && look < 50; look += 1) status = await coterie(['status']);
    expect(status.code).toBe(0);
    expect(await cluster.stop()).toBe(0);
    cluster = await DevCluster.start({ nodes: 3, zones: 3, directory: join(directory, 'cluster') });
    expect((await coterie(['get', 'lasting', '--r', '3'])).out).toBe('value\n');
    expect((await coterie(['get', 'without-3', '--r', '3'])).out).toBe('value\n');
  }, 120_000);
});

describe('what cannot start says why', () => {
  const dev = (...flags: string[]): Promise<Ran> => coterie(['dev', ...flags]);

  test.each([
    [['--nodes', '0'], 2, '--nodes must be a whole number from 1 to 32'],
    [['--nodes', '2', '--zones', '3'], 2, '--zones 3 needs at least as many nodes'],
    [['--nodes', '2', '--zones', '2', '--replicas', '3', '--data', 'small'], 1, '[CLUSTER_TOO_SMALL]'],
    [['--ports', 'some'], 2, '--ports must be fixed or free'],
    [['--fsync', 'never'], 2, '--fsync must be always or interval'],
    [['--frob'], 2, "Unknown option '--frob'"],
  ])('dev %j', async (flags, code, text) => {
    const ran = await dev(...flags);
    expect(ran.err).toContain(text);
    expect(ran.code).toBe(code);
  });

  test('a directory that holds another cluster', async () => {
    const ran = await dev('--data', 'cluster', '--nodes', '5');
    expect(ran.err).toContain('cluster holds a cluster of 3 nodes in 3 zones with N=3');
    expect(ran.code).toBe(2);
  });

  test('ports in use', async () => {
    const ran = await dev('--data', 'cluster');
    expect(ran.err).toContain(`port ${cluster.member(0).address.respPort} of node-1 is in use`);
    expect(ran.code).toBe(1);
  });

  test('a data directory in use, and one of another cluster', async () => {
    const ports = ['--resp-port', '0', '--http-port', '0', '--peer-port', '0'];
    const topology = ['--topology', join('cluster', 'topology.json')];
    const inUse = await coterie(['node', '--name', 'node-1', '--data-dir', join('cluster', 'node-1'), ...topology, ...ports]);
    expect(inUse.err).toContain('[DATA_DIR_IN_USE]');
    expect(inUse.code).toBe(1);
    const other = await DevCluster.start({ nodes: 1, zones: 1, directory: join(directory, 'other') });
    await other.stop();
    const foreign = await coterie(['node', '--name', 'node-1', '--data-dir', join('other', 'node-1'), ...topology, ...ports]);
    expect(foreign.err).toContain('[DATA_DIR_FOREIGN]');
    expect(foreign.code).toBe(1);
  }, 60_000);

  test('a wrong settings file, a slot that is not there, an address without credentials', async () => {
    await writeFile(join(directory, 'node.yaml'), 'respPort: 99999\n');
    expect((await coterie(['node', '--config', 'node.yaml'])).err).toContain(
      'node.yaml: respPort must be 0 to 65535, not 99999 [SETTING_INVALID]',
    );
    expect((await coterie(['node', '--config', 'missing.yaml'])).err).toContain('cannot read the settings file missing.yaml');
    const slot = await coterie(['node', '--name', 'node-9', '--topology', join('cluster', 'topology.json')]);
    expect(slot.err).toContain('name must be a member of the topology (node-1, node-2, node-3), not node-9');
    const open = await coterie(['node', '--host', '0.0.0.0', '--data-dir', 'open']);
    expect(open.err).toContain('beyond loopback, needs a password, or insecure: true');
  }, 30_000);
});

test('nodes end with the development cluster that is killed', async () => {
  const doomed = await DevCluster.start({ nodes: 2, zones: 2, directory: join(directory, 'doomed') });
  const { host, respPort } = doomed.member(0).address;
  const redis = new Redis({ host, port: respPort, retryStrategy: () => null });
  const closed = new Promise<void>((resolve) => redis.once('end', () => resolve()));
  await redis.ping();
  await doomed.die();
  await closed;
}, 60_000);
