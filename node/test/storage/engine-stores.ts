/** Stores on simulated disks in virtual time, for tests: opened, filled, read, and closed after each test. */

import { afterEach } from '@jest/globals';
import { SeededRandom } from '../../sim/disk/seeded-random.ts';
import type { SimVolume } from '../../sim/disk/volume.ts';
import { newVolume, openEngine, TINY } from '../../sim/storage/engine-process.ts';
import type { EngineProcess, Tuning } from '../../sim/storage/engine-process.ts';
import type { Engine, EngineIterator } from '../../src/storage/engine.ts';
import type { KeyedEntry } from '../../src/storage/entry.ts';
import { WriteBatch } from '../../src/storage/write-batch.ts';

export const random = new SeededRandom(1);
const opened: EngineProcess[] = [];

export async function start(tuning: Tuning = {}, volume: SimVolume = newVolume(random.fork())): Promise<EngineProcess> {
  const process = await openEngine(volume, random.fork(), { ...TINY, poison: true, ...tuning });
  closeLater(process);
  return process;
}

/** Closes the store after the test. */
export function closeLater(process: EngineProcess): void {
  opened.push(process);
}

afterEach(async () => {
  for (const { engine, timeline, mount } of opened) if (mount.alive) await timeline.run(engine.close());
  opened.length = 0;
});

export const keyOf = (i: number): string => `key ${String(i).padStart(5, '0')}`;
export const valueOf = (i: number, length = 100): Buffer => Buffer.from(`${String(i)}:`.padEnd(length, String(i)));

export function put({ engine, timeline }: EngineProcess, batch: WriteBatch): Promise<void> {
  return timeline.run(
    new Promise<void>((resolve, reject) => {
      engine.write(batch, (error) => {
        if (error === undefined) resolve();
        else reject(error);
      });
    }),
  );
}

export async function fill(process: EngineProcess, from: number, to: number, length = 100): Promise<void> {
  for (let at = from; at < to; at += 10) {
    const batch = new WriteBatch();
    for (let i = at; i < Math.min(to, at + 10); i += 1) batch.put(keyOf(i), valueOf(i, length));
    await put(process, batch);
  }
}

export async function get({ engine, timeline }: EngineProcess, key: string): Promise<string | undefined> {
  return timeline.run(engine.get(key).then((entry) => (entry === undefined ? undefined : Buffer.from(entry.value).toString('latin1'))));
}

export async function all({ timeline }: EngineProcess, iterator: EngineIterator): Promise<KeyedEntry[]> {
  const entries: KeyedEntry[] = [];
  for (;;) {
    const batch = await timeline.run(iterator.next());
    if (batch.length === 0) break;
    entries.push(...batch);
  }
  iterator.close();
  return entries;
}

export const keysIn = async (process: EngineProcess, options?: Parameters<Engine['iterate']>[0]): Promise<string[]> =>
  (await all(process, process.engine.iterate(options))).map((entry) => entry.key);

export const bytesOn = (process: EngineProcess): number => process.mount.volume.files().reduce((sum, file) => sum + file.size, 0);
export const tablesIn = (engine: Engine): number => engine.stats().levels.reduce((sum, level) => sum + level.tables, 0);
