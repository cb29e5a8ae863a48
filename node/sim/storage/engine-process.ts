/** A process that runs one engine on a simulated disk in virtual time: what the proofs start, crash and start again. */

import { isCoterieError } from '../../src/base/errors.ts';
import { Engine } from '../../src/storage/engine.ts';
import type { EngineOptions } from '../../src/storage/options.ts';
import { SimExecutor } from '../disk/executor.ts';
import type { Medium } from '../disk/medium.ts';
import { SimMount } from '../disk/mount.ts';
import type { SeededRandom } from '../disk/seeded-random.ts';
import { SimVolume } from '../disk/volume.ts';
import { Timeline } from './timeline.ts';

export const DIRECTORY = '/data/store';

export type Tuning = Omit<EngineOptions, 'directory' | 'vfs' | 'executor' | 'clock'>;

/** Sizes so small that a hundred writes flush and compact through several levels. */
export const TINY: Tuning = {
  memtableBytes: 4096,
  tableBytes: 4096,
  levelBaseBytes: 8192,
  levelRatio: 3,
  level0Compact: 2,
  blockBytes: 256,
  restartInterval: 4,
  cacheBytes: 8192,
  openFiles: 8,
  reserveBytes: 0,
  compression: ['none', 'snappy', 'lz4', 'zstd'],
};

export interface EngineProcess {
  readonly mount: SimMount;
  readonly timeline: Timeline;
  readonly engine: Engine;
}

/** A volume with the directory above the store's made for good. */
export function newVolume(random: SeededRandom): SimVolume {
  const volume = new SimVolume({ random });
  volume.medium.apply({ kind: 'mkdir', path: '/data' });
  volume.medium.apply({ kind: 'syncDir', path: '/' });
  return volume;
}

export function volumeOf(image: Medium, random: SeededRandom): SimVolume {
  const volume = new SimVolume({ random });
  volume.restore(image);
  return volume;
}

/** @throws what `Engine.open` does; Stuck when it never settles */
export async function openEngine(volume: SimVolume, random: SeededRandom, tuning: Tuning, startMs?: number): Promise<EngineProcess> {
  const timeline = new Timeline(startMs);
  // Small differences of latency, so that calls in flight overtake each other; syncs take longest, so that much happens beside them.
  const mount = new SimMount(volume, { schedule: timeline.schedule, latencyMs: (kind) => random.below(kind === 'dataSync' ? 12 : 3) });
  const executor = new SimExecutor(mount, { random, sliceDelayMs: 2 });
  const engine = await timeline.run(Engine.open({ ...tuning, directory: DIRECTORY, vfs: mount.vfs, executor, clock: timeline }));
  return { mount, timeline, engine };
}

/** True for the errors that the engine may answer; anything else is a bug of its own. */
export function isCoded(error: unknown): boolean {
  return isCoterieError(error) && error.code !== 'INTERNAL';
}
