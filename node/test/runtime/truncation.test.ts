/** Clocks of keys that many actors wrote lose their oldest entries: when, and when not. */

import { crc32 } from 'node:zlib';

import { describe, expect, test } from '@jest/globals';

import { decodeObject } from '../../src/cluster/versioning/codec.ts';
import type { KvObject } from '../../src/cluster/versioning/object.ts';
import { DEFAULT_LIMITS } from '../../src/runtime/options.ts';
import { bytes, contextIn, scenario, texts, type VirtualCluster } from './virtual-cluster.ts';

const AGE_MS = 1000;
const SPEC = { nodes: 4, n: 3, options: { limits: { ...DEFAULT_LIMITS, clockEntries: 2, clockEntryAgeMs: AGE_MS } } } as const;

/** What the node holds of the key. */
async function copyAt(cluster: VirtualCluster, position: number, key: string): Promise<KvObject> {
  const { bytes: held } = await cluster.node(position).local('default', key);
  if (held === undefined) throw new Error('no copy');
  return decodeObject(held, crc32);
}

/** A key with primaries 0, 1, 2 and a clock of three entries, which all of them have: after a death a store writes as another actor. */
async function writtenByThree(cluster: VirtualCluster): Promise<string> {
  await cluster.start();
  const key = cluster.keyOn(0, 1, 2);
  for (const value of ['a', 'b', 'c']) {
    await cluster.node(0).put('default', key, bytes(value), {}, { w: 3 });
    if (value === 'c') break;
    cluster.kill(0);
    await cluster.boot(0);
    await cluster.ready();
  }
  expect((await copyAt(cluster, 0, key)).clock).toHaveLength(3);
  return key;
}

describe('a clock that is too long', () => {
  test('is truncated by the next write once its entries are old enough, and what it forgot counts as seen', () =>
    scenario(SPEC, async (cluster) => {
      const key = await writtenByThree(cluster);
      const old = await copyAt(cluster, 2, key);
      const context = contextIn(await cluster.node(0).get('default', key, {}));
      await cluster.sleep(AGE_MS);
      await cluster.node(0).put('default', key, bytes('d'), {}, { w: 3, context });
      const copy = await copyAt(cluster, 0, key);
      expect(copy.clock.length).toBeLessThanOrEqual(2);
      expect(copy.floorMs).toBeGreaterThanOrEqual(Math.min(...old.clock.map(({ ms }) => ms)));
      expect(texts(await cluster.node(3).get('default', key, { r: 3 }))).toEqual(['d']);
      expect(new Set(await cluster.digests(key)).size).toBe(1);
      expect(cluster.node(0).stats().counters['clocksTruncated']).toBe(1);
    }));

  test('keeps its entries while they are young', () =>
    scenario({ ...SPEC, options: { limits: { ...SPEC.options.limits, clockEntryAgeMs: 3_600_000 } } }, async (cluster) => {
      const key = await writtenByThree(cluster);
      await cluster.node(0).put('default', key, bytes('d'), {}, { w: 3 });
      expect(await copyAt(cluster, 0, key)).toMatchObject({ floorMs: 0, clock: [{}, {}, {}] });
    }));

  test('keeps its entries while a primary does not answer, which no write waits for', () =>
    scenario(SPEC, async (cluster) => {
      const key = await writtenByThree(cluster);
      await cluster.sleep(AGE_MS);
      cluster.isolate(2);
      await cluster.until(() => cluster.node(0).cluster().members[2]?.state === 'avoided');
      const beganUs = cluster.world.nowUs;
      await cluster.node(0).put('default', key, bytes('d'), {}, { w: 2, quorum: 'strict' });
      expect(cluster.world.nowUs - beganUs).toBeLessThan(100_000);
      expect(await copyAt(cluster, 0, key)).toMatchObject({ floorMs: 0, clock: [{}, {}, {}] });
    }));
});
