/**
 * Makes the golden data directories of the current formats: `node node/test/storage/golden-program.ts`. What a released version once wrote
 * is never made again: a new format gets a directory of its own beside the old one.
 */

import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SeededRandom } from '../../sim/disk/seeded-random.ts';
import { newVolume, openEngine, volumeOf } from '../../sim/storage/engine-process.ts';
import { GOLDEN_DIRECTORY, GOLDEN_STORES, linesOf } from './golden-stores.ts';

for (const [name, make] of Object.entries(GOLDEN_STORES)) {
  const volume = newVolume(new SeededRandom(6));
  await make(volume);
  const path = join(GOLDEN_DIRECTORY, name);
  rmSync(path, { recursive: true, force: true });
  mkdirSync(path, { recursive: true });
  for (const file of volume.files()) {
    if (file.path.endsWith('/LOCK')) continue;
    const node = volume.medium.file(volume.medium.find(file.path) ?? -1);
    writeFileSync(join(path, file.path.slice(file.path.lastIndexOf('/') + 1)), node.bytes.subarray(0, node.size));
  }
  const process = await openEngine(volumeOf(volume.image(), new SeededRandom(6)), new SeededRandom(6), { reserveBytes: 0 });
  process.engine.stats().levels.forEach(({ tables }, level) => {
    if (tables > 0) console.log(`${name}: level ${String(level)} has ${String(tables)} tables`);
  });
  writeFileSync(join(path, 'expected.txt'), `${(await linesOf(process)).join('\n')}\n`);
}
