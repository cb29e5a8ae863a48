/**
 * `make bench NAME=overload`: three nodes, N = 3, R = W = 2, under five times the load that they sustain, and after it.
 *
 * The nodes share one processor and the generator has another to itself (where the system lets processes be pinned): otherwise the generator,
 * which sends five times as much, would take the nodes' time, and the figures would show that instead of how they shed.
 */

import { execFileSync } from 'node:child_process';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';

import { inTemporaryDirectory, resultOf } from './children.ts';
import type { FloodPhase, FloodPlan, FloodResult, FloodStretch } from './load/flood.ts';
import { inTurn, type Row, row } from './measure.ts';
import { type ServerProcess, startCluster } from './servers.ts';

const PROGRAM = fileURLToPath(new URL('load/flood.ts', import.meta.url));
const MEMBERS = 3;
const KEYS = 20_000;
const VALUE_BYTES = 1024;
const TIMEOUT_MS = 1000;
const FACTOR = 5;
/** Load before and after, as a share of what is sustained. */
const NORMAL = 0.6;
/** A step is sustained when so much of it is answered well, */
const SUSTAINED_SHARE = 0.99;
/** and half and nearly all of it within so many ms. */
const SUSTAINED_P99_MS = 250;
const STEP = 1.25;
/** A step that fails may be a hiccup of the machine, the first flush of a store, or what the step before it has left in the queues. */
const TRIES = 3;
const STEP_SECONDS = 3;
/** Overload and the rate of the peak take turns, so that both have had the same machine: its speed changes within the minutes of a run. */
const ROUNDS = 5;
const ROUND_SECONDS = 6;
const NORMAL_SECONDS = 8;
const OVERLOAD_SECONDS = 12;
const AFTER_SECONDS = 16;
/** Latency is to be normal so long after the load's end. */
const RECOVERY_SECONDS = 10;
/** docs/internals/bounds.md: what a process with the settings below may hold, in MiB. */
const BOUND_MIB = 1024;

interface Contest {
  readonly protocol: FloodPlan['protocol'];
  readonly ports: readonly number[];
  readonly connections: number;
  readonly depth: number;
  /** The first step of the search, in operations a second. */
  readonly firstStep: number;
}

const pinned = ((): boolean => {
  if (cpus().length < 2) return false;
  try {
    execFileSync('taskset', ['-V'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

/** Leaves the processor 0 to the servers. */
function pinServers(servers: readonly ServerProcess[]): void {
  if (!pinned) return;
  for (const server of servers) execFileSync('taskset', ['-a', '-c', '-p', '0', String(server.pid)], { stdio: 'ignore' });
}

function flood({ protocol, ports, connections, depth }: Contest, phases: readonly FloodPhase[]): Promise<FloodResult> {
  const plan: FloodPlan = {
    protocol,
    ports,
    connections,
    depth,
    timeoutMs: TIMEOUT_MS,
    keys: KEYS,
    valueBytes: VALUE_BYTES,
    reads: 0.5,
    phases,
  };
  const args = [PROGRAM, JSON.stringify(plan)];
  return pinned ? resultOf('taskset', ['-c', '1', process.execPath, ...args]) : resultOf(process.execPath, args);
}

interface Sustained {
  /** The highest rate of the steps at which nearly everything is answered well and quickly. */
  readonly perSecond: number;
  /** The rate, that or one above it, at which goodput is highest by the mean of two steps: the best of several would be a lucky one. */
  readonly peakPerSecond: number;
}

async function sustained(contest: Contest): Promise<Sustained> {
  const step = async (perSecond: number): Promise<{ readonly goodput: number; readonly borne: boolean }> => {
    const { phases } = await flood(contest, [{ name: 'step', seconds: STEP_SECONDS, perSecond }]);
    const [measured] = phases;
    if (measured === undefined) throw new Error('no phase was measured');
    const { good, due, seconds, p99Ms } = measured;
    const goodput = good / seconds;
    process.stderr.write(`  ${contest.protocol}: ${perSecond}/s offered, ${Math.round(goodput)}/s good, p99 ${p99Ms.toFixed(1)} ms\n`);
    return { goodput, borne: good >= SUSTAINED_SHARE * due && p99Ms <= SUSTAINED_P99_MS };
  };
  const bears = async (perSecond: number, tries: number): Promise<boolean> =>
    tries > 0 && ((await step(perSecond)).borne || (await bears(perSecond, tries - 1)));
  await flood(contest, [{ name: 'warm', seconds: 4, perSecond: contest.firstStep }]);
  let best = 0;
  let perSecond = contest.firstStep;
  while (await bears(perSecond, TRIES)) {
    best = perSecond;
    perSecond = Math.round(perSecond * STEP);
  }
  if (best === 0) throw new Error(`${contest.firstStep} operations a second are more than the nodes sustain: start lower`);
  // Above, where latency is no longer that of a sustained rate, goodput still grows: the search goes on while it does.
  let peak = best;
  let peakPerSecond = best;
  for (let above = best * STEP, until = 2 * best; above <= until; above *= STEP) {
    const steps = [await step(Math.round(above)), await step(Math.round(above))];
    const goodput = steps.reduce((sum, each) => sum + each.goodput, 0) / steps.length;
    if (goodput <= peak) continue;
    peak = goodput;
    peakPerSecond = Math.round(above);
    until = Math.max(until, above * STEP);
  }
  return { perSecond: best, peakPerSecond };
}

/** A stretch of seconds by the median of them: one compaction in a second is none of the load's doing. */
function typical(seconds: readonly FloodStretch[]): { readonly p50Ms: number; readonly p99Ms: number } {
  const median = (list: readonly number[]): number => [...list].sort((a, b) => a - b)[list.length >> 1] ?? Number.NaN;
  return { p50Ms: median(seconds.map(({ p50Ms }) => p50Ms)), p99Ms: median(seconds.map(({ p99Ms }) => p99Ms)) };
}

async function measure(contest: Contest, servers: readonly ServerProcess[]): Promise<Row[]> {
  const found = await sustained(contest);
  const normal = Math.round(found.perSecond * NORMAL);
  const heavy = Math.round(found.perSecond * FACTOR);
  const goodputAt = async (perSecond: number): Promise<number> => {
    const { phases } = await flood(contest, [{ name: 'round', seconds: ROUND_SECONDS, perSecond }]);
    return (phases[0]?.good ?? Number.NaN) / ROUND_SECONDS;
  };
  const goodput = await inTurn(`${contest.protocol} goodput`, ROUNDS, {
    overload: () => goodputAt(heavy),
    peak: () => goodputAt(found.peakPerSecond),
  });
  const result = await flood(contest, [
    { name: 'before', seconds: NORMAL_SECONDS, perSecond: normal },
    { name: 'overload', seconds: OVERLOAD_SECONDS, perSecond: heavy },
    { name: 'after', seconds: AFTER_SECONDS, perSecond: normal },
  ]);
  for (const [second, at] of result.seconds.entries()) {
    const { due, good, refused, timedOut, unsent, p50Ms, p99Ms, refusedP99Ms } = at;
    process.stderr.write(
      `  ${contest.protocol} second ${second + 1}: ${due} due, ${good} good, ${refused} refused, ${timedOut} timed out, ${unsent} unsent; p50 ${p50Ms.toFixed(1)}, p99 ${p99Ms.toFixed(1)}, refusals p99 ${refusedP99Ms.toFixed(1)} ms ${JSON.stringify(at.failed)}\n`,
    );
  }
  const before = typical(result.seconds.slice(1, NORMAL_SECONDS));
  const later = result.seconds.slice(NORMAL_SECONDS + OVERLOAD_SECONDS);
  const after = typical(later.slice(RECOVERY_SECONDS));
  const isNormal = (from: number): boolean => {
    const { p50Ms, p99Ms } = typical(later.slice(from, from + 3));
    return (
      p50Ms <= 2 * before.p50Ms && p99Ms <= 2 * before.p99Ms && later.slice(from, from + 3).every(({ good, due }) => good >= 0.99 * due)
    );
  };
  let normalFrom = 0;
  while (normalFrom < later.length && !isNormal(normalFrom)) normalFrom += 1;
  const where = `${contest.protocol}, half GET half SET of 1 KiB, 3 nodes, N=3 R=W=2, fsync interval, ${contest.connections} connections, timeout ${TIMEOUT_MS} ms${pinned ? ', nodes on one processor' : ''}`;
  const cpu = result.cpu.map((share) => `${Math.round(100 * share)}%`).join(' ');
  return [
    row(`sustained load; ${where}`, 'ops/s', [found.perSecond]),
    row(
      `goodput at ${FACTOR}x (${heavy}/s offered); ${where}`,
      'ops/s',
      goodput.overload,
      `peak (${found.peakPerSecond}/s offered)`,
      goodput.peak,
    ),
    row(`p50 from ${RECOVERY_SECONDS} s after the load on; ${where}`, 'ms', [after.p50Ms], 'before', [before.p50Ms]),
    row(`p99 from ${RECOVERY_SECONDS} s after the load on; ${where}`, 'ms', [after.p99Ms], 'before', [before.p99Ms]),
    row(`seconds after the load until p50 and p99 are within 2x of before, for 3 s; ${where}`, 's', [normalFrom], 'allowed', [
      RECOVERY_SECONDS,
    ]),
    row(
      `largest resident memory of a node; ${where}`,
      'MiB',
      [Math.max(...servers.map((server) => server.peakBytes() / 2 ** 20))],
      'bound',
      [BOUND_MIB],
    ),
    row(`processor of the generator before, in, after (${cpu}); ${where}`, 'of one', [result.cpu[1] ?? 0]),
  ];
}

export async function overload(): Promise<Row[]> {
  if (!pinned) process.stderr.write('  taskset or a second processor is missing: the generator takes time from the nodes\n');
  return inTemporaryDirectory(async (directory) => {
    const { servers, ports } = await startCluster(directory, MEMBERS, ['--fsync', 'interval']);
    pinServers(servers);
    const rows: Row[] = [];
    for (const contest of [
      { protocol: 'resp', ports: ports.map(({ resp }) => resp), connections: 96, depth: 4096, firstStep: 4000 },
      { protocol: 'http', ports: ports.map(({ http }) => http), connections: 768, depth: 1, firstStep: 1500 },
    ] as const) {
      rows.push(...(await measure(contest, servers)));
    }
    await Promise.all(servers.map((server) => server.stop()));
    return rows;
  });
}
