/** Commands on the server: INFO COMMAND CONFIG. */

import { CoterieError } from '../../../base/errors.ts';
import type { Call, Command, Shared } from '../command.ts';
import { globMatches } from '../glob.ts';
import type { ReplyWriter } from '../reply.ts';
import { ReplyError, syntaxError, wrongArity } from '../reply-error.ts';

/** The Redis whose replies these are; clients that choose by version look for it. */
const REDIS_VERSION = '7.0.15';

type Section = readonly (readonly [string, string | number])[];

const SECTIONS: Readonly<Record<string, (shared: Shared) => Section>> = {
  server: ({ node, facts }) => {
    const { uptimeMs } = node.stats();
    const view = node.cluster();
    const self = view.members.find((member) => member.name === view.self);
    return [
      ['redis_version', REDIS_VERSION],
      ['redis_mode', 'standalone'],
      ['coterie_version', facts.version],
      ['coterie_node', view.self],
      ['process_id', facts.processId],
      ['tcp_port', self?.respPort ?? 0],
      ['uptime_in_seconds', Math.floor(uptimeMs / 1000)],
      ['uptime_in_days', Math.floor(uptimeMs / 86_400_000)],
    ];
  },
  clients: ({ clients, limits }) => [
    ['connected_clients', [...clients()].length],
    ['maxclients', limits.connections],
  ],
  memory: ({ facts }) => [
    ['used_memory', facts.memoryBytes()],
    ['maxmemory', 0],
    ['maxmemory_policy', 'noeviction'],
  ],
  persistence: ({ loading }) => [
    // Clients that look (ioredis does) wait for a node that has just started, instead of being refused by it.
    ...(loading()
      ? ([
          ['loading', 1],
          ['loading_eta_seconds', 1],
        ] as const)
      : ([['loading', 0]] as const)),
    ['aof_enabled', 1],
  ],
  stats: ({ node, commandsDone }) => [
    ['total_commands_processed', commandsDone()],
    ['operations_in_flight', node.stats().operationsInFlight],
    ...Object.entries(node.stats().counters),
  ],
  replication: () => [
    ['role', 'master'],
    ['connected_slaves', 0],
  ],
  cluster: ({ node }) => {
    const view = node.cluster();
    return [
      // Redis Cluster's redirections are not spoken: every node answers for every key.
      ['cluster_enabled', 0],
      ['coterie_cluster_id', view.clusterId],
      ['coterie_epoch', view.epoch],
      ['coterie_members', view.members.length],
      ['coterie_members_reachable', view.members.filter((member) => member.reachable).length],
    ];
  },
};

const EVERY_SECTION = new Set(['default', 'all', 'everything']);

export const INFO: Command = {
  name: 'info',
  arity: -1,
  group: 'server',
  summary: 'Describe the node, in the sections asked for',
  since: '1.0.0',
  flags: ['loading', 'stale'],
  categories: ['@slow', '@dangerous'],
  keys: 'none',
  writes: false,
  run(call) {
    const wanted = new Set<string>();
    for (let index = 1; index < call.request.argc; index += 1) wanted.add(call.request.text(index).toLowerCase());
    const every = wanted.size === 0 || [...wanted].some((name) => EVERY_SECTION.has(name));
    const parts: string[] = [];
    for (const [name, read] of Object.entries(SECTIONS)) {
      if (!every && !wanted.has(name)) continue;
      const lines = read(call.shared).map(([field, value]) => `${field}:${value}\r\n`);
      parts.push(`# ${name.charAt(0).toUpperCase()}${name.slice(1)}\r\n${lines.join('')}`);
    }
    call.writer.verbatim(parts.join('\r\n'));
  },
};

function settings(shared: Shared): Section {
  return [
    ['appendonly', 'yes'],
    ['databases', 1],
    ['maxclients', shared.limits.connections],
    ['maxmemory', 0],
    ['maxmemory-policy', 'noeviction'],
    ['proto-max-bulk-len', shared.node.limits.pairBytes],
    ['save', ''],
    ['timeout', 0],
  ];
}

export const CONFIG: Command = {
  name: 'config',
  arity: -2,
  group: 'server',
  summary: 'GET: what Redis clients ask about a server, by patterns',
  since: '2.0.0',
  flags: [],
  categories: ['@slow'],
  keys: 'none',
  writes: false,
  run(call) {
    const { request, writer } = call;
    const given = request.text(1);
    const sub = given.toLowerCase();
    if (sub === 'get') {
      if (request.argc < 3) throw wrongArity('config|get');
      const patterns: string[] = [];
      for (let index = 2; index < request.argc; index += 1) patterns.push(request.text(index).toLowerCase());
      const found = settings(call.shared).filter(([name]) => patterns.some((pattern) => globMatches(pattern, name)));
      writer.map(found.length);
      for (const [name, value] of found) {
        writer.bulkText(name);
        writer.bulkText(String(value));
      }
      return;
    }
    if (sub === 'set' || sub === 'rewrite' || sub === 'resetstat') {
      throw new CoterieError('UNSUPPORTED', `CONFIG ${sub.toUpperCase()} is not offered: settings come from the node's configuration file`);
    }
    throw new ReplyError(`ERR unknown subcommand '${given.slice(0, 128)}'. Try CONFIG HELP.`);
  },
};

function writeInfo(writer: ReplyWriter, command: Command): void {
  const [first, last, step] = KEY_POSITIONS[command.keys];
  writer.array(10);
  writer.bulkText(command.name);
  writer.integer(command.arity);
  writer.set(command.flags.length);
  for (const flag of command.flags) writer.simple(flag);
  writer.integer(first);
  writer.integer(last);
  writer.integer(step);
  writer.set(command.categories.length);
  for (const category of command.categories) writer.simple(category);
  // Tips, key specifications and subcommands are not described.
  writer.array(0);
  writer.array(0);
  writer.array(0);
}

/** Where keys stand, as Redis describes it: the first, the last (negative from the end), and every how many. */
const KEY_POSITIONS: Readonly<Record<Command['keys'], readonly [number, number, number]>> = {
  none: [0, 0, 0],
  first: [1, 1, 1],
  all: [1, -1, 1],
  pairs: [1, -1, 2],
};

function writeDocs(writer: ReplyWriter, command: Command): void {
  writer.bulkText(command.name);
  writer.map(3);
  writer.bulkText('summary');
  writer.bulkText(command.summary);
  writer.bulkText('since');
  writer.bulkText(command.since);
  writer.bulkText('group');
  writer.bulkText(command.group);
}

/** The commands named from the third argument on, in that order; `undefined` for one that is not there. */
function named(call: Call): (Command | undefined)[] {
  const { request, shared } = call;
  const all = shared.commands();
  if (request.argc === 2) return [...all];
  const found: (Command | undefined)[] = [];
  for (let index = 2; index < request.argc; index += 1) {
    const name = request.text(index).toLowerCase();
    found.push(all.find((command) => command.name === name));
  }
  return found;
}

function writeInfos(writer: ReplyWriter, commands: readonly (Command | undefined)[]): void {
  writer.array(commands.length);
  for (const command of commands) {
    if (command === undefined) writer.nil();
    else writeInfo(writer, command);
  }
}

export const COMMAND: Command = {
  name: 'command',
  arity: -1,
  group: 'server',
  summary: 'Describe the commands: all, COUNT, DOCS, INFO or LIST',
  since: '2.8.13',
  flags: ['loading', 'stale'],
  categories: ['@slow', '@connection'],
  keys: 'none',
  writes: false,
  run(call) {
    const { request, writer, shared } = call;
    if (request.argc === 1) {
      writeInfos(writer, shared.commands());
      return;
    }
    const given = request.text(1);
    switch (given.toLowerCase()) {
      case 'count':
        if (request.argc !== 2) throw wrongArity('command|count');
        writer.integer(shared.commands().length);
        return;
      case 'info':
        writeInfos(writer, named(call));
        return;
      case 'docs': {
        const known = named(call).filter((command) => command !== undefined);
        writer.map(known.length);
        for (const command of known) writeDocs(writer, command);
        return;
      }
      case 'list':
        if (request.argc > 2 && request.text(2).toLowerCase() === 'filterby') {
          throw new CoterieError('UNSUPPORTED', 'COMMAND LIST with a filter is not offered');
        }
        if (request.argc > 2) throw syntaxError();
        writer.array(shared.commands().length);
        for (const command of shared.commands()) writer.bulkText(command.name);
        return;
      case 'getkeys':
      case 'getkeysandflags':
        throw new CoterieError('UNSUPPORTED', 'COMMAND GETKEYS is not offered: COMMAND INFO tells where keys stand');
      default:
        throw new ReplyError(`ERR unknown subcommand '${given.slice(0, 128)}'. Try COMMAND HELP.`);
    }
  },
};
