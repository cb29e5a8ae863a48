import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, expect, test } from '@jest/globals';

import { openTopologyFile, readTopologyFile } from '../../src/cli/topology-file.ts';
import { encodeTopology } from '../../src/cluster/ring/topology-codec.ts';
import { parseTopology } from '../../src/cluster/ring/topology-parse.ts';

const golden = new URL('../ring/golden/topology-v1.json', import.meta.url);
let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'coterie-topology-'));
});

afterEach(() => rm(directory, { recursive: true }));

test('a topology is made once, whole, and found again', async () => {
  const path = join(directory, 'below', 'topology.json');
  const wanted = parseTopology(JSON.parse(await readFile(golden, 'utf8')));
  const made = await openTopologyFile(path, () => wanted);
  expect(made).toMatchObject({ topology: wanted, isNew: true });
  expect(await readdir(join(directory, 'below'))).toEqual(['topology.json']);
  const found = await openTopologyFile(path, () => {
    throw new Error('there is one already');
  });
  expect(found.isNew).toBe(false);
  expect(encodeTopology(found.topology)).toBe(encodeTopology(wanted));
});

test('what is left of an attempt that a crash ended is no topology', async () => {
  const path = join(directory, 'topology.json');
  const wanted = parseTopology(JSON.parse(await readFile(golden, 'utf8')));
  await writeFile(`${path}.new`, '{"form');
  expect((await openTopologyFile(path, () => wanted)).isNew).toBe(true);
  expect(encodeTopology(await readTopologyFile(path))).toBe(encodeTopology(wanted));
});

test('a missing file, one that is no JSON, and a directory are named', async () => {
  const path = join(directory, 'topology.json');
  await expect(readTopologyFile(path)).rejects.toMatchObject({
    code: 'SETTING_INVALID',
    message: `cannot read the topology ${path}: there is no such file`,
  });
  await writeFile(path, 'no json');
  await expect(readTopologyFile(path)).rejects.toMatchObject({ code: 'SETTING_INVALID', message: `${path} is not JSON` });
  await expect(readTopologyFile(directory)).rejects.toMatchObject({
    code: 'SETTING_INVALID',
    message: `cannot read the topology ${directory}: EISDIR`,
  });
});
