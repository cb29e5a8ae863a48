/** Proof: the hash trees that a store finds after a crash at any operation are those that its content makes. */

import { describe, expect, it } from '@jest/globals';
import { figure, runProof } from './run-proof.ts';

describe('hash trees after a crash at every operation', () => {
  it('are true at every moment, and mostly need not be computed', async () => {
    const summary = await runProof('tree-crash', '--seed', '1', '--count', '2');
    expect(summary.failures).toEqual([]);
    expect(figure(summary, 'images')).toBeGreaterThan(500);
    expect(figure(summary, 'restored')).toBeGreaterThan(0.9 * figure(summary, 'images'));
    expect(figure(summary, 'computed')).toBeLessThan(0.2 * figure(summary, 'images'));
  }, 180_000);

  it('are noticed to be false where a write leaves its old value in', async () => {
    const { failures } = await runProof('tree-crash', '--sabotage', 'blind');
    expect(failures[0]).toContain('says that it is known, and is not what the content makes');
  }, 60_000);

  it('are noticed to be missing where checkpoints come after the manifest', async () => {
    const { failures } = await runProof('tree-crash', '--sabotage', 'late');
    expect(failures[0]).toContain('after an orderly stop the trees are computed anew');
  }, 60_000);
});
