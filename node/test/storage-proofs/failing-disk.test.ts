/** Proof (e): no room, a failed sync or another failure at every call that changes the disk. */

import { describe, expect, it } from '@jest/globals';
import { figure, runProof } from './run-proof.ts';

describe('a failure at every call', () => {
  it('is a coded error; reads go on, writes resume, nothing acknowledged is lost', async () => {
    const summary = await runProof('failing-disk', '--seed', '1', '--count', '1', '--rotate');
    expect(summary.failures).toEqual([]);
    expect(figure(summary, 'cases')).toBeGreaterThan(150);
    expect(figure(summary, 'writesRefused')).toBeGreaterThan(0);
    expect(figure(summary, 'resumed')).toBeGreaterThan(100);
  }, 180_000);

  it.each(['sync', 'reads'])(
    'notices a failure that is hidden or harms too much: %s',
    async (bug) => {
      const { failures } = await runProof('failing-disk', '--seed', '1', '--count', '1', '--rotate', '--sabotage', bug);
      expect(failures.length).toBeGreaterThan(0);
    },
    60_000,
  );
});
