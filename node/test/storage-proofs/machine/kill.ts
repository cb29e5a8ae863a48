/**
 * Proof (c): `kill -9` of a real process that writes to a real directory, again and again. Each process opens what the last one left, checks
 * that it is a prefix of the history and holds every acknowledged batch, and writes on, flushing and compacting, until it is killed: after a
 * random number of acknowledgements, or (one in four) a random while after its start, often within recovery.
 *
 *   node test/storage-proofs/machine/kill.ts --seed 1 --count 200        the full proof: 200 kills
 *
 * `--sabotage eager` lets the writer acknowledge before the engine does; the proof must then fail. The directory is a temporary one, and
 * removed at the end.
 */

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SeededRandom } from '../../../sim/disk/seeded-random.ts';
import { cpuSeconds, proofArguments, report } from '../../../sim/storage/proof-program.ts';

const options = proofArguments({ seed: 1, count: 20 }, ['sabotage']);
const eager = options.option('sabotage') === 'eager';
const random = new SeededRandom(options.seed, 12);
const extension = import.meta.url.slice(import.meta.url.lastIndexOf('.'));
const writer = new URL(`./kill-writer${extension}`, import.meta.url).pathname;

const root = mkdtempSync(join(tmpdir(), 'coterie-kill-'));
const failures: string[] = [];
const figures = { kills: 0, killedWhileOpening: 0, acknowledged: 0, opened: 0 };
let acknowledged = 0;

/** One life of the writer, to its death. */
function live(): Promise<void> {
  return new Promise((resolve) => {
    const args = [writer, '--directory', join(root, 'store'), '--seed', String(options.seed), '--acknowledged', String(acknowledged)];
    if (eager) args.push('--eager');
    const child = spawn(process.execPath, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NODE_OPTIONS: '', NODE_COMPILE_CACHE: join(root, 'cache'), NODE_NO_WARNINGS: '1' },
    });
    let killed = false;
    const kill = (): void => {
      if (!killed) child.kill('SIGKILL');
      killed = true;
    };
    let opened = false;
    let until = random.oneIn(5) ? random.below(400) : random.below(60);
    const blind = random.oneIn(4);
    const pauseMs = random.below(120);
    let rest = '';
    let errors = '';
    child.stdout.setEncoding('latin1');
    child.stderr.setEncoding('latin1');
    if (blind) setTimeout(kill, 20 + pauseMs);
    child.stdout.on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const [what, number] = line.split(' ');
        if (what === 'opened') {
          opened = true;
          figures.opened += 1;
        } else if (what === 'acknowledged') {
          acknowledged = Math.max(acknowledged, Number(number));
          until -= 1;
        } else {
          failures.push(`after ${String(figures.kills)} kills: ${line}`);
          kill();
        }
        if (opened && until <= 0 && !blind) kill();
      }
    });
    child.stderr.on('data', (chunk: string) => {
      errors = (errors + chunk).slice(-2000);
    });
    child.on('close', (_code, signal) => {
      if (signal !== 'SIGKILL') failures.push(`the writer ended by itself: ${errors}`);
      figures.kills += 1;
      if (!opened) figures.killedWhileOpening += 1;
      resolve();
    });
  });
}

try {
  for (let left = options.count; left > 0 && failures.length === 0; left -= 1) await live();
  figures.acknowledged = acknowledged;
} finally {
  rmSync(root, { recursive: true, force: true });
}
report({ proof: 'kill', seed: options.seed, ...figures, cpuSeconds: cpuSeconds(), failures });
