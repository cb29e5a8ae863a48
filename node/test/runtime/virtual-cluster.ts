/**
 * A cluster of shipped nodes in one process and in virtual time, for tests: simulated disks and network (node/sim), no faults but those that a
 * test makes itself. A test waits for virtual time only.
 */

import { fromByteString } from '../../src/base/bytes.ts';
import { bucketId, clusterId, memberName } from '../../src/base/ids.ts';
import type { BucketDefinition, Topology } from '../../src/cluster/ring/topology.ts';
import { createTopology } from '../../src/cluster/ring/topology-create.ts';
import { primaries } from '../../src/cluster/ring/preference.ts';
import { placeKey } from '../../src/cluster/ring/token.ts';
import type { Vfs } from '../../src/env/vfs.ts';
import type { ReadResult } from '../../src/runtime/kv.ts';
import { CoterieNode } from '../../src/runtime/node.ts';
import type { NodeOptions } from '../../src/runtime/options.ts';
import { SimExecutor } from '../../sim/disk/executor.ts';
import type { Medium } from '../../sim/disk/medium.ts';
import { SimMount } from '../../sim/disk/mount.ts';
import { SimVolume } from '../../sim/disk/volume.ts';
import { SimNetwork } from '../../sim/world/network.ts';
import { type HostClock, Process } from '../../sim/world/process.ts';
import { World } from '../../sim/world/world.ts';

export interface ClusterSpec {
  readonly nodes: number;
  readonly n: number;
  readonly q?: number;
  readonly buckets?: readonly Partial<BucketDefinition>[];
  readonly seed?: number;
  readonly options?: Partial<NodeOptions>;
  readonly clusterId?: string;
  /** Between the node and its disk, by the node's position. */
  readonly vfs?: (vfs: Vfs, position: number) => Vfs;
}

interface Host {
  readonly name: string;
  readonly volume: SimVolume;
  readonly clock: HostClock;
  process: Process | undefined;
  mount: SimMount | undefined;
  node: CoterieNode | undefined;
}

const ID = '0123456789abcdef0123456789abcdef';

export function topologyOf(spec: ClusterSpec): Topology {
  const names = Array.from({ length: spec.nodes }, (_, i) => `node-${String(i + 1)}`);
  const defaults = {
    consistency: 'eventual',
    R: Math.floor(spec.n / 2) + 1,
    W: Math.floor(spec.n / 2) + 1,
    blindWrites: 'newest',
  } as const;
  const buckets = (spec.buckets ?? [{}]).map((bucket, i) => ({
    ...defaults,
    id: bucketId(i),
    name: i === 0 ? 'default' : `bucket-${String(i)}`,
    ...bucket,
  }));
  return createTopology({
    clusterId: clusterId(spec.clusterId ?? ID),
    N: spec.n,
    Q: spec.q ?? 16,
    tokenSeed: '00112233445566aa',
    buckets,
    members: names.map((name, i) => ({
      name: memberName(name),
      address: { host: name, peerPort: 7400, respPort: 6379, httpPort: 8400 },
      zone: `zone-${String(i % 3)}`,
      rack: `rack-${String(i)}`,
      weight: 1,
    })),
  });
}

export class VirtualCluster {
  readonly world: World;
  readonly topology: Topology;
  readonly network: SimNetwork;
  readonly hosts: readonly Host[];
  readonly #spec: ClusterSpec;

  constructor(spec: ClusterSpec, world: World = new World(spec.seed ?? 1, false)) {
    this.#spec = spec;
    this.world = world;
    this.topology = topologyOf(spec);
    this.network = new SimNetwork(world);
    this.hosts = this.topology.members.map(({ name }) => ({
      name,
      volume: new SimVolume({ random: world.dice.fork() }),
      clock: { offsetUs: 0, rate: 1 },
      process: undefined,
      mount: undefined,
      node: undefined,
    }));
    for (const host of this.hosts) this.network.addHost(host.name);
    const link = { delayUs: 200, jitterUs: 100, loss: 0, retransmitUs: 1000, bytesPerSecond: 100_000_000, blocked: false };
    for (const from of this.hosts) for (const to of this.hosts) this.network.setLink(from.name, to.name, { ...link });
  }

  node(position: number): CoterieNode {
    const node = this.hosts[position]?.node;
    if (node === undefined) throw new Error(`node ${String(position)} is down`);
    return node;
  }

  /** The nodes that are up. */
  get up(): CoterieNode[] {
    return this.hosts.flatMap(({ node }) => (node === undefined ? [] : [node]));
  }

  volume(position: number): SimVolume {
    return this.#host(position).volume;
  }

  clock(position: number): HostClock {
    return this.#host(position).clock;
  }

  /** The primaries of a key of the bucket `default`, as positions, in order. */
  primaries(key: string, bucket = 0): readonly number[] {
    return primaries(this.topology, placeKey(this.topology, bucketId(bucket), key).partition);
  }

  /** Positions that are no primaries of the key. */
  others(key: string): number[] {
    const own = this.primaries(key);
    return this.hosts.map((_, i) => i).filter((i) => !own.includes(i));
  }

  /** A key whose primaries begin so. */
  keyOn(...first: readonly number[]): string {
    for (let i = 0; i < 10_000; i += 1) {
      const key = `key-${String(i)}`;
      if (first.every((position, at) => this.primaries(key)[at] === position)) return key;
    }
    throw new Error('no such key');
  }

  /** Starts the node on the disk it has. Rejects as `open` and `start` do. */
  async boot(position: number, options: Partial<NodeOptions> = {}): Promise<CoterieNode> {
    const host = this.#host(position);
    this.network.powerOn(host.name);
    const process = new Process(this.world, host.name, host.clock);
    const mount = new SimMount(host.volume, {
      schedule: (delayMs, fn) => {
        this.world.schedule(delayMs * 1000, process, fn);
      },
      latencyMs: (kind) => (kind === 'dataSync' || kind === 'syncDir' ? 1 : 0.1),
    });
    host.process = process;
    host.mount = mount;
    const vfs = this.#spec.vfs?.(mount.vfs, position) ?? mount.vfs;
    const env = {
      clock: process,
      random: this.world.dice.fork(),
      network: this.network.for(process, host.name),
      vfs,
      executor: new SimExecutor(mount, { random: this.world.dice.fork(), sliceDelayMs: 1 }),
    };
    const node = await CoterieNode.open({
      name: memberName(host.name),
      topology: this.topology,
      directory: '/data',
      env,
      engine: { memtableBytes: 1 << 16, cacheBytes: 1 << 16, reserveBytes: 0 },
      ...this.#spec.options,
      ...options,
      // Nothing is repaired behind a test's back, unless it asks for that.
      timings: { repairMs: 0, scrubMs: 0, ...this.#spec.options?.timings, ...options.timings },
    });
    await node.start();
    host.node = node;
    return node;
  }

  /** Starts every node, and waits until all are ready. */
  async start(): Promise<void> {
    await Promise.all(this.hosts.map((_, i) => this.boot(i)));
    await this.ready();
  }

  async ready(): Promise<void> {
    await this.until(() =>
      this.up.every((node) => node.ready().ready && node.cluster().members.every(({ reachable, name }) => reachable || this.#isDown(name))),
    );
  }

  /** Ends the process without a word; its disk stays as the system has it, or as a loss of power leaves it. */
  kill(position: number, how: 'process-death' | 'power-loss' = 'process-death'): void {
    const host = this.#host(position);
    const { process, mount } = host;
    if (process === undefined || mount === undefined) throw new Error('not running');
    process.fence();
    if (how === 'power-loss') host.volume.powerLoss();
    else host.volume.processDeath(mount);
    this.network.died(process, host.name, how === 'power-loss');
    host.node = undefined;
  }

  async stop(position: number): Promise<void> {
    const host = this.#host(position);
    await this.node(position).stop(1000);
    const { process } = host;
    host.node = undefined;
    if (process === undefined) return;
    process.fence();
    this.network.died(process, host.name, false);
  }

  image(position: number): Medium {
    return this.volume(position).image();
  }

  /** Cuts the node off from all others, or from those named. */
  isolate(position: number, from: readonly number[] = this.hosts.map((_, i) => i)): void {
    for (const other of from) {
      if (other === position) continue;
      this.network.block(this.#host(position).name, this.#host(other).name);
      this.network.block(this.#host(other).name, this.#host(position).name);
    }
  }

  heal(): void {
    for (const from of this.hosts) for (const to of this.hosts) this.network.unblock(from.name, to.name);
  }

  sleep(ms: number): Promise<void> {
    return this.world.sleep(ms);
  }

  async until(condition: () => boolean | Promise<boolean>, withinMs = 60_000): Promise<void> {
    for (let waited = 0; !(await condition()); waited += 10) {
      if (waited > withinMs) throw new Error(`not within ${String(withinMs)} ms: ${String(condition)}`);
      await this.world.sleep(10);
    }
  }

  /** The digests of the key at its primaries, in order. */
  async digests(key: string, bucket = 'default'): Promise<(string | undefined)[]> {
    const digests: (string | undefined)[] = [];
    for (const position of this.primaries(key)) digests.push((await this.node(position).local(bucket, key)).digest);
    return digests;
  }

  #host(position: number): Host {
    const host = this.hosts[position];
    if (host === undefined) throw new Error(`no node ${String(position)}`);
    return host;
  }

  #isDown(name: string): boolean {
    return this.hosts.some((host) => host.name === name && host.node === undefined);
  }
}

/** Runs a scenario on a cluster in virtual time; fails with the first thing that went wrong. */
export async function scenario(spec: ClusterSpec, run: (cluster: VirtualCluster) => Promise<void>): Promise<void> {
  const cluster = new VirtualCluster(spec);
  let failure: unknown;
  await cluster.world.run(
    async () => {
      try {
        await run(cluster);
      } catch (error) {
        // Kept whole: the world knows only texts.
        failure = error;
      }
    },
    { turns: 3_000_000, virtualMs: 3_600_000 },
  );
  if (Error.isError(failure)) throw failure;
  if (failure !== undefined) throw new Error('the scenario threw what is no error');
  const [first] = cluster.world.failures;
  if (first !== undefined) throw new Error(`${first.checker}: ${first.message}`);
}

export function bytes(text: string): Uint8Array {
  return fromByteString(text);
}

/** The values of an answer as texts, newest first. */
export function texts(result: ReadResult): string[] {
  return result.versions.map(({ value }) => Buffer.from(value).toString('latin1'));
}

/** The context of an answer that must have one. */
export function contextIn(answer: { readonly context: Uint8Array | undefined }): Uint8Array {
  if (answer.context === undefined) throw new Error('the answer has no context');
  return answer.context;
}

/** The code (and outcome) that a call fails with; `undefined` when it does not. */
export async function failure(call: () => unknown): Promise<string | undefined> {
  try {
    await call();
    return undefined;
  } catch (error) {
    const { code, outcome } = error as { code?: string; outcome?: string };
    return outcome === undefined ? (code ?? String(error)) : `${code ?? String(error)} ${outcome}`;
  }
}
