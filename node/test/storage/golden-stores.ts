/** The golden data directories: how they are made, and how one is read into a form that a file can hold. */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { SimMount } from '../../sim/disk/mount.ts';
import { SeededRandom } from '../../sim/disk/seeded-random.ts';
import type { SimVolume } from '../../sim/disk/volume.ts';
import { DIRECTORY, newVolume, openEngine } from '../../sim/storage/engine-process.ts';
import type { EngineProcess, Tuning } from '../../sim/storage/engine-process.ts';
import type { KeyedEntry } from '../../src/storage/entry.ts';
import { WriteBatch } from '../../src/storage/write-batch.ts';

export const GOLDEN_DIRECTORY: string = join(import.meta.dirname, '../golden/storage-v1');

const TUNING: Tuning = {
  memtableBytes: 4096,
  tableBytes: 4096,
  blockBytes: 512,
  levelBaseBytes: 8192,
  levelRatio: 3,
  level0Compact: 2,
  restartInterval: 4,
  compression: ['none', 'snappy', 'lz4', 'zstd'],
  reserveBytes: 0,
};

/** The name of an entry's line, or of a damaged range's. */
export type GoldenLine = string;

function lineOf(entry: KeyedEntry): GoldenLine {
  const key = Buffer.from(entry.key, 'latin1').toString('hex');
  return `${key} ${entry.kind} ${String(entry.expireAtMs)} ${String(entry.gcTag)} ${String(entry.value.length)} ${String(crc32(entry.value))}`;
}

/** Everything in the store in order, one line an entry or damaged range. */
export async function linesOf({ engine, timeline }: EngineProcess): Promise<GoldenLine[]> {
  const iterator = engine.iterate();
  const lines: GoldenLine[] = [];
  for (;;) {
    try {
      const batch = await timeline.run(iterator.next());
      if (batch.length === 0) break;
      lines.push(...batch.map(lineOf));
    } catch (error) {
      const { range } = error as { range: { from: string; to: string } };
      lines.push(`damaged ${Buffer.from(range.from, 'latin1').toString('hex')} ${Buffer.from(range.to, 'latin1').toString('hex')}`);
    }
  }
  iterator.close();
  return lines;
}

async function put({ engine, timeline }: EngineProcess, batch: WriteBatch): Promise<void> {
  await timeline.run(
    new Promise<void>((resolve, reject) => {
      engine.write(batch, (error) => {
        if (error === undefined) resolve();
        else reject(error);
      });
    }),
  );
}

const keyOf = (i: number): string => `${String.fromCharCode((i * 37) % 256, i % 7)}user:${String(i)}`;

async function fill(process: EngineProcess, from: number, to: number, gcTag: number): Promise<void> {
  for (let i = from; i < to; i += 1) {
    // Mostly text that compresses, now and then noise that does not.
    const value =
      i % 13 === 0 ? new SeededRandom(i).bytes(700) : Buffer.from(`${String(i)} ${'abc'.repeat(i % 50)} ${String(crc32(String(i)))}`);
    const batch = new WriteBatch();
    if (i % 11 === 0) batch.delete(keyOf(i >> 1), gcTag);
    batch.put(keyOf(i), value, { tombstone: i % 9 === 0, expireAtMs: i % 5 === 0 ? 1_700_000_000_000 + i : 0, gcTag: gcTag + i });
    await put(process, batch);
  }
}

const start = (volume: SimVolume, tuning: Tuning): Promise<EngineProcess> => openEngine(volume, new SeededRandom(5), tuning);

/** Tables on four levels, each with its codec, and a dropped range that is only masked. */
async function tables(volume: SimVolume): Promise<void> {
  const process = await start(volume, { ...TUNING, level0Compact: 3, compression: ['lz4', 'snappy', 'zstd'] });
  await fill(process, 0, 700, 1);
  const { engine, timeline } = process;
  await timeline.run(engine.dropRange('\x40', '\x43'));
  await fill(process, 700, 735, 2 ** 40);
  await timeline.run(engine.close());
}

/** Nothing but a log: batches, a removal, a dropped range, and the mark of a clean end. */
async function log(volume: SimVolume): Promise<void> {
  const process = await start(volume, { ...TUNING, memtableBytes: 1_000_000 });
  await fill(process, 0, 60, 1);
  volume.judge = (operation) => (operation.kind === 'create' && operation.path.endsWith('.sst') ? 'io' : 'ok');
  await process.timeline.run(process.engine.dropRange('\x40', '\x80').catch(() => undefined));
  await put(process, new WriteBatch().put('\x50 written after', Buffer.from('the drop')));
  await process.timeline.run(process.engine.close());
}

/** A log whose last write the disk had not finished. */
async function torn(volume: SimVolume): Promise<void> {
  const process = await start(volume, { ...TUNING, memtableBytes: 1_000_000 });
  await fill(process, 0, 20, 1);
  volume.processDeath(process.mount);
  const path = volume.files().find((file) => file.path.endsWith('.log'))?.path ?? '';
  const file = volume.medium.file(volume.medium.find(path) ?? -1);
  volume.medium.apply({ kind: 'truncate', path, length: file.size - 20, node: volume.medium.find(path) ?? -1 });
}

/** A range that was lost to damage and carried along by a compaction. */
async function hole(volume: SimVolume): Promise<void> {
  const process = await start(volume, { ...TUNING, memtableBytes: 1_000_000 });
  await fill(process, 0, 100, 1);
  await process.timeline.run(process.engine.compact());
  await process.timeline.run(process.engine.close());
  const path = volume.files().find((file) => file.path.endsWith('.sst'))?.path ?? '';
  volume.flip(path, 1000, 1);
  const again = await start(volume, TUNING);
  await fill(again, 50, 70, 2);
  await again.timeline.run(again.engine.compact());
  await again.timeline.run(again.engine.close());
}

export const GOLDEN_STORES: Readonly<Record<string, (volume: SimVolume) => Promise<void>>> = { tables, log, torn, hole };

/** A volume that holds the files of a directory of the machine's disk. */
export function volumeFrom(path: string): SimVolume {
  const volume = newVolume(new SeededRandom(6));
  volume.medium.apply({ kind: 'mkdir', path: DIRECTORY });
  const mount = new SimMount(volume, { schedule: () => undefined });
  for (const name of readdirSync(path)) {
    if (name === 'expected.txt') continue;
    const file = mount.sync.open(`${DIRECTORY}/${name}`, 'create');
    file.write(readFileSync(join(path, name)), 0);
    file.dataSync();
    file.close();
  }
  mount.sync.syncDir(DIRECTORY);
  volume.processDeath(mount);
  return volume;
}
