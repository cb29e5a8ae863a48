/** A range that damage took is written again from another replica, and healed: what the store itself could still read there is not lost by that. */

import { describe, expect, test } from '@jest/globals';

import { asCoterieError } from '../../src/base/errors.ts';
import { objectOf, type OneStore, opened, placed } from './one-store.ts';

const KEYS = Array.from({ length: 40 }, (_, at) => placed(`key ${String(at)}`).diskKey);
const FIRST = 1;
const SECOND = 2;

function write({ store, timeline }: OneStore, key: string, counter: number, how: 'merge' | 'refill'): Promise<void> {
  return timeline.run(
    new Promise<void>((resolve, reject) => {
      store[how](key, objectOf(counter), 1, (error) => {
        if (error === undefined) resolve();
        else reject(error);
      });
    }),
  );
}

/** What a read of each key says: the object's counter, nothing, or the code of its failure. */
async function told({ store, timeline }: OneStore): Promise<string[]> {
  const answers: string[] = [];
  for (const key of KEYS) {
    try {
      const entry = await timeline.run(store.engine.get(key));
      const counter = [FIRST, SECOND].find((each) => entry !== undefined && Buffer.compare(entry.value, objectOf(each)) === 0);
      answers.push(counter === undefined ? 'nothing' : String(counter));
    } catch (error) {
      answers.push(asCoterieError(error).code);
    }
  }
  return answers;
}

/** Every second key written anew, in a newer table of which no block can be read. */
async function damaged(): Promise<{ readonly node: OneStore; readonly newest: string[] }> {
  const node = await opened();
  const { store, timeline, volume } = node;
  for (const key of KEYS) await write(node, key, FIRST, 'merge');
  await timeline.run(store.engine.flush());
  const before = new Set(volume.files().map(({ path }) => path));
  for (const [at, key] of KEYS.entries()) if (at % 2 === 0) await write(node, key, SECOND, 'merge');
  await timeline.run(store.engine.flush());
  const [newer] = volume.files().filter(({ path }) => path.endsWith('.sst') && !before.has(path));
  volume.flip(newer?.path ?? '', 40, 1);
  return { node, newest: KEYS.map((_, at) => String(at % 2 === 0 ? SECOND : FIRST)) };
}

describe('a refill', () => {
  test('leaves every key as the newest of both replicas has it', async () => {
    const { node, newest } = await damaged();
    const { store, timeline } = node;
    const before = await told(node);
    expect(new Set(before)).toEqual(new Set(['DATA_DAMAGED', String(FIRST)]));
    for (const range of store.engine.quarantined()) {
      for (const [at, key] of KEYS.entries()) {
        if (key < range.from || (range.to !== undefined && key >= range.to)) continue;
        await write(node, key, at % 2 === 0 ? SECOND : FIRST, 'refill');
      }
      await timeline.run(store.engine.heal(range.from, range.to));
    }
    expect(store.engine.quarantined()).toEqual([]);
    expect(await told(node)).toEqual(newest);
  });
});
