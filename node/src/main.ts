/**
 * The composition root: joins the rooms into a process. It alone reads the environment, the arguments and the signals.
 */

import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';

import { watchNode } from './api/admin/watch.ts';
import { HTTP_SERVER_OPTIONS, httpCallback } from './api/http/app.ts';
import { answerMalformed } from './api/http/malformed.ts';
import { type Credential, Gate } from './api/credentials.ts';
import { RESP_LIMITS } from './api/resp/limits.ts';
import { RespServer } from './api/resp/server.ts';
import { CoterieError } from './base/errors.ts';
import { bucketId, clusterId, memberName } from './base/ids.ts';
import { runCommandLine } from './cli/command-line.ts';
import { randomHex } from './cli/random.ts';
import type { NodeSettings } from './cli/settings.ts';
import type { RunningNode } from './cli/surroundings.ts';
import { openTopologyFile, readTopologyFile } from './cli/topology-file.ts';
import { createTopology } from './cluster/ring/topology-create.ts';
import { DEFAULT_PARTITIONS, type Member, type Topology } from './cluster/ring/topology.ts';
import { NodeClock } from './env-node/clock.ts';
import { NodeExecutor } from './env-node/executor.ts';
import { NodeNetwork } from './env-node/network.ts';
import { NodeRandom } from './env-node/random.ts';
import { NodeVfs } from './env-node/vfs.ts';
import { CoterieNode } from './runtime/node.ts';
import { errorFields, LineLogger } from './telemetry/logger.ts';
import { MetricRegistry } from './telemetry/metrics.ts';

const LOOPBACK = /^(127\.\d+\.\d+\.\d+|::1|localhost)$/;
/** How long a stopping node lets its operations run. */
const STOP_GRACE_MS = 5000;

/** The package's own; from `src` and from `dist` it lies one level up. */
function ownVersion(): string {
  const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { readonly version: string };
  return manifest.version;
}

/** The topology of a node on its own, made at its first start and kept beside its data. */
function alone(settings: NodeSettings): Topology {
  return createTopology({
    clusterId: clusterId(randomHex(16)),
    tokenSeed: randomHex(8),
    N: 1,
    Q: DEFAULT_PARTITIONS,
    buckets: [{ id: bucketId(0), name: 'default', consistency: 'eventual', R: 1, W: 1, blindWrites: 'newest' }],
    members: [
      {
        name: memberName(settings.name),
        address: { host: '127.0.0.1', respPort: 6379, httpPort: 8400, peerPort: 7400 },
        zone: 'zone-1',
        rack: 'rack-1',
        weight: 1,
      },
    ],
  });
}

async function topologyOf(settings: NodeSettings): Promise<Topology> {
  if (settings.topology !== undefined) return readTopologyFile(settings.topology);
  const { topology } = await openTopologyFile(join(settings.dataDir, 'topology.json'), () => alone(settings));
  return topology;
}

function slotOf(topology: Topology, settings: NodeSettings): Member {
  const member = topology.members.find(({ name }) => name === settings.name);
  if (member === undefined) {
    const names = topology.members.map(({ name }) => name).join(', ');
    throw new CoterieError('SETTING_INVALID', `name must be a member of the topology (${names}), not ${settings.name}`);
  }
  return member;
}

/** Equal or not, in a time that tells nothing of where they differ. */
function sameSecret(a: Uint8Array, b: Uint8Array): boolean {
  const digest = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();
  return timingSafeEqual(digest(a), digest(b));
}

/** Who may come in: everybody, or who knows the password. */
function gateOf(settings: NodeSettings): Gate {
  const credentials: Credential[] =
    settings.password === undefined ? [] : [{ name: 'default', secret: Buffer.from(settings.password, 'utf8'), admin: true }];
  return new Gate(credentials, sameSecret);
}

async function listen(server: Server, host: string, port: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const inUse = error.code === 'EADDRINUSE';
      const text = inUse
        ? `${host}:${port} is in use by another process`
        : `cannot listen on ${host}:${port}: ${error.code ?? error.message}`;
      reject(new CoterieError(inUse ? 'PORT_IN_USE' : 'SETTING_INVALID', text, { cause: error }));
    });
    server.listen({ host, port }, resolve);
  });
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : port;
}

/** Starts a node with all its protocols; when a part cannot start, what already did is stopped again. */
async function startNode(settings: NodeSettings): Promise<RunningNode> {
  const topology = await topologyOf(settings);
  const member = slotOf(topology, settings);
  const host = settings.host ?? member.address.host;
  const clock = new NodeClock();
  const log = new LineLogger({ level: settings.logLevel, wallMs: () => clock.wallMs(), write: (line) => process.stdout.write(line) });
  if (!LOOPBACK.test(host) && settings.password === undefined) {
    if (!settings.insecure) {
      throw new CoterieError('SETTING_INVALID', `listening on ${host}, beyond loopback, needs a password, or insecure: true to go without`);
    }
    log.log('warn', 'insecure', { host, reason: 'anybody who reaches this address reads and writes everything' });
  }
  const metrics = new MetricRegistry();
  const network = new NodeNetwork();
  const undo: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    const executor = new NodeExecutor();
    undo.push(() => executor.close());
    const node = await CoterieNode.open({
      name: member.name,
      topology,
      directory: settings.dataDir,
      env: { clock, random: new NodeRandom(), network, vfs: new NodeVfs(), executor },
      listen: { host, port: settings.peerPort ?? member.address.peerPort },
      engine: {
        fsync: settings.fsync === 'always' ? { kind: 'always' } : { kind: 'interval', everyMs: settings.fsyncIntervalMs },
        memtableBytes: settings.memtableBytes,
        cacheBytes: settings.cacheBytes,
        openFiles: settings.openFiles,
      },
      limits: { pairBytes: settings.maxPairBytes, timeoutMs: settings.timeoutMs, hintBytes: settings.hintBytes },
      timings: { repairMs: settings.repairIntervalMs, scrubMs: settings.scrubIntervalMs, collectMs: settings.collectIntervalMs },
      log,
      metrics,
    });
    undo.push(() => node.stop(STOP_GRACE_MS));
    await node.start();
    const gate = gateOf(settings);
    const limits = { ...RESP_LIMITS, connections: settings.maxConnections };
    const facts = { version: ownVersion(), processId: process.pid, memoryBytes: () => process.memoryUsage.rss() };
    const resp = new RespServer({ node, gate, limits, facts, log, metrics, soon: (fn) => clock.soon(fn) });
    const respListener = await network.listen({ host, port: settings.respPort ?? member.address.respPort }, (connection) =>
      resp.accept(connection),
    );
    undo.push(() => {
      resp.finish();
      return respListener.close();
    });
    const server = createServer(
      HTTP_SERVER_OPTIONS,
      httpCallback({ node, gate, log, metrics, after: (delayMs, fn) => clock.after(delayMs, fn) }),
    );
    server.on('clientError', answerMalformed);
    server.maxConnections = settings.maxConnections;
    const httpPort = await listen(server, host, settings.httpPort ?? member.address.httpPort);
    undo.push(
      () =>
        new Promise((resolve) => {
          server.close(() => resolve());
          server.closeIdleConnections();
          setTimeout(() => server.closeAllConnections(), STOP_GRACE_MS).unref();
        }),
    );
    const unwatch = watchNode({ node, log, after: (delayMs, fn) => clock.after(delayMs, fn) });
    undo.push(() => {
      unwatch();
      return Promise.resolve();
    });
    const peerPort = node.peerAddress?.port ?? 0;
    log.log('info', 'listening', { name: member.name, respPort: respListener.address.port, httpPort, peerPort });
    return { name: member.name, respPort: respListener.address.port, httpPort, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** A bug anywhere ends the process with a line in the log: going on could lose data, and a clean restart recovers. */
function crash(kind: string, error: unknown): void {
  process.stderr.write(`coterie: ${kind}: ${JSON.stringify(errorFields(error))}\n`);
  process.exit(70);
}

process.on('uncaughtException', (error) => crash('unexpected failure', error));
process.on('unhandledRejection', (error) => crash('unexpected failure', error));
// A reader that went away (`coterie get … | head`) is no failure.
process.stdout.on('error', () => process.exit(0));

const exitCode = await runCommandLine(process.argv.slice(2), {
  version: ownVersion(),
  variables: process.env,
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  input: () => buffer(process.stdin),
  interrupted: () =>
    new Promise((resolve) => {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, resolve);
      // A development cluster that dies takes its nodes along: the channel to it closes.
      if (process.channel !== undefined) process.once('disconnect', () => resolve('disconnect'));
    }),
  startNode,
});
process.exit(exitCode);
