/**
 * A cluster of real node processes that can be hurt: killed, stopped, and cut off from each other. Every node has a topology of its own in which
 * the others are reached through the links of this process.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { bucketId, clusterId, memberName } from '../../src/base/ids.ts';
import { encodeTopology } from '../../src/cluster/ring/topology-codec.ts';
import { createTopology } from '../../src/cluster/ring/topology-create.ts';
import type { Topology } from '../../src/cluster/ring/topology.ts';
import { Link } from './links.ts';

const COTERIE = fileURLToPath(new URL('../../bin/coterie.js', import.meta.url));
const HOST = '127.0.0.1';
const LAST_LINES = 40;

/** Processes that run: none outlives this one, not even a stopped one. */
const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export interface ClusterShape {
  readonly zones: number;
  readonly nodesPerZone: number;
  /** Between zones, in each direction. */
  readonly delayMs: number;
}

interface Ports {
  readonly respPort: number;
  readonly httpPort: number;
  readonly peerPort: number;
}

/** One node process and its slot. */
export class ChaosNode {
  readonly index: number;
  readonly name: string;
  readonly zone: string;
  /** Chosen by the system at the first start, and kept. */
  ports: Ports = { respPort: 0, httpPort: 0, peerPort: 0 };
  readonly #directory: string;
  readonly #lines: string[] = [];
  #child: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();
  #listening: () => void = () => undefined;
  #ready: () => void = () => undefined;
  #failed: (error: Error) => void = () => undefined;

  constructor(index: number, zone: string, directory: string) {
    this.index = index;
    this.name = `node-${index + 1}`;
    this.zone = zone;
    this.#directory = directory;
  }

  get topologyPath(): string {
    return join(this.#directory, `${this.name}.json`);
  }

  /** Starts the process; `listening` settles when its ports are known, `ready` when it serves. */
  launch(): { readonly listening: Promise<void>; readonly ready: Promise<void> } {
    const { respPort, httpPort, peerPort } = this.ports;
    const own = ['--name', this.name, '--topology', this.topologyPath, '--data-dir', join(this.#directory, this.name)];
    const ports = ['--resp-port', String(respPort), '--http-port', String(httpPort), '--peer-port', String(peerPort)];
    const args = [COTERIE, 'node', ...own, ...ports];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
    this.#child = child;
    running.add(child);
    const failed = new Promise<never>((_, reject) => {
      this.#failed = reject;
    });
    const listening = new Promise<void>((resolve) => {
      this.#listening = resolve;
    });
    const ready = new Promise<void>((resolve) => {
      this.#ready = resolve;
    });
    for (const stream of [child.stdout, child.stderr]) {
      if (stream === null) continue;
      createInterface({ input: stream }).on('line', (line) => {
        this.#lines.push(line);
        if (this.#lines.length > LAST_LINES) this.#lines.shift();
        this.#read(line);
      });
    }
    this.#ended = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        running.delete(child);
        this.#failed(
          new Error(`${this.name} ended (${signal ?? `exit code ${String(code)}`}) before it served:\n${this.#lines.join('\n')}`),
        );
        resolve();
      });
    });
    // A node that ends later has failed nobody.
    failed.catch(() => undefined);
    return { listening: Promise.race([listening, failed]), ready: Promise.race([ready, failed]) };
  }

  /** Starts the process again; settles when it serves. */
  start(): Promise<void> {
    return this.launch().ready;
  }

  #read(line: string): void {
    if (!line.startsWith('{')) return;
    const { event, ...fields } = JSON.parse(line) as { readonly event: string } & Ports;
    if (event === 'listening') {
      this.ports = { respPort: fields.respPort, httpPort: fields.httpPort, peerPort: fields.peerPort };
      this.#listening();
    }
    if (event === 'node-ready') this.#ready();
  }

  /** SIGKILL; settles when the process is gone. */
  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#ended;
  }

  /** SIGSTOP and SIGCONT: its connections stay open, and nobody answers on them. */
  freeze(): void {
    this.#child?.kill('SIGSTOP');
  }

  thaw(): void {
    this.#child?.kill('SIGCONT');
  }

  async stop(): Promise<void> {
    this.thaw();
    this.#child?.kill('SIGTERM');
    await this.#ended;
  }
}

export class ChaosCluster {
  readonly nodes: readonly ChaosNode[];
  readonly #links: ReadonlyMap<string, Link>;
  readonly #directory: string;

  private constructor(nodes: readonly ChaosNode[], links: ReadonlyMap<string, Link>, directory: string) {
    this.nodes = nodes;
    this.#links = links;
    this.#directory = directory;
  }

  static async start(shape: ClusterShape): Promise<ChaosCluster> {
    const directory = await mkdtemp(join(tmpdir(), 'coterie-chaos-'));
    const count = shape.zones * shape.nodesPerZone;
    const nodes = Array.from({ length: count }, (_, index) => new ChaosNode(index, `zone-${(index % shape.zones) + 1}`, directory));
    const links = new Map<string, Link>();
    for (const from of nodes) {
      for (const to of nodes) {
        if (from !== to) links.set(`${from.index}>${to.index}`, await Link.open(from.zone === to.zone ? 0 : shape.delayMs));
      }
    }
    const topology = topologyOf(nodes);
    for (const node of nodes) await writeFile(node.topologyPath, encodeTopology(asSeenFrom(node, topology, links)));
    const cluster = new ChaosCluster(nodes, links, directory);
    try {
      await Promise.all(nodes.map((node) => cluster.#launch(node)));
    } catch (error) {
      await cluster.end();
      throw error;
    }
    return cluster;
  }

  /** The links to a node lead to where it listens. */
  async #launch(node: ChaosNode): Promise<void> {
    const { listening, ready } = node.launch();
    await listening;
    for (const [name, link] of this.#links) if (name.endsWith(`>${node.index}`)) link.leadTo(node.ports.peerPort);
    await ready;
  }

  inZone(zone: string): readonly ChaosNode[] {
    return this.nodes.filter((node) => node.zone === zone);
  }

  /** Nothing passes between these nodes and the others, in either direction. */
  cutOff(nodes: readonly ChaosNode[]): void {
    for (const link of this.#between(nodes)) link.cut();
  }

  heal(nodes: readonly ChaosNode[]): void {
    for (const link of this.#between(nodes)) link.heal();
  }

  /** Stops every process and removes what they wrote. */
  async end(): Promise<void> {
    for (const link of this.#links.values()) link.heal();
    await Promise.all(this.nodes.map((node) => node.stop()));
    await Promise.all([...this.#links.values()].map((link) => link.close()));
    await rm(this.#directory, { recursive: true, force: true });
  }

  *#between(nodes: readonly ChaosNode[]): Generator<Link> {
    const inside = new Set(nodes.map((node) => node.index));
    for (const [name, link] of this.#links) {
      const [from, to] = name.split('>').map(Number);
      if (inside.has(from ?? -1) !== inside.has(to ?? -1)) yield link;
    }
  }
}

function topologyOf(nodes: readonly ChaosNode[]): Topology {
  return createTopology({
    clusterId: clusterId('c'.repeat(32)),
    tokenSeed: '0123456789abcdef',
    N: 3,
    Q: 256,
    buckets: [{ id: bucketId(0), name: 'default', consistency: 'eventual', R: 2, W: 2, blindWrites: 'newest' }],
    members: nodes.map((node) => ({
      name: memberName(node.name),
      // Each node is told its own ports by the system, and those of the others by its links.
      address: { host: HOST, peerPort: 1 + node.index, respPort: 1, httpPort: 1 },
      zone: node.zone,
      rack: 'rack-1',
      weight: 1,
    })),
  });
}

/** The same topology, with the others behind this node's links: addresses are no part of what nodes must agree on. */
function asSeenFrom(node: ChaosNode, topology: Topology, links: ReadonlyMap<string, Link>): Topology {
  const members = topology.members.map((member, index) => {
    const link = links.get(`${node.index}>${index}`);
    return link === undefined ? member : { ...member, address: { ...member.address, peerPort: link.port } };
  });
  return { ...topology, members };
}
