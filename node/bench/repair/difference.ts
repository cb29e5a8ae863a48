/**
 * `difference.ts KEYS DIFFERING DIRECTORY`: two replicas on real disks and sockets, in one process. Both hold KEYS keys; they are compared when none
 * differs, and when DIFFERING do. The last line printed is a `DifferenceResult`.
 */

import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { bucketId, clusterId, memberName } from '../../src/base/ids.ts';
import { createTopology } from '../../src/cluster/ring/topology-create.ts';
import { DEFAULT_PARTITIONS } from '../../src/cluster/ring/topology.ts';
import type { Connection, Network } from '../../src/env/network.ts';
import { NodeClock } from '../../src/env-node/clock.ts';
import { NodeExecutor } from '../../src/env-node/executor.ts';
import { NodeNetwork } from '../../src/env-node/network.ts';
import { NodeRandom } from '../../src/env-node/random.ts';
import { NodeVfs } from '../../src/env-node/vfs.ts';
import { CoterieNode } from '../../src/runtime/node.ts';
import { freePorts } from '../../src/cli/dev/ports.ts';

export interface Compared {
  /** Bytes between the two, both ways, from the request until nothing was left. */
  readonly wireBytes: number;
  /** Reads of the disk, of both. */
  readonly diskReads: number;
  readonly leaves: number;
  readonly moved: number;
  /** Bytes of the objects moved. */
  readonly objectBytes: number;
  readonly ms: number;
}

export interface DifferenceResult {
  readonly equal: Compared;
  readonly differing: Compared;
  /** Computing all trees of one store by reading it, and finding them again at a start. */
  readonly computeMs: number;
  readonly restartMs: number;
}

const [keys = 20_000, differing = 100] = process.argv.slice(2, 4).map(Number);
const directory = process.argv[4] ?? '.';
/** So many looks in a row, 5 ms apart, at which no store reads. */
const QUIET_LOOKS = 40;
const VALUE_BYTES = 256;
const IN_FLIGHT = 256;

let wireBytes = 0;

function counted(connection: Connection): Connection {
  const write = connection.write.bind(connection);
  connection.write = (chunk): boolean => {
    wireBytes += chunk.length;
    return write(chunk);
  };
  return connection;
}

/** The network, with what is written to it counted. */
function counting(network: Network): Network {
  return {
    listen: (address, accept) => network.listen(address, (connection) => accept(counted(connection))),
    connect: (address, timeoutMs, opened, failed) => {
      network.connect(address, timeoutMs, (connection) => opened(counted(connection)), failed);
    },
  };
}

const ports = await freePorts(2);
const names = ['node-1', 'node-2'];
const topology = createTopology({
  clusterId: clusterId('0123456789abcdef0123456789abcdef'),
  tokenSeed: '0123456789abcdef',
  N: 2,
  Q: DEFAULT_PARTITIONS,
  buckets: [{ id: bucketId(0), name: 'default', consistency: 'eventual', R: 1, W: 1, blindWrites: 'newest' }],
  members: names.map((name, at) => ({
    name: memberName(name),
    address: { host: '127.0.0.1', peerPort: ports[at] ?? 0, respPort: 6379, httpPort: 8400 },
    zone: `zone-${String(at)}`,
    rack: 'rack-1',
    weight: 1,
  })),
});
const clock = new NodeClock();
const executor = new NodeExecutor();
const storeOf = (at: number): string => join(directory, names[at] ?? '');

async function start(at: number): Promise<CoterieNode> {
  const node = await CoterieNode.open({
    name: memberName(names[at] ?? ''),
    topology,
    directory: storeOf(at),
    env: { clock, random: new NodeRandom(), network: counting(new NodeNetwork()), vfs: new NodeVfs(), executor },
    engine: { fsync: { kind: 'interval', everyMs: 1000 }, memtableBytes: 32 * 1024 * 1024, cacheBytes: 64 * 1024 * 1024, reserveBytes: 0 },
    timings: { repairMs: 0, scrubMs: 0, repairRetryMs: 50 },
  });
  await node.start();
  return node;
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await pause(5);
}

async function together(nodes: readonly CoterieNode[]): Promise<void> {
  const whole = (node: CoterieNode): boolean =>
    node.ready().ready && node.cluster().members.every(({ state }) => state !== 'unreachable') && node.repairs()?.leavesUnknown === 0;
  await until(() => nodes.every(whole));
}

/** Puts the keys named by `nameOf`, so many at a time. */
async function put(node: CoterieNode, count: number, nameOf: (at: number) => string): Promise<void> {
  const value = new Uint8Array(VALUE_BYTES);
  for (let i = 0; i < VALUE_BYTES; i += 1) value[i] = (i * 7) & 0xff;
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) {
      const at = next;
      next += 1;
      for (;;) {
        try {
          await node.put('default', nameOf(at), value, {}, { w: 1 });
          break;
        } catch (error) {
          // Flushes lag behind: it is tried again, as a client would.
          if ((error as { code?: string }).code !== 'BUSY') throw error;
          await pause(20);
        }
      }
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
}

function sum(nodes: readonly CoterieNode[], read: (node: CoterieNode) => number): number {
  return nodes.reduce((total, node) => total + read(node), 0);
}

function reads(node: CoterieNode): number {
  const { counters } = node.stats().engine as { counters: Record<string, number> };
  return (counters['syncReads'] ?? 0) + (counters['asyncReads'] ?? 0);
}

/** Settles when what a start gave back is in tables, and those are open: until then the stores read for themselves. */
async function settled(nodes: readonly CoterieNode[]): Promise<void> {
  let before = -1;
  for (let quiet = 0; quiet < QUIET_LOOKS;) {
    await pause(5);
    const now = sum(nodes, reads);
    const flushing = sum(nodes, (node) => (node.stats().engine as { sealedMemtables: number }).sealedMemtables) > 0;
    quiet = flushing || now !== before ? 0 : quiet + 1;
    before = now;
  }
}

async function compare(nodes: readonly CoterieNode[]): Promise<Compared> {
  await settled(nodes);
  const count = (name: string): number => sum(nodes, (node) => node.stats().counters[name] ?? 0);
  const measured = (): Omit<Compared, 'ms'> => ({
    wireBytes,
    diskReads: sum(nodes, reads),
    leaves: count('leavesCompared'),
    moved: count('objectsFetched') + count('objectsSent'),
    objectBytes: count('repairBytes'),
  });
  const before = measured();
  const beganMs = clock.monotonicMs();
  const [first] = nodes;
  first?.repair({});
  await until(() => first?.repairs()?.requested?.left === 0);
  const ms = clock.monotonicMs() - beganMs;
  const after = measured();
  return {
    wireBytes: after.wireBytes - before.wireBytes,
    diskReads: after.diskReads - before.diskReads,
    leaves: after.leaves - before.leaves,
    moved: after.moved - before.moved,
    objectBytes: after.objectBytes - before.objectBytes,
    ms,
  };
}

// A cluster is born with all its members; then the first one takes all writes alone.
const [writer, follower] = await Promise.all([start(0), start(1)]);
await together([writer, follower]);
await follower.stop();
await put(writer, keys, (at) => `key-${String(at)}`);
await writer.stop();
// The other replica is a copy of its data, without its trees.
rmSync(join(storeOf(1), 'data'), { recursive: true });
cpSync(join(storeOf(0), 'data'), join(storeOf(1), 'data'), { recursive: true });
const restartedMs = clock.monotonicMs();
const kept = await start(0);
await until(() => kept.repairs()?.leavesUnknown === 0);
const restartMs = clock.monotonicMs() - restartedMs;
const copiedMs = clock.monotonicMs();
const copied = await start(1);
await until(() => copied.repairs()?.leavesUnknown === 0);
const computeMs = clock.monotonicMs() - copiedMs;
await together([kept, copied]);
const equal = await compare([kept, copied]);
await copied.stop();
const step = Math.floor(keys / differing);
await put(kept, differing, (at) => `key-${String(at * step)}`);
const nodes = [kept, await start(1)];
await together(nodes);
const result: DifferenceResult = { equal, differing: await compare(nodes), computeMs, restartMs };
await Promise.all(nodes.map((node) => node.stop()));
await executor.close();
process.stdout.write(`${JSON.stringify(result)}\n`);
