/** Server processes under test: started on free loopback ports in temporary directories, awaited, and ended by id. */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { bucketId, clusterId, memberName } from '../src/base/ids.ts';
import { createTopology } from '../src/cluster/ring/topology-create.ts';
import { encodeTopology } from '../src/cluster/ring/topology-codec.ts';

const COTERIE = fileURLToPath(new URL('../bin/coterie.js', import.meta.url));
const TICKS_PER_SECOND = 100;
const HOST = '127.0.0.1';

/** Ports that nobody listens on now. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve) => {
          const server = createServer().listen({ host: HOST, port: 0 }, () => resolve(server));
        }),
    ),
  );
  const ports = servers.map((server) => {
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  });
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** Fails by name when a program of Debian's packages is missing. */
export function requireProgram(program: string, debianPackage: string): void {
  try {
    execFileSync('which', [program], { stdio: 'ignore' });
  } catch {
    throw new Error(`this benchmark needs ${program}: apt-get install ${debianPackage}`);
  }
}

export class ServerProcess {
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;

  constructor(command: string, args: readonly string[], environment: Readonly<Record<string, string>> = {}) {
    this.#child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, ...environment } });
    this.#ended = new Promise((resolve) => this.#child.once('close', () => resolve()));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Processor time used so far by the process, all threads, in seconds. */
  cpuSeconds(): number {
    const fields = readFileSync(`/proc/${this.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  }

  /** Largest resident memory so far, in bytes. */
  peakBytes(): number {
    return 1024 * Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))?.[1] ?? 0);
  }

  /** Resident memory now, in bytes. */
  residentBytes(): number {
    return 1024 * Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))?.[1] ?? 0);
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    this.#child.kill(signal);
    await this.#ended;
  }

  /** Settles when somebody listens on the port; fails when the process ends first. */
  async listening(port: number): Promise<void> {
    for (;;) {
      const open = await new Promise<boolean>((resolve) => {
        const socket = connect({ host: HOST, port });
        socket.once('connect', () => {
          socket.destroy();
          resolve(true);
        });
        socket.once('error', () => resolve(false));
      });
      if (open) return;
      if (this.#child.exitCode !== null || this.#child.signalCode !== null)
        throw new Error(`process ${this.pid} ended before it listened on port ${port}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** A directory that is removed at the end. */
export async function inTemporaryDirectory<T>(work: (directory: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), 'coterie-bench-'));
  try {
    return await work(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

export interface CoteriePorts {
  readonly resp: number;
  readonly http: number;
}

/** Settles when the node says that it is ready. */
export async function ready(server: ServerProcess, httpPort: number): Promise<void> {
  await server.listening(httpPort);
  for (;;) {
    const response = await fetch(`http://${HOST}:${httpPort}/readyz`);
    await response.arrayBuffer();
    if (response.status === 200) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** One Coterie node as a cluster of its own. */
export async function startSingle(directory: string, flags: readonly string[]): Promise<{ server: ServerProcess; ports: CoteriePorts }> {
  const [resp = 0, http = 0, peer = 0] = await freePorts(3);
  const ports = ['--resp-port', String(resp), '--http-port', String(http), '--peer-port', String(peer)];
  const server = new ServerProcess(process.execPath, [
    COTERIE,
    'node',
    '--data-dir',
    directory,
    '--log-level',
    'error',
    ...ports,
    ...flags,
  ]);
  await ready(server, http);
  return { server, ports: { resp, http } };
}

/** `count` Coterie nodes in as many zones, N = 3, R = W = 2. */
export async function startCluster(
  directory: string,
  count: number,
  flags: readonly string[],
): Promise<{ servers: ServerProcess[]; ports: CoteriePorts[] }> {
  const free = await freePorts(3 * count);
  const members = Array.from({ length: count }, (_, index) => ({
    name: memberName(`node-${index + 1}`),
    address: { host: HOST, respPort: free[3 * index] ?? 0, httpPort: free[3 * index + 1] ?? 0, peerPort: free[3 * index + 2] ?? 0 },
    zone: `zone-${index + 1}`,
    rack: 'rack-1',
    weight: 1,
  }));
  const topology = createTopology({
    clusterId: clusterId('b'.repeat(32)),
    tokenSeed: '0123456789abcdef',
    N: 3,
    Q: 1024,
    buckets: [{ id: bucketId(0), name: 'default', consistency: 'eventual', R: 2, W: 2, blindWrites: 'newest' }],
    members,
  });
  const path = join(directory, 'topology.json');
  writeFileSync(path, encodeTopology(topology));
  const servers = members.map(
    ({ name }) =>
      new ServerProcess(process.execPath, [
        COTERIE,
        'node',
        '--name',
        name,
        '--topology',
        path,
        '--data-dir',
        join(directory, name),
        '--log-level',
        'error',
        ...flags,
      ]),
  );
  const ports = members.map(({ address }) => ({ resp: address.respPort, http: address.httpPort }));
  await Promise.all(servers.map((server, index) => ready(server, ports[index]?.http ?? 0)));
  return { servers, ports };
}
