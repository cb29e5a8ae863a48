/**
 * `make bench NAME=big`: one node with a cap of 512 MiB on its memory and at least eight times as much data, under an open-loop load at half of its
 * peak while it compacts. Prints p99, resident bytes a key and the time to reopen, and says whether the cap held.
 */

import { inTemporaryDirectory } from './children.ts';
import type { LoadPlan } from './load/generator.ts';
import { load } from './load/load.ts';
import { type Row, row } from './measure.ts';
import { startSingle } from './servers.ts';

const CAP_BYTES = 512 * 1024 * 1024;
const VALUE_BYTES = 1024;
/** Fewer for a trial run of the harness: `BENCH_BIG_KEYS=200000`. */
const KEYS = Number(process.env['BENCH_BIG_KEYS'] ?? 4_200_000);
const CLIENTS = 50;
const LOAD_SECONDS = 30;
/** The filling is held back by the compactions on purpose, on a slow machine for longer than a client would wait. */
const FLAGS = ['--fsync', 'interval', '--memtable-bytes', '16MiB', '--cache-bytes', '64MiB', '--timeout-ms', '60000'];
/** Node lets its heaps grow to gigabytes before it collects; bounds on both generations keep them near what is alive. */
const NODE_FLAGS = ['--max-old-space-size=160', '--max-semi-space-size=8'];

export async function big(): Promise<Row[]> {
  return inTemporaryDirectory(async (directory) => {
    let { server, ports } = await startSingle(directory, FLAGS, NODE_FLAGS);
    const plan: LoadPlan = {
      protocol: 'resp',
      ports: [ports.resp],
      clients: CLIENTS,
      depth: 1,
      seconds: 3600,
      keys: KEYS,
      valueBytes: VALUE_BYTES,
      reads: 0,
    };
    process.stderr.write('  filling\n');
    const fill = await load({ ...plan, depth: 4, operations: KEYS, sequential: true });
    process.stderr.write('  peak\n');
    const peak = await load({ ...plan, seconds: 10, reads: 0.5 });
    process.stderr.write('  open loop at half of peak\n');
    const half = await load({ ...plan, seconds: LOAD_SECONDS, reads: 0.5, ratePerSecond: Math.floor(peak.perSecond / 2) });
    const peakBytes = server.peakBytes();
    const residentBytes = server.residentBytes();
    await server.stop('SIGKILL');
    process.stderr.write('  reopening\n');
    const start = performance.now();
    ({ server, ports } = await startSingle(directory, FLAGS, NODE_FLAGS));
    const reopenMs = performance.now() - start;
    await server.stop();
    const memory = `Node with ${NODE_FLAGS.join(' ')}, memtables of 16 MiB, cache of 64 MiB`;
    const setup = `${KEYS / 1e6}M keys of 1 KiB, ${((KEYS * VALUE_BYTES) / CAP_BYTES).toFixed(1)}x the cap of 512 MiB; N=1, fsync interval 1 s, ${CLIENTS} clients; ${memory}`;
    const held = peakBytes <= CAP_BYTES;
    process.stdout.write(`${held ? 'the cap held' : 'THE CAP DID NOT HOLD'}: ${Math.round(peakBytes / 1048576)} MiB of 512 MiB\n`);
    if (!held) process.exitCode = 1;
    return [
      row(`fill; ${setup}`, 'ops/s', [fill.perSecond]),
      row(`peak, half reads, depth 1; ${setup}`, 'ops/s', [peak.perSecond]),
      row(`open loop at half of peak, half reads: p50; ${setup}`, 'ms', [half.p50Ms]),
      row(`open loop at half of peak, half reads: p99; ${setup}`, 'ms', [half.p99Ms]),
      row(`open loop at half of peak, half reads: p99.9; ${setup}`, 'ms', [half.p999Ms]),
      row(`peak memory; ${setup}`, 'bytes', [peakBytes], 'cap', [CAP_BYTES]),
      row(`resident memory a key; ${setup}`, 'bytes', [residentBytes / KEYS]),
      row(`reopen after kill -9, until ready; ${setup}`, 'ms', [reopenMs]),
    ];
  });
}
