/** Runs a proof program as its own process (jest's vm would double its cost) and answers its summary. */

import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export interface Summary {
  readonly failures: readonly string[];
  readonly [figure: string]: unknown;
}

/**
 * @param name a program of `node/sim/storage`, or with `machine/` one that needs the machine's own disk, clock or processes
 * @throws Error when the program prints no summary: it crashed
 */
export function runProof(name: string, ...options: readonly string[]): Promise<Summary> {
  const place = name.startsWith('machine/') ? './' : '../../sim/storage/';
  const program = fileURLToPath(new URL(`${place}${name}.ts`, import.meta.url));
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...options], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
    let errors = '';
    child.stderr.on('data', (chunk: Buffer) => {
      errors = (errors + chunk.toString()).slice(-4000);
    });
    child.on('error', reject);
    child.on('close', (code) => {
      const last = output.trimEnd().split('\n').at(-1) ?? '';
      try {
        resolve(JSON.parse(last) as Summary);
      } catch {
        reject(new Error(`${name} ended with ${String(code)} and without a summary: ${errors}`));
      }
    });
  });
}

/** A figure of the summary as a number. */
export function figure(summary: Summary, name: string): number {
  const value = summary[name];
  if (typeof value !== 'number') throw new Error(`the summary has no figure ${name}`);
  return value;
}
