/** `coterie dev`: a whole cluster of node processes on loopback, for trying Coterie and for developing against it. */

import { createInterface } from 'node:readline';

import { CoterieError } from '../../base/errors.ts';
import type { Topology } from '../../cluster/ring/topology.ts';
import { type CommandHelp, helpText, parseFlags, type ParsedFlags, textFlag, wholeFlag } from '../flags.ts';
import { type Command, EXIT, type Surroundings } from '../surroundings.ts';
import { table } from '../table.ts';
import { type DevRequest, openLayout, requirePorts } from './layout.ts';
import { type NodeEvents, NodeProcess, READY } from './process.ts';

const MOST_NODES = 32;

const DEV: CommandHelp = {
  usage: 'dev [flags]',
  about: 'Runs a cluster of node processes on loopback until Ctrl-C. Its data stays, and is found again by the next start.',
  flags: [
    { name: 'nodes', value: 'COUNT', about: `Nodes, 1 to ${MOST_NODES} (5)` },
    { name: 'zones', value: 'COUNT', about: 'Zones they are spread over (3)' },
    { name: 'replicas', value: 'N', about: 'Copies of each key (3, or as many as there are nodes)' },
    { name: 'buckets', value: 'NAME,…', about: 'Buckets to make beside default and strong (none)' },
    { name: 'data', value: 'DIRECTORY', about: 'Where the cluster lives (./.coterie)' },
    { name: 'ports', value: 'fixed|free', about: 'fixed: node i at 6400+i, 8400+i, 7400+i; free: any free ports (fixed)' },
    { name: 'fsync', value: 'always|interval', about: 'When a write counts as durable (always)' },
  ],
  notes: ['While it runs, type "kill 3", "stop 3" or "start 3" to end or start a node.'],
};

function requestOf(flags: ParsedFlags): DevRequest {
  const ports = textFlag(flags, 'ports') ?? 'fixed';
  if (ports !== 'fixed' && ports !== 'free') {
    throw new CoterieError('REQUEST_INVALID', `--ports must be fixed or free, not ${JSON.stringify(ports)}`);
  }
  const nodes = wholeFlag(flags, 'nodes', 1, MOST_NODES);
  const zones = wholeFlag(flags, 'zones', 1, MOST_NODES);
  if (nodes !== undefined && zones !== undefined && zones > nodes) {
    throw new CoterieError('REQUEST_INVALID', `--zones ${zones} needs at least as many nodes; there are ${nodes}`);
  }
  return {
    directory: textFlag(flags, 'data') ?? '.coterie',
    nodes,
    zones,
    replicas: wholeFlag(flags, 'replicas', 1, MOST_NODES),
    buckets: (textFlag(flags, 'buckets') ?? '').split(',').filter((name) => name !== ''),
    strong: textFlag(flags, 'fsync') !== 'interval',
    freePorts: ports === 'free',
  };
}

function welcome(topology: Topology, directory: string): string {
  const rows = topology.members.map(({ name, zone, address }) => [
    name,
    zone,
    `${address.host}:${address.respPort}`,
    `http://${address.host}:${address.httpPort}`,
  ]);
  const first = topology.members[0]?.address;
  const last = topology.members.at(-1)?.address;
  return [
    '',
    table(['node', 'zone', 'redis', 'http'], rows),
    `Every node answers for every key; each key is on ${topology.N} of them. Data: ${directory}. Try:`,
    '',
    `  redis-cli -p ${first?.respPort ?? 0} SET greeting hello`,
    `  redis-cli -p ${last?.respPort ?? 0} GET greeting`,
    `  curl -i http://127.0.0.1:${last?.httpPort ?? 0}/v1/kv/default/greeting`,
    '  npx coterie status',
    '',
    'Ctrl-C stops the cluster; its data stays. Type "kill 3" and "start 3" to see it survive.',
    '',
  ].join('\n');
}

class DevCluster {
  readonly #topology: Topology;
  readonly #directory: string;
  readonly #extra: readonly string[];
  readonly #surroundings: Surroundings;
  readonly #nodes = new Map<string, NodeProcess>();
  #stopping = false;
  #up = false;
  /** The first node that could not start, and why. */
  #failure: CoterieError | undefined;

  constructor(topology: Topology, directory: string, extra: readonly string[], surroundings: Surroundings) {
    this.#topology = topology;
    this.#directory = directory;
    this.#extra = extra;
    this.#surroundings = surroundings;
  }

  get failure(): CoterieError | undefined {
    return this.#failure;
  }

  /** Starts every node; settles when all serve or have ended. */
  async startAll(): Promise<void> {
    for (const { name } of this.#topology.members) this.#start(name);
    await Promise.all([...this.#nodes.values()].map((node) => node.settled));
    this.#up = true;
  }

  async stopAll(): Promise<void> {
    this.#stopping = true;
    await Promise.all([...this.#nodes.values()].map((node) => node.stop()));
  }

  /** One typed line: `kill 3`, `stop node-3`, `start 3`. */
  async obey(line: string): Promise<void> {
    const [verb, which = ''] = line.trim().split(/\s+/);
    if (verb === undefined || verb === '') return;
    const name = /^\d+$/.test(which) ? `node-${which}` : which;
    if (!['kill', 'stop', 'start'].includes(verb) || !this.#topology.members.some((member) => member.name === name)) {
      this.#say('type kill, stop or start and the number of a node, as in: kill 3');
      return;
    }
    const node = this.#nodes.get(name);
    if (verb === 'start') {
      if (node === undefined) this.#start(name);
      else this.#say(`${name} is running`);
    } else if (node === undefined) this.#say(`${name} is not running`);
    else await (verb === 'kill' ? node.kill() : node.stop());
  }

  #start(name: string): void {
    const events: NodeEvents = {
      // While the cluster comes up everything changes; only the result is of interest.
      changed: (node, what) => {
        if (this.#up || what === READY) this.#say(`${node} ${what}`);
      },
      ended: (node, how, reason) => {
        const wasReady = this.#nodes.get(node)?.ready ?? false;
        this.#nodes.delete(node);
        if (this.#stopping) return;
        if (!wasReady && reason !== undefined) this.#failure ??= new CoterieError('CLOSED', `${node} could not start: ${reason}`);
        this.#say(`${node} ended (${how})${reason === undefined ? '' : `: ${reason}`}`);
      },
    };
    this.#nodes.set(name, new NodeProcess(this.#directory, name, this.#extra, events));
  }

  #say(text: string): void {
    if (!this.#stopping) this.#surroundings.out(`${text}\n`);
  }
}

async function run(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const flags = parseFlags(DEV, args, { least: 0, most: 0 });
  if (flags.values['help'] === true) {
    surroundings.out(helpText(DEV));
    return EXIT.ok;
  }
  const request = requestOf(flags);
  const fsync = textFlag(flags, 'fsync');
  if (fsync !== undefined && fsync !== 'always' && fsync !== 'interval') {
    throw new CoterieError('REQUEST_INVALID', `--fsync must be always or interval, not ${JSON.stringify(fsync)}`);
  }
  const interrupted = surroundings.interrupted();
  const { topology, isNew } = await openLayout(request);
  await requirePorts(topology);
  surroundings.out(`${isNew ? 'Making' : 'Starting'} a cluster of ${topology.members.length} nodes, N=${topology.N} …\n`);
  const cluster = new DevCluster(topology, request.directory, fsync === undefined ? [] : ['--fsync', fsync], surroundings);
  await Promise.race([cluster.startAll(), interrupted]);
  if (cluster.failure !== undefined) {
    await cluster.stopAll();
    throw cluster.failure;
  }
  surroundings.out(welcome(topology, request.directory));
  const typed = createInterface({ input: process.stdin });
  typed.on('line', (line) => void cluster.obey(line));
  await interrupted;
  typed.close();
  surroundings.out('\nStopping …\n');
  await cluster.stopAll();
  surroundings.out('Stopped.\n');
  return EXIT.ok;
}

export const devCommand: Command = { name: 'dev', about: 'Run a whole cluster on loopback', run };
