import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { expect, test } from '@jest/globals';

// A plain Node program, because jest would slow it down; the full run is `make fuzz`.
test('the HTTP API survives 20,000 odd and wrong inputs', () => {
  const program = fileURLToPath(new URL('http.ts', import.meta.url));
  const output = execFileSync(process.execPath, [program, '--count', '20000', '--seed', '1'], { encoding: 'utf8' });
  const summary: unknown = JSON.parse(output.trim().split('\n').at(-1) ?? '');
  expect(summary).toMatchObject({ ok: true, inputs: 20_000, requests: { inputs: 14_000 } });
});
