/** Proof (c): `kill -9` of a process that writes to a real directory. */

import { describe, expect, it } from '@jest/globals';
import { figure, runProof } from './run-proof.ts';

describe('kill -9 of a writing process', () => {
  it('loses nothing that was acknowledged', async () => {
    const summary = await runProof('machine/kill', '--seed', '1', '--count', '25');
    expect(summary.failures).toEqual([]);
    expect(figure(summary, 'kills')).toBe(25);
    expect(figure(summary, 'acknowledged')).toBeGreaterThan(200);
  }, 120_000);

  it('notices a writer that acknowledges too early', async () => {
    const { failures } = await runProof('machine/kill', '--seed', '1', '--count', '30', '--sabotage', 'eager');
    expect(failures.length).toBeGreaterThan(0);
  }, 120_000);
});
