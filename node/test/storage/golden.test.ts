/** Data directories that earlier versions wrote are opened by this one, hold what they held, and can be written to. */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { SeededRandom } from '../../sim/disk/seeded-random.ts';
import { openEngine } from '../../sim/storage/engine-process.ts';
import type { Tuning } from '../../sim/storage/engine-process.ts';
import { decodeManifest } from '../../src/storage/manifest/codec.ts';
import type { ManifestState } from '../../src/storage/manifest/codec.ts';
import { openBlock, TRAILER_BYTES } from '../../src/storage/sstable/codec.ts';
import { decodeFooter, FOOTER_BYTES } from '../../src/storage/sstable/footer.ts';
import { TableIndex } from '../../src/storage/sstable/index-block.ts';
import { GOLDEN_DIRECTORY, linesOf, volumeFrom } from './golden-stores.ts';

const TUNING: Tuning = { reserveBytes: 0, memtableBytes: 65_536 };

/** The codec of every data block of a table, by the trailers that its index points to. */
function codecsIn(bytes: Buffer): number[] {
  const footer = decodeFooter(bytes.subarray(bytes.length - FOOTER_BYTES));
  const place = footer.index;
  const index = new TableIndex(
    openBlock(bytes.subarray(place.offset, place.offset + place.length + TRAILER_BYTES), footer.number, place.offset),
  );
  return Array.from({ length: index.count }, (_, block) => {
    const { offset, length } = index.place(block);
    return bytes[offset + length] ?? -1;
  });
}

const filesOf = (name: string, ending: string): Buffer[] =>
  readdirSync(join(GOLDEN_DIRECTORY, name))
    .filter((file) => file.endsWith(ending))
    .map((file) => readFileSync(join(GOLDEN_DIRECTORY, name, file)));

describe('golden data directories, format 1', () => {
  it('there are some of each kind', () => {
    expect(
      readdirSync(GOLDEN_DIRECTORY)
        .filter((name) => !name.startsWith('.'))
        .sort(),
    ).toEqual(['hole', 'log', 'tables', 'torn']);
  });

  it('they have every codec, several levels, masks, holes, and logs', () => {
    expect(new Set(filesOf('tables', '.sst').flatMap(codecsIn))).toEqual(new Set([0, 1, 2, 3]));
    const manifestOf = (name: string): ManifestState => decodeManifest(filesOf(name, 'MANIFEST')[0] ?? Buffer.alloc(0));
    expect(manifestOf('tables').levels.filter((level) => level.length > 0).length).toBeGreaterThanOrEqual(4);
    expect(
      manifestOf('tables')
        .levels.flat()
        .flatMap((table) => table.masks).length,
    ).toBeGreaterThan(0);
    expect(
      manifestOf('hole')
        .levels.flat()
        .flatMap((table) => table.holes).length,
    ).toBeGreaterThan(0);
    expect(filesOf('log', '.log').length).toBeGreaterThan(0);
    expect(filesOf('torn', '.log').length).toBe(1);
  });

  it.each(['tables', 'log', 'torn', 'hole'])('%s', async (name) => {
    const path = join(GOLDEN_DIRECTORY, name);
    const expected = readFileSync(join(path, 'expected.txt'), 'utf8').trimEnd().split('\n');
    expect(expected.length).toBeGreaterThan(15);
    const volume = volumeFrom(path);
    const process = await openEngine(volume, new SeededRandom(1), TUNING);
    expect(await linesOf(process)).toEqual(expected);
    await process.timeline.run(process.engine.compact());
    expect(await linesOf(process)).toEqual(expected);
    await process.timeline.run(process.engine.close());
    const again = await openEngine(volume, new SeededRandom(1), TUNING);
    expect(await linesOf(again)).toEqual(expected);
    await again.timeline.run(again.engine.close());
  });
});
