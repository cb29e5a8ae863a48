/** `make bench NAME=engine`: the storage engine against classic-level (LevelDB) and lmdb, each sample in a process of its own. */

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import type { WorkloadResult } from './engine/workload.ts';
import { inTurn, type Row, row } from './measure.ts';

const KEYS = 300_000;
const VALUE_BYTES = 1024;
const ROUNDS = 3;
const PROGRAM = fileURLToPath(new URL('engine/workload.ts', import.meta.url));
const execute = promisify(execFile);

async function sample(name: string): Promise<WorkloadResult> {
  const { stdout } = await execute(process.execPath, [PROGRAM, name, String(KEYS), String(VALUE_BYTES)]);
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as WorkloadResult;
}

const SETUP = `${KEYS / 1000}k keys, values of 1 KiB compressible by half`;

const CASES: readonly (readonly [keyof WorkloadResult, string, string])[] = [
  ['fill', `random fill, batch 100, no sync, drained by full compaction; ${SETUP}`, 'ops/s'],
  ['durable', 'durable puts, 64 in flight, 1 KiB', 'ops/s'],
  ['hit', `read hit, hot tenth of ${SETUP}`, 'ops/s'],
  ['miss', `read miss; ${SETUP}`, 'ops/s'],
  ['diskBytes', `disk after full compaction; ${SETUP}`, 'bytes'],
  ['peakBytes', `peak memory of the process; ${SETUP}`, 'bytes'],
];

export async function engine(): Promise<Row[]> {
  const results = await inTurn(ROUNDS, {
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
