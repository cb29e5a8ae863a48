import { describe, expect, test } from '@jest/globals';

import { bucketId, clusterId, memberName, type PartitionId, storeId } from '../../src/base/ids.ts';
import { generationOfTag, hintKey, hintTag, wOfTag } from '../../src/cluster/handoff/hint-key.ts';
import { StandInActor } from '../../src/cluster/handoff/stand-in-actor.ts';
import { createTopology } from '../../src/cluster/ring/topology-create.ts';
import { placeKey } from '../../src/cluster/ring/token.ts';
import { HintStore } from '../../src/runtime/hint-store.ts';
import type { Leases } from '../../src/runtime/leases.ts';
import { SHIPPED_POLICIES } from '../../src/runtime/policies.ts';
import { Engine, Pending } from '../../src/storage/engine.ts';
import { SimExecutor } from '../../sim/disk/executor.ts';
import { SeededRandom } from '../../sim/disk/seeded-random.ts';
import { SimMount } from '../../sim/disk/mount.ts';
import { SimVolume } from '../../sim/disk/volume.ts';
import { Timeline } from '../../sim/storage/timeline.ts';
import { objectOf } from '../runtime/one-store.ts';

const topology = createTopology({
  clusterId: clusterId('0'.repeat(32)),
  N: 2,
  Q: 1,
  tokenSeed: '0'.repeat(16),
  buckets: [{ id: bucketId(0), name: 'default', consistency: 'eventual', R: 1, W: 1, blindWrites: 'newest' }],
  members: [1, 2, 3].map((number) => ({
    name: memberName(`node-${String(number)}`),
    address: { host: `node-${String(number)}`, peerPort: 1, respPort: 1, httpPort: 1 },
    zone: 'zone-1',
    rack: 'rack-1',
    weight: 1,
  })),
});
const { diskKey, partition } = placeKey(topology, bucketId(0), 'key');
const STORE = storeId('0'.repeat(32));

class Fallback {
  readonly timeline: Timeline;
  readonly hints: HintStore;
  /** In force, and on its way to the disk. */
  readonly generation: { of: number; ahead: number } = { of: 1, ahead: 1 };

  private constructor(timeline: Timeline, engine: Engine) {
    this.timeline = timeline;
    this.hints = new HintStore({
      engine,
      topology,
      leases: { observe: () => true, touch: () => undefined } as unknown as Leases,
      policies: SHIPPED_POLICIES,
      standIn: new StandInActor(
        () => ({ storeId: STORE, actorEpoch: 1 }),
        () => 7,
      ),
      generations: {
        of: () => this.generation.of,
        admitsHint: (_: PartitionId, generation: number) => generation >= this.generation.ahead,
      },
      limitBytes: 1 << 20,
      nowMs: () => timeline.wallMs(),
      after: () => undefined,
      changed: () => undefined,
      touched: () => undefined,
      warn: () => undefined,
    });
  }

  /** @param put what an earlier version of the store had */
  static async open(put: (engine: Engine) => void = () => undefined): Promise<Fallback> {
    const random = new SeededRandom(1);
    const timeline = new Timeline();
    const mount = new SimMount(new SimVolume({ random }), { schedule: timeline.schedule, latencyMs: () => 1 });
    const executor = new SimExecutor(mount, { random, sliceDelayMs: 1 });
    const engine = await timeline.run(
      Engine.open({ directory: '/hints', vfs: mount.vfs, executor, clock: timeline, memtableBytes: 8192, cacheBytes: 0, reserveBytes: 0 }),
    );
    put(engine);
    const fallback = new Fallback(timeline, engine);
    fallback.hints.begin();
    await timeline.run(
      (async (): Promise<void> => {
        while (!fallback.hints.counted) await new Promise<void>((resolve) => timeline.after(1, resolve));
      })(),
    );
    return fallback;
  }

  merge(object: Uint8Array, w: number, generation: number): Promise<string> {
    return this.timeline.run(
      new Promise<string>((resolve) => {
        this.hints.merge(1, diskKey, object, w, generation, (error) => {
          resolve(error?.code ?? 'done');
        });
      }),
    );
  }

  /** The generation of what is hinted of the key. */
  get kept(): number | undefined {
    const found = this.hints.tryGet(diskKey);
    if (found instanceof Pending) throw new Error('all of it is in memory');
    return found?.generation;
  }
}

describe('hints and generations', () => {
  test('a tag holds both; those of earlier versions, W alone, are of the first', () => {
    for (const w of [1, 3, 7]) {
      for (const generation of [1, 2, 4_294_967_295]) {
        expect([wOfTag(hintTag(w, generation)), generationOfTag(hintTag(w, generation))]).toEqual([w, generation]);
      }
      expect([wOfTag(w), generationOfTag(w)]).toEqual([w, 1]);
    }
  });

  test('a hint is as old as the oldest that was merged into it, and needs the most acknowledgements', async () => {
    const fallback = await Fallback.open();
    expect(await fallback.merge(objectOf(2), 1, 5)).toBe('done');
    expect(fallback.kept).toBe(5);
    // It brings nothing, and may still have been read under an older one.
    expect(await fallback.merge(objectOf(1), 2, 3)).toBe('done');
    expect(fallback.kept).toBe(3);
    expect(await fallback.merge(objectOf(3), 1, 6)).toBe('done');
    expect(fallback.kept).toBe(3);
    const { hints } = await fallback.timeline.run(fallback.hints.page(partition, 1, undefined, 10, 1000));
    expect(hints).toMatchObject([{ w: 2, generation: 3 }]);
  });

  test('one that is older than the generation on its way to the disk is refused without effect', async () => {
    const fallback = await Fallback.open();
    fallback.generation.ahead = 3;
    expect(await fallback.merge(objectOf(1), 1, 2)).toBe('GENERATION_STALE');
    expect(fallback.hints.countOf(partition)).toBe(0);
    expect(await fallback.merge(objectOf(1), 1, 3)).toBe('done');
    expect(fallback.hints.countOf(partition)).toBe(1);
  });

  test('a store of an earlier version opens, and counts', async () => {
    const fallback = await Fallback.open((engine) => {
      engine.put(hintKey(1, diskKey), objectOf(1), { gcTag: 2 }, () => undefined);
    });
    expect(fallback.kept).toBe(1);
    const { hints } = await fallback.timeline.run(fallback.hints.page(partition, 1, undefined, 10, 1000));
    expect(hints).toMatchObject([{ w: 2, generation: 1 }]);
    expect(await fallback.timeline.run(fallback.hints.drop(hints[0] as (typeof hints)[number]))).toBe(true);
    expect(fallback.hints.countOf(partition)).toBe(0);
  });

  test('one that a crash or an old disk has brought back is not told of, gives way to the next, and can be dropped', async () => {
    const fallback = await Fallback.open((engine) => {
      engine.put(hintKey(1, diskKey), objectOf(9), { gcTag: hintTag(1, 2) }, () => undefined);
    });
    Object.assign(fallback.generation, { of: 3, ahead: 3 });
    expect(fallback.kept).toBeUndefined();
    const before = await fallback.timeline.run(fallback.hints.page(partition, 1, undefined, 10, 1000));
    expect(before.hints.map((hint) => fallback.hints.isOutlived(hint))).toEqual([true]);
    expect(await fallback.merge(objectOf(4), 1, 3)).toBe('done');
    expect(fallback.kept).toBe(3);
    const after = await fallback.timeline.run(fallback.hints.page(partition, 1, undefined, 10, 1000));
    expect(after.hints).toHaveLength(1);
    expect(Buffer.from(after.hints[0]?.bytes ?? [])).toEqual(Buffer.from(objectOf(4)));
    expect(after.hints.map((hint) => fallback.hints.isOutlived(hint))).toEqual([false]);
    // What was outlived is not dropped in the stead of what replaced it.
    expect(await fallback.timeline.run(fallback.hints.drop(before.hints[0] as (typeof before.hints)[number]))).toBe(false);
  });
});
