/**
 * A cluster's topology as a JSON file: read, and made where there is none.
 *
 * Invariant: a topology that was made here is whole and synced before it is answered. Data carries the cluster's id: were the file lost with
 * the power, the data would be a stranger's to the next one.
 */

import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';

import { CoterieError } from '../base/errors.ts';
import { encodeTopology } from '../cluster/ring/topology-codec.ts';
import { parseTopology } from '../cluster/ring/topology-parse.ts';
import type { Topology } from '../cluster/ring/topology.ts';

/** @throws CoterieError SETTING_INVALID when there is no file, it cannot be read or is no JSON; what `parseTopology` throws for its content */
export async function readTopologyFile(path: string): Promise<Topology> {
  const topology = await readIfThere(path);
  if (topology === undefined) throw new CoterieError('SETTING_INVALID', `cannot read the topology ${path}: there is no such file`);
  return topology;
}

/** The topology in the file; where there is none, the one that `make` answers, written there. */
export async function openTopologyFile(
  path: string,
  make: () => Topology | Promise<Topology>,
): Promise<{ readonly topology: Topology; readonly isNew: boolean }> {
  const found = await readIfThere(path);
  if (found !== undefined) return { topology: found, isNew: false };
  const topology = await make();
  await writeDurably(path, encodeTopology(topology));
  return { topology, isNew: true };
}

async function readIfThere(path: string): Promise<Topology | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    const code = (error as Partial<NodeJS.ErrnoException>).code ?? 'unknown error';
    if (code === 'ENOENT') return undefined;
    throw new CoterieError('SETTING_INVALID', `cannot read the topology ${path}: ${code}`, { cause: error });
  }
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw new CoterieError('SETTING_INVALID', `${path} is not JSON`, { cause: error });
  }
  return parseTopology(document);
}

async function writeDurably(path: string, text: string): Promise<void> {
  const directory = dirname(path);
  await mkdir(directory, { recursive: true });
  const unfinished = `${path}.new`;
  const file = await open(unfinished, 'w');
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(unfinished, path);
  const entries = await open(directory, 'r');
  try {
    await entries.sync();
  } finally {
    await entries.close();
  }
}
