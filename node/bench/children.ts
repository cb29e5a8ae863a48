/**
 * What a benchmark starts and makes: processes and temporary directories.
 *
 * Invariant: whatever way the benchmark ends (done, failed, Ctrl-C), no process that it started goes on and no directory that it made stays.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const children = new Set<ChildProcess>();
const directories = new Set<string>();

/** Ends and removes all there is, at once: the last thing that happens. */
function leaveNothing(): void {
  for (const child of children) child.kill('SIGKILL');
  for (const directory of directories) removeDirectory(directory);
}

/** A killed process may still hold files open, or be about to make one. */
function removeDirectory(directory: string): void {
  rmSync(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
}

process.once('exit', leaveNothing);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130));

/** Starts a process that ends with the benchmark at the latest. */
export function start(command: string, args: readonly string[], output: 'ignore' | 'pipe' = 'ignore'): ChildProcess {
  const child = spawn(command, args, { stdio: ['ignore', output, 'inherit'] });
  children.add(child);
  child.once('close', () => children.delete(child));
  return child;
}

/** Runs a program to its end; answers what it printed. @throws Error when it cannot be started or fails */
export async function outputOf(command: string, args: readonly string[]): Promise<string> {
  const child = start(command, args, 'pipe');
  let text = '';
  child.stdout?.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  await new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`${command} ${args[0] ?? ''} ended with ${signal ?? `exit code ${String(code)}`}`));
    });
  });
  return text;
}

/** The last line that a program prints, which is JSON. */
export async function resultOf<T>(command: string, args: readonly string[]): Promise<T> {
  const text = await outputOf(command, args);
  return JSON.parse(text.trim().split('\n').at(-1) ?? '') as T;
}

/** A directory that is removed at the end. */
export async function inTemporaryDirectory<T>(work: (directory: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), 'coterie-bench-'));
  directories.add(directory);
  try {
    return await work(directory);
  } finally {
    removeDirectory(directory);
    directories.delete(directory);
  }
}
