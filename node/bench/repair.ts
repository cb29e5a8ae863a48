/** `make bench NAME=repair`: what it costs to compare two replicas of a million keys, and to keep the hash trees that make it cheap. */

import { fileURLToPath } from 'node:url';

import { inTemporaryDirectory, resultOf } from './children.ts';
import { inTurn, type Row, row } from './measure.ts';
import type { DifferenceResult } from './repair/difference.ts';

const KEYS = 1_000_000;
const DIFFERING = 100;
const ROUNDS = 3;
const KEPT_KEYS = 50_000;
const KEPT_WRITES = 150_000;
const DIFFERENCE = fileURLToPath(new URL('repair/difference.ts', import.meta.url));
const KEEPING = fileURLToPath(new URL('repair/keeping.ts', import.meta.url));

interface Kept {
  readonly perSecond: number;
}

export async function repair(): Promise<Row[]> {
  const kept = (kind: string) => (): Promise<Kept> =>
    inTemporaryDirectory((directory) =>
      resultOf<Kept>(process.execPath, [KEEPING, kind, String(KEPT_KEYS), String(KEPT_WRITES), `${directory}/store`]),
    );
  const keeping = await inTurn('writes of a replica', ROUNDS, { trees: kept('trees'), plain: kept('plain') });
  process.stderr.write(`  two replicas of ${String(KEYS)} keys\n`);
  const found = await inTemporaryDirectory((directory) =>
    resultOf<DifferenceResult>(process.execPath, [DIFFERENCE, String(KEYS), String(DIFFERING), directory]),
  );
  const { equal, differing, computeMs, restartMs } = found;
  const setup = `N=2, ${KEYS / 1e6} M keys of 256 bytes, Q=1024`;
  return [
    row(
      `merges of 1 KiB over ${KEPT_KEYS / 1000}k keys, 128 in flight, fsync interval: with hash trees and without`,
      'ops/s',
      keeping.trees.map(({ perSecond }) => perSecond),
      'no trees',
      keeping.plain.map(({ perSecond }) => perSecond),
    ),
    row(`compared, ${DIFFERING} keys differ: bytes on the wire; ${setup}`, 'bytes', [differing.wireBytes], 'objects moved', [
      differing.objectBytes,
    ]),
    row(`compared, ${DIFFERING} keys differ: reads of the disk; ${setup}`, 'reads', [differing.diskReads], 'leaves that differ', [
      differing.leaves,
    ]),
    row(`compared, ${DIFFERING} keys differ: objects moved; ${setup}`, 'objects', [differing.moved], 'keys that differ', [DIFFERING]),
    row(`compared, ${DIFFERING} keys differ: time; ${setup}`, 'ms', [differing.ms]),
    row(`compared, none differ: bytes on the wire; ${setup}`, 'bytes', [equal.wireBytes], 'bytes of 1,024 roots', [1024 * 8]),
    row(`compared, none differ: reads of the disk; ${setup}`, 'reads', [equal.diskReads]),
    row(`compared, none differ: time; ${setup}`, 'ms', [equal.ms]),
    row(`trees found again at a start; ${setup}`, 'ms', [restartMs]),
    row(`trees computed by reading everything; ${setup}`, 'ms', [computeMs]),
  ];
}
