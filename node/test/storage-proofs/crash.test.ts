/** Proof (b): a loss of power at every operation of a workload that changes the disk. */

import { describe, expect, it } from '@jest/globals';
import { figure, runProof } from './run-proof.ts';

describe('a loss of power at every operation', () => {
  it('leaves a prefix of the batches with every durable one', async () => {
    const summary = await runProof('crash', '--seed', '1', '--count', '1', '--images', '2');
    expect(summary.failures).toEqual([]);
    expect(figure(summary, 'images')).toBe(3 * figure(summary, 'cuts'));
    expect(figure(summary, 'recoveryImages')).toBeGreaterThan(100);
    const kinds = summary['cutsByKind'] as Record<string, number>;
    for (const kind of ['create', 'write', 'dataSync', 'rename', 'unlink', 'syncDir']) {
      expect([kind, (kinds[kind] ?? 0) > 3]).toEqual([kind, true]);
    }
  }, 180_000);

  it.each(['dataSync', 'syncDir', 'rename'])(
    'notices a disk that lies about %s',
    async (kind) => {
      const { failures } = await runProof('crash', '--seed', '1', '--count', '1', '--batches', '40', '--sabotage', kind);
      expect(failures.length).toBeGreaterThan(0);
    },
    60_000,
  );
});
