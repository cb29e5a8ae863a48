import { crc32 } from 'node:zlib';

import { describe, expect, test } from '@jest/globals';

import { bucketId, clusterId, memberName, storeId } from '../../src/base/ids.ts';
import { createTopology } from '../../src/cluster/ring/topology-create.ts';
import { placeKey } from '../../src/cluster/ring/token.ts';
import { encodeObject } from '../../src/cluster/versioning/codec.ts';
import { actorOf } from '../../src/cluster/versioning/object.ts';
import { openGenerations } from '../../src/runtime/collection/generations.ts';
import { LocalStore } from '../../src/runtime/local-store.ts';
import { SHIPPED_POLICIES } from '../../src/runtime/policies.ts';
import { Engine } from '../../src/storage/engine.ts';
import { SimExecutor } from '../../sim/disk/executor.ts';
import { SeededRandom } from '../../sim/disk/seeded-random.ts';
import { SimMount } from '../../sim/disk/mount.ts';
import { SimVolume } from '../../sim/disk/volume.ts';
import { Timeline } from '../../sim/storage/timeline.ts';

const topology = createTopology({
  clusterId: clusterId('0'.repeat(32)),
  N: 1,
  Q: 1,
  tokenSeed: '0'.repeat(16),
  buckets: [{ id: bucketId(0), name: 'default', consistency: 'eventual', R: 1, W: 1, blindWrites: 'newest' }],
  members: [
    {
      name: memberName('node-1'),
      address: { host: 'node-1', peerPort: 1, respPort: 1, httpPort: 1 },
      zone: 'zone-1',
      rack: 'rack-1',
      weight: 1,
    },
  ],
});
const { diskKey, partition } = placeKey(topology, bucketId(0), 'key');
const ACTOR = actorOf(storeId('0'.repeat(32)), 1);

/** The value written as event `counter`, or the tombstone of it. */
function objectOf(counter: number, live: boolean): Uint8Array {
  const time = { ms: counter, logical: 0 };
  const sibling = { actor: ACTOR, counter, time, blind: false, edit: { ms: 0, logical: 0 }, expireAtMs: 0, value: new Uint8Array(20) };
  const clock = [{ actor: ACTOR, counter, ms: counter }];
  return encodeObject({ clock, floorMs: 0, blindFloor: undefined, siblings: live ? [sibling] : [], operations: [] }, crc32);
}

async function opened(): Promise<{ readonly timeline: Timeline; readonly store: LocalStore }> {
  const random = new SeededRandom(1);
  const timeline = new Timeline();
  const mount = new SimMount(new SimVolume({ random }), { schedule: timeline.schedule, latencyMs: () => 1 });
  const where = { directory: '/data', vfs: mount.vfs };
  await timeline.run(mount.vfs.mkdir('/data'));
  const generations = await timeline.run(
    openGenerations(
      { ...where, partitions: 1, admits: (generation: number, least: number) => SHIPPED_POLICIES.admits(generation, least) },
      true,
    ),
  );
  const executor = new SimExecutor(mount, { random, sliceDelayMs: 1 });
  const engine = await timeline.run(
    Engine.open({ ...where, executor, clock: timeline, memtableBytes: 8192, cacheBytes: 0, turnReads: 0, reserveBytes: 0 }),
  );
  const times = { observe: () => true, touch: () => undefined };
  return { timeline, store: new LocalStore(engine, generations, topology, times, SHIPPED_POLICIES, undefined) };
}

function merge({ store, timeline }: Awaited<ReturnType<typeof opened>>, object: Uint8Array, generation: number): Promise<string> {
  return timeline.run(
    new Promise<string>((resolve) => {
      store.merge(diskKey, object, generation, (error) => {
        resolve(error?.code ?? 'done');
      });
    }),
  );
}

describe('a message of an older generation', () => {
  test('is admitted until the partition is sealed, and refused from then on, without an effect', async () => {
    const node = await opened();
    const { store, timeline } = node;
    await timeline.run(store.generations.raise([{ partition, to: 2 }]));
    expect(await merge(node, objectOf(1, true), 1)).toBe('done');
    await timeline.run(store.generations.seal([partition]));
    expect(await merge(node, objectOf(2, true), 1)).toBe('GENERATION_STALE');
    expect((await timeline.run(store.engine.get(diskKey)))?.value).toEqual(Buffer.from(objectOf(1, true)));
    expect(await merge(node, objectOf(2, true), 2)).toBe('done');
    // Of a member that is ahead.
    expect(await merge(node, objectOf(3, true), 7)).toBe('done');
  });

  test('is refused also where it came in time and had to wait for the disk', async () => {
    const node = await opened();
    const { store, timeline } = node;
    expect(await merge(node, objectOf(2, false), 1)).toBe('done');
    await timeline.run(store.engine.flush());
    const waiting = new Promise<string>((resolve) => {
      store.merge(diskKey, objectOf(3, true), 1, (error) => {
        resolve(error?.code ?? 'done');
      });
    });
    store.generations.close([partition]);
    expect(await timeline.run(waiting)).toBe('GENERATION_STALE');
    store.generations.reopen([partition]);
    expect(await merge(node, objectOf(3, true), 1)).toBe('done');
  });

  test('brings nothing back, while an entry that is collected is taken for absent', async () => {
    const node = await opened();
    const { store, timeline } = node;
    expect(await merge(node, objectOf(2, false), 1)).toBe('done');
    for (const to of [2, 3]) await timeline.run(store.generations.raise([{ partition, to }]));
    await timeline.run(store.generations.seal([partition]));
    await timeline.run(store.generations.collect([{ partition, floor: { generation: 3, expiredByMs: 0, sequence: 1 } }]));
    expect(store.tryGet(diskKey)).toBeUndefined();
    expect(store.tryGetHeld(diskKey)).toMatchObject({ kind: 'tombstone', gcTag: 1 });
    // The tombstone once more, from a replica that has yet to collect it: it is there, so it stays collected.
    expect(await merge(node, objectOf(2, false), 3)).toBe('done');
    expect(store.tryGet(diskKey)).toBeUndefined();
    expect(await merge(node, objectOf(1, true), 2)).toBe('GENERATION_STALE');
    await timeline.run(store.engine.compact({ collectable: [{ from: '', gcTag: 1, expiredByMs: 0 }] }));
    expect(await timeline.run(store.engine.get(diskKey))).toBeUndefined();
    expect(await merge(node, objectOf(1, true), 2)).toBe('GENERATION_STALE');
    expect(await timeline.run(store.engine.get(diskKey))).toBeUndefined();
  });

  test('operations are counted under the generation that they began with', async () => {
    const { store, timeline } = await opened();
    const { generations } = store;
    const before = generations.begin(partition);
    expect([before, generations.olderOperations(partition)]).toEqual([1, 0]);
    await timeline.run(generations.raise([{ partition, to: 2 }]));
    const after = generations.begin(partition);
    expect([after, generations.olderOperations(partition)]).toEqual([2, 1]);
    generations.end(partition, after);
    expect(generations.olderOperations(partition)).toBe(1);
    generations.end(partition, before);
    expect(generations.olderOperations(partition)).toBe(0);
  });
});
