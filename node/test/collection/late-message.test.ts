import { describe, expect, test } from '@jest/globals';

import { objectOf, type OneStore, opened, OTHER, placed } from '../runtime/one-store.ts';

const { diskKey, partition } = placed('key');

function merge({ store, timeline }: OneStore, object: Uint8Array, generation: number): Promise<string> {
  return timeline.run(
    new Promise<string>((resolve) => {
      store.merge(diskKey, object, generation, (error) => {
        resolve(error?.code ?? 'done');
      });
    }),
  );
}

/** A store that has a tombstone which is collected, and still lies on its disk. */
async function withCollected(): Promise<OneStore> {
  const node = await opened();
  const { store, timeline } = node;
  expect(await merge(node, objectOf(2, false), 1)).toBe('done');
  for (const to of [2, 3]) await timeline.run(store.generations.raise([{ partition, to }]));
  await timeline.run(store.generations.seal([partition]));
  await timeline.run(store.generations.collect([{ partition, floor: { generation: 3, expiredByMs: 0, sequence: 1 } }]));
  return node;
}

describe('a message of an older generation', () => {
  test('is admitted until the partition is sealed, and refused from then on, without an effect', async () => {
    const node = await opened();
    const { store, timeline } = node;
    await timeline.run(store.generations.raise([{ partition, to: 2 }]));
    expect(await merge(node, objectOf(1), 1)).toBe('done');
    await timeline.run(store.generations.seal([partition]));
    expect(await merge(node, objectOf(2), 1)).toBe('GENERATION_STALE');
    expect((await timeline.run(store.engine.get(diskKey)))?.value).toEqual(Buffer.from(objectOf(1)));
    expect(await merge(node, objectOf(2), 2)).toBe('done');
    // Of a member that is ahead.
    expect(await merge(node, objectOf(3), 7)).toBe('done');
  });

  test('is refused also where it came in time and had to wait for the disk', async () => {
    const node = await opened();
    const { store, timeline } = node;
    expect(await merge(node, objectOf(2, false), 1)).toBe('done');
    await timeline.run(store.engine.flush());
    const waiting = new Promise<string>((resolve) => {
      store.merge(diskKey, objectOf(3), 1, (error) => {
        resolve(error?.code ?? 'done');
      });
    });
    store.generations.close([partition]);
    expect(await timeline.run(waiting)).toBe('GENERATION_STALE');
    store.generations.reopen([partition]);
    expect(await merge(node, objectOf(3), 1)).toBe('done');
  });

  test('brings nothing back, while an entry that is collected is taken for absent', async () => {
    const node = await withCollected();
    const { store, timeline } = node;
    expect(store.tryGet(diskKey)).toBeUndefined();
    expect(store.tryGetHeld(diskKey)).toMatchObject({ kind: 'tombstone', gcTag: 1 });
    // The tombstone once more, from a replica that has yet to collect it: it is there, so it stays collected.
    expect(await merge(node, objectOf(2, false), 3)).toBe('done');
    expect(store.tryGet(diskKey)).toBeUndefined();
    expect(await merge(node, objectOf(1), 2)).toBe('GENERATION_STALE');
    await timeline.run(store.engine.compact({ collectable: [{ from: '', gcTag: 1, expiredByMs: 0 }] }));
    expect(await timeline.run(store.engine.get(diskKey))).toBeUndefined();
    expect(await merge(node, objectOf(1), 2)).toBe('GENERATION_STALE');
    expect(await timeline.run(store.engine.get(diskKey))).toBeUndefined();
  });

  test('adds nothing of what is collected to what is new, as where its space was given back', async () => {
    const node = await withCollected();
    const { store, timeline } = node;
    expect(await merge(node, objectOf(1, true, OTHER), 3)).toBe('done');
    expect((await timeline.run(store.engine.get(diskKey)))?.value).toEqual(Buffer.from(objectOf(1, true, OTHER)));
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
