/** Proof (f): with 1 ms added to every read and every write of the log, the event loop is not held longer than 5 ms. */

import { describe, expect, it } from '@jest/globals';
import { figure, runProof } from './run-proof.ts';

describe('a disk whose every read and log write takes a millisecond longer', () => {
  it('holds the loop for four synchronous reads and writes in a turn at most', async () => {
    const summary = await runProof('machine/slow-reads', '--seed', '1', '--count', '1200', '--keys', '4000');
    expect(summary.failures).toEqual([]);
    expect(figure(summary, 'mostCallsInATurn')).toBeLessThanOrEqual(4);
    expect(figure(summary, 'asynchronousReads')).toBeGreaterThan(100);
    expect(figure(summary, 'asynchronousWrites')).toBeGreaterThan(100);
  }, 120_000);

  it('notices an engine that cannot see how slow the disk is', async () => {
    const { failures } = await runProof('machine/slow-reads', '--seed', '1', '--count', '600', '--keys', '4000', '--sabotage', 'clock');
    expect(failures.length).toBeGreaterThan(0);
  }, 120_000);
});
