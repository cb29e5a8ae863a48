/**
 * Runs many seeds: all must pass, replays must be equal, and together they must reach what they are for.
 */

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { CoterieNode } from '../../src/runtime/node.ts';
import { Coverage } from '../coverage.ts';
import { missingCoverage } from '../minimums.ts';
import { NO_SEAMS, type RunResult, runSeed } from '../run.ts';

export interface SeedsOptions {
  readonly first: number;
  readonly seeds: number;
  /** Prints one line a seed, `seed hash`, and nothing else; no replays. */
  readonly hashes: boolean;
}

/** One seed in so many runs a second time. */
const REPLAY_EVERY = 10;
/** Seeds that run once more with memory zeroed. */
const ZEROED = 3;

export function runPlain(seed: number): Promise<RunResult> {
  return runSeed(seed, { open: (options) => CoterieNode.open(options), seams: NO_SEAMS });
}

/** Seeds that failed once; see seeds.txt. */
export function keptSeeds(): number[] {
  const text = readFileSync(new URL('../seeds.txt', import.meta.url), 'utf8');
  return text.split('\n').flatMap((line) => (/^\d+/.test(line) ? [Number.parseInt(line, 10)] : []));
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function replays(result: RunResult): Promise<boolean> {
  const again = await runPlain(result.seed);
  if (again.hash === result.hash && again.turns === result.turns) return true;
  say(
    `seed ${String(result.seed)}: FAILED replay: ${result.hash} after ${String(result.turns)} turns, then ${again.hash} after ${String(again.turns)}`,
  );
  return false;
}

/** The same seeds in a process whose fresh buffers are zeroed: what depends on stale memory differs. */
function replaysZeroed(first: number, results: ReadonlyMap<number, string>): boolean {
  const main = fileURLToPath(new URL('../main.ts', import.meta.url));
  const child = spawnSync(
    process.execPath,
    ['--zero-fill-buffers', main, '--hashes', '--first', String(first), '--seeds', String(ZEROED)],
    { encoding: 'utf8' },
  );
  for (const line of child.stdout.trim().split('\n')) {
    const [seed, hash] = line.split(' ');
    if (results.get(Number(seed)) === hash) continue;
    say(`seed ${seed ?? ''}: FAILED replay with --zero-fill-buffers: ${results.get(Number(seed)) ?? ''}, then ${hash ?? ''}`);
    return false;
  }
  return true;
}

export async function runMany({ first, seeds, hashes }: SeedsOptions): Promise<boolean> {
  const coverage = new Coverage();
  const hashOf = new Map<number, string>();
  const failed: number[] = [];
  let operations = 0;
  let zeroed = true;
  let replayed = 0;
  let turns = 0;
  let virtualMs = 0;
  const range = Array.from({ length: seeds }, (_, at) => first + at);
  const list = hashes ? range : [...range, ...keptSeeds().filter((seed) => !range.includes(seed))];
  for (const [at, seed] of list.entries()) {
    const result = await runPlain(seed);
    hashOf.set(seed, result.hash);
    if (hashes) {
      say(`${String(seed)} ${result.hash}`);
      continue;
    }
    if (at === ZEROED - 1) zeroed = replaysZeroed(first, hashOf);
    coverage.merge(result.coverage);
    operations += result.operations;
    turns += result.turns;
    virtualMs += result.virtualMs;
    let good = result.failures.length === 0;
    for (const { checker, message } of result.failures) say(`seed ${String(seed)}: FAILED ${checker}: ${message}`);
    if (good && at % REPLAY_EVERY === 0) {
      good = await replays(result);
      replayed += 1;
    }
    if (!good) {
      failed.push(seed);
      say(`seed ${String(seed)}: replay with: make sim SEED=${String(seed)}`);
    }
  }
  if (hashes) return true;
  const missing = failed.length > 0 ? [] : missingCoverage(coverage, list.length);
  for (const line of missing) say(`coverage: FAILED ${line}`);
  say(`coverage: ${JSON.stringify(coverage)}`);
  const summary = {
    seeds: list.length,
    failed: failed.length,
    failedSeeds: failed,
    operations,
    turns,
    virtualSeconds: Math.floor(virtualMs / 1000),
    replayed,
    zeroFilled: Math.min(ZEROED, seeds),
    coverageMissing: missing.length,
  };
  say(`sim: ${String(list.length)} seeds, ${String(failed.length)} failed ${JSON.stringify(summary)}`);
  return failed.length === 0 && zeroed && missing.length === 0;
}
