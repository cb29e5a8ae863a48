/**
 * Real files as real input: every package.json below node_modules goes in through one node while another is killed, comes out of a third byte for
 * byte, and after one read of each key the replicas of the restarted node are right.
 */

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

import { DevCluster } from './dev-cluster.ts';

const MODULES = fileURLToPath(new URL('../../../node_modules/', import.meta.url));
const MAX_KEY = 1024;
const MAX_PAIR = 10_240;

function packageFiles(): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  const walk = (directory: string): void => {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      const path = join(directory, entry.name);
      if (entry.isDirectory()) walk(path);
      else if (entry.isFile() && entry.name === 'package.json') {
        const key = relative(MODULES, path);
        const value = readFileSync(path);
        if (key.length <= MAX_KEY && key.length + value.length <= MAX_PAIR) files.set(key, value);
      }
    }
  };
  walk(MODULES);
  return files;
}

interface ReplicaAnswer {
  readonly digest: string | null;
  readonly versions: readonly { readonly value: string }[];
}

let cluster: DevCluster;

beforeAll(async () => {
  cluster = await DevCluster.start({ nodes: 5, zones: 3 });
}, 120_000);

afterAll(async () => {
  await cluster.stop();
}, 60_000);

function client(index: number): Redis {
  const { host, respPort } = cluster.member(index).address;
  return new Redis({ host, port: respPort, enableAutoPipelining: true, maxRetriesPerRequest: null });
}

/** A write that failed with its outcome unknown is sent again, as a client would; it is the same blind write. */
async function setUntilAcknowledged(redis: Redis, key: string, value: Buffer): Promise<number> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await redis.set(key, value);
      return attempt;
    } catch (error) {
      if (attempt === 20 || !/^(TIMEOUT|NOQUORUM|BUSY)/.test((error as Error).message)) throw error;
    }
  }
}

async function replica(index: number, key: string): Promise<ReplicaAnswer> {
  const response = await fetch(`${cluster.http(index)}/v1/admin/replica/default/${encodeURIComponent(key)}`);
  expect(response.status).toBe(200);
  return (await response.json()) as ReplicaAnswer;
}

test('package.json files survive the loss of a node, byte for byte', async () => {
  const files = [...packageFiles()];
  expect(files.length).toBeGreaterThan(300);

  const writer = client(0);
  const half = Math.floor(files.length / 2);
  const written: Promise<number>[] = [];
  for (const [key, value] of files.slice(0, half)) written.push(setUntilAcknowledged(writer, key, value));
  // The kill falls into the middle of the writes: some are under way, some not yet begun.
  const killed = cluster.kill(2);
  for (const [key, value] of files.slice(half)) written.push(setUntilAcknowledged(writer, key, value));
  await killed;
  await Promise.all(written);
  writer.disconnect();

  const reader = client(4);
  const wrong: string[] = [];
  await Promise.all(
    files.map(async ([key, value]) => {
      const got = await reader.getBuffer(key);
      if (got === null || !got.equals(value)) wrong.push(key);
    }),
  );
  expect(wrong).toEqual([]);

  await cluster.start(2);
  await Promise.all(files.map(([key]) => reader.getBuffer(key)));
  reader.disconnect();

  // The repair of a replica that was not needed for the answer may still be under way: look until the copies are right.
  let differing = new Set(files.map(([key]) => key));
  const values = new Map(files);
  const holders = new Map<string, number[]>();
  for (let look = 0; differing.size > 0 && look < 50; look += 1) {
    const still = new Set<string>();
    for (const key of differing) {
      const answers = await Promise.all(cluster.topology.members.map((_, index) => replica(index, key)));
      const holding = answers.flatMap((answer, index) => (answer.digest === null ? [] : [index]));
      holders.set(key, holding);
      const right = answers.filter(
        (answer) =>
          answer.versions.length === 1 && Buffer.from(answer.versions[0]?.value ?? '', 'base64').equals(values.get(key) ?? Buffer.alloc(0)),
      );
      const digests = new Set(answers.flatMap(({ digest }) => (digest === null ? [] : [digest])));
      if (right.length !== cluster.topology.N || holding.length !== cluster.topology.N || digests.size !== 1) still.add(key);
    }
    differing = still;
  }
  expect([...differing].map((key) => `${key} on ${JSON.stringify(holders.get(key))}`)).toEqual([]);
}, 180_000);
