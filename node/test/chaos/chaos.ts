/**
 * Hurts a cluster of real processes while clients read and write, a whole zone at a time: `chaos.ts [--seconds 10] [--rate 300] [--delay-ms 0]
 * [--strict]`. The zone's nodes are killed (SIGKILL), stopped (SIGSTOP), or cut off from the others, one way after the other; the clients of the
 * zone go to the nodes that are left, as a load balancer would send them.
 *
 * Fails when an acknowledged write is lost, an answer was never written, an operation fails once the time to notice has passed, or replicas
 * differ in the end, each read directly. The last line is JSON. With `--strict` the latency counts too: p99.9 in the `seconds` after a fault is at
 * most five times that before it; without it this is only told, for it also depends on who else uses the machine.
 */

import { readFlags, wholeNumber } from '../../sim/command/flags.ts';
import { ChaosCluster, type ChaosNode } from './cluster.ts';
import { type Operation, Workload } from './workload.ts';

/** By then a node that does not answer is noticed, and no operation may fail for it any more. */
const NOTICED_MS = 6000;
const SLOWER_MOST = 5;
const KEYS = 500;
/** Whole again, and copies equal, within it. */
const HEAL_MS = 60_000;
const LOOK_MS = 100;

interface Fault {
  readonly name: string;
  hurt(cluster: ChaosCluster, zone: readonly ChaosNode[]): Promise<void> | void;
  mend(cluster: ChaosCluster, zone: readonly ChaosNode[]): Promise<void> | void;
}

const FAULTS: readonly Fault[] = [
  {
    name: 'killed',
    hurt: async (_, zone) => {
      await Promise.all(zone.map((node) => node.kill()));
    },
    mend: async (_, zone) => {
      await Promise.all(zone.map((node) => node.start()));
    },
  },
  {
    name: 'stopped',
    hurt: (_, zone) => {
      for (const node of zone) node.freeze();
    },
    mend: (_, zone) => {
      for (const node of zone) node.thaw();
    },
  },
  {
    name: 'cut off',
    hurt: (cluster, zone) => {
      cluster.cutOff(zone);
    },
    mend: (cluster, zone) => {
      cluster.heal(zone);
    },
  },
];

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function p999(operations: readonly Operation[]): number {
  const sorted = operations.map(({ tookMs }) => tookMs).sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.999))] ?? 0;
}

/** Looks again and again until nothing is left to say, or time is up; answers what was left. */
async function untilNothing(look: () => Promise<readonly string[]>): Promise<readonly string[]> {
  const end = performance.now() + HEAL_MS;
  for (;;) {
    const left = await look();
    if (left.length === 0 || performance.now() > end) return left;
    await pause(LOOK_MS);
  }
}

interface ClusterAnswer {
  readonly members: readonly { readonly name: string; readonly state: string }[];
}

/** What keeps the cluster from being whole, as its nodes tell. */
async function notWhole(cluster: ChaosCluster): Promise<readonly string[]> {
  const reasons = await Promise.all(
    cluster.nodes.map(async (node) => {
      try {
        const base = `http://127.0.0.1:${node.ports.httpPort}`;
        const ready = await fetch(`${base}/readyz`, { signal: AbortSignal.timeout(LOOK_MS * 20) });
        const { reasons: why } = (await ready.json()) as { readonly reasons: readonly string[] };
        const { members } = (await (await fetch(`${base}/v1/cluster`)).json()) as ClusterAnswer;
        const lost = members.filter(({ state }) => state !== 'self' && state !== 'connected');
        return [...why, ...lost.map(({ name, state }) => `${name} is ${state}`)].map((reason) => `${node.name}: ${reason}`);
      } catch (error) {
        return [`${node.name}: ${String(error)}`];
      }
    }),
  );
  return reasons.flat();
}

async function digestAt(node: ChaosNode, key: string): Promise<string | null> {
  const response = await fetch(`http://127.0.0.1:${node.ports.httpPort}/v1/admin/replica/default/${key}`);
  const { digest } = (await response.json()) as { readonly digest: string | null };
  return digest;
}

/** Keys whose copies differ, or are not three. */
async function differing(cluster: ChaosCluster, keys: readonly string[]): Promise<readonly string[]> {
  const different: string[] = [];
  for (const key of keys) {
    const digests = (await Promise.all(cluster.nodes.map((node) => digestAt(node, key)))).filter((digest) => digest !== null);
    if (digests.length !== 3 || new Set(digests).size !== 1) different.push(key);
  }
  return different;
}

function inWords(operations: readonly Operation[]): string[] {
  const counts = new Map<string, number>();
  for (const { kind, protocol, node, failure } of operations) {
    const words = `${kind} by ${protocol} at ${node}: ${failure ?? ''}`;
    counts.set(words, (counts.get(words) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1]).map(([words, count]) => `${count} x ${words}`);
}

const values = readFlags({
  seconds: { type: 'string' },
  rate: { type: 'string' },
  'delay-ms': { type: 'string' },
  strict: { type: 'boolean' },
});
const spanMs = 1000 * wholeNumber(values.seconds, 10, 'seconds', 1);
const rate = wholeNumber(values.rate, 300, 'rate', 1);
const delayMs = wholeNumber(values['delay-ms'], 0, 'delay-ms', 0);
const failures: string[] = [];
const told: Record<string, unknown>[] = [];
const cluster = await ChaosCluster.start({ zones: 3, nodesPerZone: 2, delayMs });
const workload = new Workload(cluster.nodes, KEYS, rate);
try {
  workload.begin();
  // The first seconds are those of cold processes.
  await pause(spanMs / 2);
  for (const [turn, fault] of FAULTS.entries()) {
    const zone = cluster.inZone(`zone-${turn + 1}`);
    const before = performance.now();
    await pause(spanMs);
    const struck = performance.now();
    workload.targets = cluster.nodes.filter((node) => !zone.includes(node));
    await fault.hurt(cluster, zone);
    await pause(Math.max(spanMs, NOTICED_MS * 1.5));
    const mended = performance.now();
    await fault.mend(cluster, zone);
    const left = await untilNothing(() => notWhole(cluster));
    if (left.length > 0) failures.push(`not whole after a zone was ${fault.name}: ${left.join('; ')}`);
    workload.targets = cluster.nodes;
    const gone = new Set(zone.map((node) => node.name));
    const within = (from: number, to: number): Operation[] =>
      workload.operations.filter(({ dueMs, node }) => dueMs >= from && dueMs < to && !(dueMs >= struck && gone.has(node)));
    // Those under way when it struck are no measure of the time before; at the nodes that were hit nobody is there to answer them.
    const calm = within(before, struck).filter(({ dueMs, tookMs }) => dueMs + tookMs < struck);
    const hit = workload.operations.filter(({ dueMs, tookMs, node }) => dueMs < struck && dueMs + tookMs >= struck && !gone.has(node));
    const failed = (operations: readonly Operation[]): Operation[] => operations.filter(({ failure }) => failure !== undefined);
    const late = failed(within(struck + NOTICED_MS, mended));
    if (late.length > 0) failures.push(`${late.length} operations failed long after a zone was ${fault.name}: ${inWords(late)[0] ?? ''}`);
    const [fast, slow] = [p999(calm), p999([...hit, ...within(struck, struck + spanMs)])];
    if (values.strict === true && slow > SLOWER_MOST * fast) {
      failures.push(`p99.9 went from ${fast.toFixed(1)} to ${slow.toFixed(1)} ms when a zone was ${fault.name}`);
    }
    const early = failed(within(struck, struck + NOTICED_MS));
    told.push({
      fault: fault.name,
      p999BeforeMs: Math.round(fast),
      p999AfterMs: Math.round(slow),
      operationsAfter: within(struck, mended).length,
      failedBeforeNoticed: early.length,
      failedLater: late.length,
      failures: inWords([...early, ...late]).slice(0, 5),
    });
    process.stderr.write(`${JSON.stringify(told.at(-1))}\n`);
  }
  await workload.end();
  failures.push(...workload.wrong.map((what) => `an answer that was never written: ${what}`));
  const keys = workload.keys.filter(({ acknowledged }) => acknowledged > 0);
  let late = 0;
  for (const { key, acknowledged, doubtful } of keys) {
    const number = await readAgain(workload, cluster.nodes[0], key);
    if (number !== acknowledged && !doubtful.has(number)) {
      failures.push(`${key}: write ${acknowledged} was acknowledged, and write ${number} is there`);
    }
    if (number < acknowledged) late += 1;
  }
  const different = await untilNothing(() =>
    differing(
      cluster,
      keys.map(({ key }) => key),
    ),
  );
  if (different.length > 0) failures.push(`replicas of ${different.length} keys differ, as of ${different[0] ?? ''}`);
  const operations = workload.operations.length;
  const summary = {
    ok: failures.length === 0,
    operations,
    keys: keys.length,
    late,
    delayMs: Number(values['delay-ms']),
    faults: told,
    failures,
  };
  console.log(JSON.stringify(summary));
} finally {
  workload.close();
  await cluster.end();
}
process.exit(failures.length === 0 ? 0 : 1);

/** In the end every read is answered. */
async function readAgain(workload: Workload, node: ChaosNode | undefined, key: string): Promise<number> {
  if (node === undefined) throw new Error('broken invariant: a cluster has nodes');
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await workload.numberAt(node, key);
    } catch (error) {
      if (attempt === 5) throw error;
    }
  }
}
