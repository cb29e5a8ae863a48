/** Runs the simulator's command as `make` does, and reads the counts of its last line. */

import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export interface Ended {
  readonly status: number | null;
  readonly lines: readonly string[];
  /** The JSON at the end of the last line. */
  readonly summary: Readonly<Record<string, unknown>>;
}

export function simulate(...args: string[]): Promise<Ended> {
  return runProgram('main.ts', ...args);
}

/** @param program its path in node/sim */
export function runProgram(program: string, ...args: string[]): Promise<Ended> {
  const path = fileURLToPath(new URL(`../../sim/${program}`, import.meta.url));
  const child = spawn(process.execPath, [path, ...args], {
    env: { ...process.env, NODE_OPTIONS: '' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  return new Promise((resolve, reject) => {
    child.on('error', reject).on('close', (status) => {
      const lines = output.trim().split('\n');
      const last = lines.at(-1) ?? '';
      const at = last.indexOf('{');
      resolve({ status, lines, summary: at < 0 ? {} : (JSON.parse(last.slice(at)) as Record<string, unknown>) });
    });
  });
}
