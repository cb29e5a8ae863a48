/** `make bench NAME=engine`: the storage engine against classic-level (LevelDB) and lmdb, each sample in a process of its own. */

import { fileURLToPath } from 'node:url';

import { inTemporaryDirectory, resultOf } from './children.ts';
import type { WorkloadResult } from './engine/workload.ts';
import { inTurn, type Row, row } from './measure.ts';

const KEYS = 300_000;
const VALUE_BYTES = 1024;
const ROUNDS = 3;
const PROGRAM = fileURLToPath(new URL('engine/workload.ts', import.meta.url));

function sample(name: string): Promise<WorkloadResult> {
  return inTemporaryDirectory((directory) =>
    resultOf<WorkloadResult>(process.execPath, [PROGRAM, name, String(KEYS), String(VALUE_BYTES), directory]),
  );
}

const SETUP = `${KEYS / 1000}k keys, values of 1 KiB compressible by half, cache 64 MiB, write buffer 32 MiB`;

const CASES: readonly (readonly [keyof WorkloadResult, string, string])[] = [
  ['fill', `random fill, batch 100, no sync, drained by full compaction; ${SETUP}`, 'ops/s'],
  ['durable', 'durable puts, 64 in flight, 1 KiB', 'ops/s'],
  ['hit', `read hit, hot tenth of ${SETUP}`, 'ops/s'],
  ['miss', `read miss; ${SETUP}`, 'ops/s'],
  ['diskBytes', `disk after full compaction; ${SETUP}`, 'bytes'],
  ['peakBytes', `peak memory of the process; ${SETUP}`, 'bytes'],
];

export async function engine(): Promise<Row[]> {
  const results = await inTurn('the whole workload', ROUNDS, {
    ours: () => sample('ours'),
    'classic-level': () => sample('classic-level'),
    lmdb: () => sample('lmdb'),
  });
  return CASES.flatMap(([key, name, unit]) =>
    (['classic-level', 'lmdb'] as const).map((peer) =>
      row(
        name,
        unit,
        results.ours.map((result) => result[key]),
        peer,
        results[peer].map((result) => result[key]),
      ),
    ),
  );
}
