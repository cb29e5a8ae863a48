import { expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

// A plain Node program, because jest would slow it down; the full run is `node test/fuzz/peer.ts --count 1000000`.
test('the peer protocol survives 20,000 wrong inputs', () => {
  const program = fileURLToPath(new URL('peer.ts', import.meta.url));
  const output = execFileSync(process.execPath, [program, '--count', '20000', '--seed', '1'], { encoding: 'utf8' });
  const summary: unknown = JSON.parse(output.trim().split('\n').at(-1) ?? '');
  expect(summary).toMatchObject({ ok: true, inputs: 20_000, parser: { inputs: 10_000 } });
});
