/** The hash trees of a store while it reads itself (runtime/repair/local-trees.ts). */

import { crc32 } from 'node:zlib';

import { expect, test } from '@jest/globals';

import { bucketId, storeId } from '../../src/base/ids.ts';
import { placeKey } from '../../src/cluster/ring/token.ts';
import { encodeObject } from '../../src/cluster/versioning/codec.ts';
import { emptyObject } from '../../src/cluster/versioning/object.ts';
import { applyWrite } from '../../src/cluster/versioning/update.ts';
import { LocalTrees, type LocalTreesOptions } from '../../src/runtime/repair/local-trees.ts';
import type { Engine } from '../../src/storage/engine.ts';
import { VirtualClock } from '../transport/virtual-clock.ts';
import { topologyOf } from '../runtime/virtual-cluster.ts';

test('an entry that is collected while two readers are at its leaf leaves it once', async () => {
  const topology = topologyOf({ nodes: 3, n: 3 });
  const { diskKey, partition } = placeKey(topology, bucketId(0), 'key');
  const stamp = { dot: () => ({ actor: 'a'.repeat(20), counter: 1 }), time: { ms: 1_700_000_000_000, logical: 0 }, nowMs: 0 };
  const applied = applyWrite(emptyObject(), { kind: 'delete' }, stamp);
  if (applied.kind !== 'applied') throw new Error(applied.kind);
  const entry = { key: diskKey, kind: 'tombstone', value: encodeObject(applied.object, crc32), expireAtMs: 0, gcTag: 1 };
  let isCollected = false;
  const held: (() => void)[] = [];
  const engine = {
    replayed: { sequence: 0, flushed: 0, changes: () => Promise.resolve(), droppedSince: () => [], release: () => undefined },
    quarantined: () => [],
    iterate: () => {
      const batches = [[entry], []];
      return {
        // The first of each reader waits until it is let on.
        next: () => new Promise((resolve) => (batches.length === 2 ? held.push(() => resolve(batches.shift())) : resolve(batches.shift()))),
        close: () => undefined,
      };
    },
  } as unknown as Engine;
  const clock = new VirtualClock();
  const options = {
    topology,
    self: 0,
    store: storeId('0'.repeat(32)),
    vfs: undefined,
    directory: '/trees',
    clock,
    pace: { pauseMs: () => 0 },
    generations: { isCollected: () => isCollected, floorOf: () => ({ generation: 0, expiredByMs: 0, sequence: 0 }) },
    damageShows: () => true,
    warn: () => undefined,
  } as unknown as LocalTreesOptions;
  const trees = new LocalTrees(options);
  await trees.open(engine);
  await clock.settle();
  trees.trees.replace(diskKey, undefined, entry.value);
  const letOn = async (): Promise<void> => {
    while (held.length > 0) {
      for (const on of held.splice(0)) on();
      await clock.settle();
    }
  };
  const first = trees.recompute(partition);
  await clock.settle();
  isCollected = true;
  trees.collected(partition);
  await clock.settle();
  await letOn();
  await first;
  const again = trees.recompute(partition);
  await clock.settle();
  await letOn();
  expect(await again).toBe(true);
  expect([trees.whole, trees.counts.leavesWrong]).toEqual([true, 0]);
});
