import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { expect, test } from '@jest/globals';

import { resultOf } from '../../bench/children.ts';
import type { DifferenceResult } from '../../bench/repair/difference.ts';

const PROGRAM = fileURLToPath(new URL('../../bench/repair/difference.ts', import.meta.url));

/** The same as `make bench NAME=repair` with a million. */
test('two replicas of 20,000 keys of which 50 differ: few bytes, few reads, and nothing but roots where none do', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'coterie-difference-'));
  try {
    const { equal, differing } = await resultOf<DifferenceResult>(process.execPath, [PROGRAM, '20000', '50', directory]);
    expect([equal.leaves, equal.moved, equal.diskReads]).toEqual([0, 0, 0]);
    expect(equal.wireBytes).toBeLessThan(3 * 8 * 1024);
    expect(differing.leaves).toBeLessThanOrEqual(50);
    // Which of two copies is the newer one, no digest tells: each may travel.
    expect(differing.moved).toBeLessThanOrEqual(100);
    const sizeOfDiffering = (50 * differing.objectBytes) / differing.moved;
    expect(differing.wireBytes).toBeLessThan(20 * sizeOfDiffering);
    // Of each leaf both read the blocks of a few tables.
    expect(differing.diskReads).toBeLessThan(20 * differing.leaves);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}, 180_000);
