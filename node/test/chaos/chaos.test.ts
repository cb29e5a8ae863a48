/** Real processes hurt a zone at a time; see chaos.ts. The longer runs: `make chaos`. */

import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { expect, test } from '@jest/globals';

interface Summary {
  readonly ok: boolean;
  readonly operations: number;
  readonly faults: readonly { readonly fault: string; readonly operationsAfter: number }[];
  readonly failures: readonly string[];
}

function chaos(...options: string[]): Promise<Summary> {
  const program = fileURLToPath(new URL('chaos.ts', import.meta.url));
  const child = spawn(process.execPath, [program, ...options], {
    env: { ...process.env, NODE_OPTIONS: '' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  return new Promise((resolve, reject) => {
    child.on('error', reject).on('close', (code) => {
      const last = output.trim().split('\n').at(-1) ?? '';
      if (last.startsWith('{')) resolve(JSON.parse(last) as Summary);
      else reject(new Error(`chaos ended with ${String(code)} and without a summary`));
    });
  });
}

test('the loss of a zone costs no acknowledged write, and no operation once it is noticed', async () => {
  const summary = await chaos('--seconds', '4', '--rate', '150');
  expect(summary.failures).toEqual([]);
  expect(summary.faults.map(({ fault }) => fault)).toEqual(['killed', 'stopped', 'cut off']);
  for (const { operationsAfter } of summary.faults) expect(operationsAfter).toBeGreaterThan(500);
}, 300_000);
