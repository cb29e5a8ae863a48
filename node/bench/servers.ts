/** Server processes under test: started on free loopback ports, awaited, and ended by id. */

import type { ChildProcess } from 'node:child_process';
import { accessSync, constants, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { bucketId, clusterId, memberName } from '../src/base/ids.ts';
import { encodeTopology } from '../src/cluster/ring/topology-codec.ts';
import { freePorts } from '../src/cli/dev/ports.ts';
import { createTopology } from '../src/cluster/ring/topology-create.ts';
import { start } from './children.ts';

const COTERIE = fileURLToPath(new URL('../bin/coterie.js', import.meta.url));
const TICKS_PER_SECOND = 100;
const HOST = '127.0.0.1';
/** How long a server may take until it answers. */
const START_MS = 120_000;
const POLL_MS = 20;

/** Fails by name when a program of Debian's packages is missing. */
export function requireProgram(program: string, debianPackage: string): void {
  const found = (process.env['PATH'] ?? '').split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
  if (!found) throw new Error(`this benchmark needs ${program}; install it with: apt-get install ${debianPackage}`);
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export class ServerProcess {
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  #failure: string | undefined;

  constructor(command: string, args: readonly string[]) {
    this.#child = start(command, args);
    this.#ended = new Promise((resolve) => {
      this.#child.once('error', (error) => {
        this.#failure = error.message;
        resolve();
      });
      this.#child.once('close', (code, signal) => {
        this.#failure ??= `it ended with ${signal ?? `exit code ${String(code)}`}`;
        resolve();
      });
    });
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
    return this.#status('VmHWM');
  }

  /** Resident memory now, in bytes. */
  residentBytes(): number {
    return this.#status('VmRSS');
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    this.#child.kill(signal);
    await this.#ended;
  }

  /** Settles when somebody listens on the port. @throws Error when the process ends first, or takes too long */
  listening(port: number): Promise<void> {
    return this.until(
      `listens on port ${port}`,
      () =>
        new Promise<boolean>((resolve) => {
          const socket = connect({ host: HOST, port });
          socket.once('connect', () => {
            socket.destroy();
            resolve(true);
          });
          socket.once('error', () => resolve(false));
        }),
    );
  }

  /** Settles when `holds` answers true. @throws Error when the process ends first, or takes too long */
  async until(what: string, holds: () => Promise<boolean>): Promise<void> {
    const end = performance.now() + START_MS;
    while (!(await holds().catch(() => false))) {
      if (this.#failure !== undefined) throw new Error(`${this.#child.spawnfile} never ${what}: ${this.#failure}`);
      if (performance.now() > end) throw new Error(`${this.#child.spawnfile} has not come so far that it ${what} in ${START_MS / 1000} s`);
      await pause(POLL_MS);
    }
  }

  #status(field: string): number {
    return 1024 * Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))?.[1] ?? 0);
  }
}

export interface CoteriePorts {
  readonly resp: number;
  readonly http: number;
}

/** Settles when the node says that it is ready. */
function ready(server: ServerProcess, httpPort: number): Promise<void> {
  return server.until('is ready', async () => {
    const response = await fetch(`http://${HOST}:${httpPort}/readyz`);
    await response.arrayBuffer();
    return response.status === 200;
  });
}

/** Extra flags of Node itself, for profiles: `BENCH_NODE_FLAGS='--cpu-prof'`. */
const NODE_FLAGS = (process.env['BENCH_NODE_FLAGS'] ?? '').split(' ').filter((flag) => flag !== '');

function coterie(flags: readonly string[], nodeFlags: readonly string[] = []): ServerProcess {
  return new ServerProcess(process.execPath, [...NODE_FLAGS, ...nodeFlags, COTERIE, 'node', '--log-level', 'error', ...flags]);
}

/** One Coterie node as a cluster of its own. `nodeFlags` are Node's. */
export async function startSingle(
  directory: string,
  flags: readonly string[],
  nodeFlags: readonly string[] = [],
): Promise<{ server: ServerProcess; ports: CoteriePorts }> {
  const [resp = 0, http = 0, peer = 0] = await freePorts(3);
  const ports = ['--resp-port', String(resp), '--http-port', String(http), '--peer-port', String(peer)];
  const server = coterie(['--data-dir', directory, ...ports, ...flags], nodeFlags);
  await ready(server, http);
  return { server, ports: { resp, http } };
}

/** `count` Coterie nodes in as many zones, N = 3, R = W = 2, with a bucket `strong` where every write is synced. */
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
    buckets: [
      { id: bucketId(0), name: 'default', consistency: 'eventual', R: 2, W: 2, blindWrites: 'newest' },
      // Strong buckets are for nodes that sync every write.
      ...(flags.includes('interval')
        ? []
        : [{ id: bucketId(1), name: 'strong', consistency: 'strong', R: 2, W: 2, blindWrites: 'newest' } as const]),
    ],
    members,
  });
  const path = join(directory, 'topology.json');
  writeFileSync(path, encodeTopology(topology));
  const servers = members.map(({ name }) => coterie(['--name', name, '--topology', path, '--data-dir', join(directory, name), ...flags]));
  const ports = members.map(({ address }) => ({ resp: address.respPort, http: address.httpPort }));
  await Promise.all(servers.map((server, index) => ready(server, ports[index]?.http ?? 0)));
  return { servers, ports };
}
