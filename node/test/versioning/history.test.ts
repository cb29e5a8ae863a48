/** Random histories: what objects show is what a model that forgets nothing shows, also after truncation, wipes and restored backups. */

import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { History, anyStep } from './history.ts';

const SEED = 20_260_101;

describe('random histories', () => {
  test('show exactly what the causal model shows, at every step and after convergence', () => {
    const totals = { applied: 0, repeated: 0, unchanged: 0, truncated: 0, siblings: 0, hidden: 0, edits: 0, expired: 0 };
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 60, size: 'max' }), (steps) => {
        const history = new History();
        for (const step of steps) {
          history.run([step]);
          history.check();
        }
        history.converge();
        history.check();
        for (const name of Object.keys(totals) as (keyof typeof totals)[]) totals[name] += history.counts[name];
      }),
      { seed: SEED, numRuns: 600 },
    );
    expect(totals.applied).toBeGreaterThan(2000);
    for (const count of Object.values(totals)) expect(count).toBeGreaterThan(40);
  });
});
