/** Proof (d): damaged bytes in any file give the right answer or a coded error. */

import { describe, expect, it } from '@jest/globals';
import { figure, runProof } from './run-proof.ts';

describe('damage to the files', () => {
  it('is answered right or with a coded error, in every kind of file', async () => {
    const summary = await runProof('bit-rot', '--seed', '1', '--count', '1500');
    expect(summary.failures).toEqual([]);
    expect(figure(summary, 'cases')).toBe(1500);
    expect(figure(summary, 'rightAnswers')).toBeGreaterThan(10_000);
    expect(figure(summary, 'errors')).toBeGreaterThan(100);
    expect(Object.keys(summary['casesByKind'] as Record<string, number>).length).toBeGreaterThanOrEqual(3);
  }, 180_000);

  it.each(['value', 'absent'])(
    'notices wrong answers: %s',
    async (bug) => {
      const { failures } = await runProof('bit-rot', '--seed', '1', '--count', '100', '--sabotage', bug);
      expect(failures.length).toBeGreaterThan(0);
    },
    60_000,
  );
});
