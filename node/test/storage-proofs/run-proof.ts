/** Runs a proof program of `node/sim/storage` as its own process (jest's vm would double its cost) and answers its summary. */

import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export interface Summary {
  readonly failures: readonly string[];
  readonly [figure: string]: unknown;
}

/** @throws Error when the program prints no summary: it crashed */
export function runProof(name: string, ...options: readonly string[]): Promise<Summary> {
  const program = fileURLToPath(new URL(`../../sim/storage/${name}.ts`, import.meta.url));
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
