/** Proof (a): the engine is a sorted map, whatever its options and whatever happens at once. */

import { describe, expect, it } from '@jest/globals';
import { runProof } from './run-proof.ts';

describe('the engine against a dumb sorted map', () => {
  it('answers the same under random operations, options and reopenings', async () => {
    const { failures, figures } = await runProof('model', '--seed', '1', '--count', '70');
    expect(failures).toEqual([]);
    const seen = figures as Record<string, number>;
    for (const name of ['writes', 'tryGets', 'loads', 'gets', 'multiGets', 'iterations', 'snapshotIterations', 'drops', 'collections']) {
      expect([name, (seen[name] ?? 0) > 300]).toEqual([name, true]);
    }
    expect(seen['reopenings']).toBeGreaterThan(200);
  }, 120_000);

  it.each(['lost-put', 'stale', 'order'])(
    'notices an engine with the bug %s',
    async (bug) => {
      const { failures } = await runProof('model', '--seed', '1', '--count', '40', '--sabotage', bug);
      expect(failures.length).toBeGreaterThan(0);
    },
    60_000,
  );
});
