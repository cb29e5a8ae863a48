/** The copies of a cluster's only member, on a simulated disk. */

import { crc32 } from 'node:zlib';

import { bucketId, clusterId, memberName, storeId } from '../../src/base/ids.ts';
import { type PlacedKey, placeKey } from '../../src/cluster/ring/token.ts';
import { createTopology } from '../../src/cluster/ring/topology-create.ts';
import { encodeObject } from '../../src/cluster/versioning/codec.ts';
import { type Actor, actorOf } from '../../src/cluster/versioning/object.ts';
import { openGenerations } from '../../src/runtime/collection/generations.ts';
import { LocalStore } from '../../src/runtime/local-store.ts';
import { SHIPPED_POLICIES } from '../../src/runtime/policies.ts';
import { Engine } from '../../src/storage/engine.ts';
import { SimExecutor } from '../../sim/disk/executor.ts';
import { SimMount } from '../../sim/disk/mount.ts';
import { SeededRandom } from '../../sim/disk/seeded-random.ts';
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
const ACTOR = actorOf(storeId('0'.repeat(32)), 1);
export const OTHER: Actor = actorOf(storeId('1'.repeat(32)), 1);

/** Where a key lies. */
export const placed = (key: string): PlacedKey => placeKey(topology, bucketId(0), key);

/** The value written as event `counter`, or the tombstone of it. */
export function objectOf(counter: number, live = true, actor = ACTOR): Uint8Array {
  const time = { ms: counter, logical: 0 };
  const sibling = { actor, counter, time, blind: false, edit: { ms: 0, logical: 0 }, expireAtMs: 0, value: new Uint8Array(20) };
  const clock = [{ actor, counter, ms: counter }];
  return encodeObject({ clock, floorMs: 0, blindFloor: undefined, siblings: live ? [sibling] : [], operations: [] }, crc32);
}

export interface OneStore {
  readonly timeline: Timeline;
  readonly volume: SimVolume;
  readonly store: LocalStore;
}

/** A store without blocks in memory. */
export async function opened(): Promise<OneStore> {
  const random = new SeededRandom(1);
  const timeline = new Timeline();
  const volume = new SimVolume({ random });
  const mount = new SimMount(volume, { schedule: timeline.schedule, latencyMs: () => 1 });
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
  return { timeline, volume, store: new LocalStore(engine, generations, topology, times, SHIPPED_POLICIES, undefined) };
}
