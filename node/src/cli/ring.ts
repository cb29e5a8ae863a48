/** `coterie ring`: which member holds what, and `coterie ring simulate`: how well a cluster of any shape would be placed. */

import { CoterieError } from '../base/errors.ts';
import type { ClusterShape } from '../cluster/ring/simulate.ts';
import { formatSimulation, simulatePlacement } from '../cluster/ring/simulate.ts';
import type { RingDocument } from '../api/admin/documents.ts';
import { asText, call, ENDPOINT_FLAG, JSON_FLAG } from './endpoint.ts';
import { type CommandHelp, helpText, parseFlags, type ParsedFlags, textFlag, wholeFlag } from './flags.ts';
import { type Command, EXIT, type Surroundings } from './surroundings.ts';
import { table } from './table.ts';

const RING: CommandHelp = {
  usage: 'ring [simulate] [flags]',
  about:
    'Shows how many partitions each member holds and how many of them it coordinates. `coterie ring simulate --help`: placement tried out.',
  flags: [JSON_FLAG, ENDPOINT_FLAG],
};

const SIMULATE: CommandHelp = {
  usage: 'ring simulate [flags]',
  about: 'Places replicas for a cluster that need not exist, lets a node join and one leave, and judges balance, zones and movement.',
  flags: [
    { name: 'nodes', value: 'COUNT', about: 'Nodes (5)' },
    { name: 'zones', value: 'COUNT|A,B,…', about: 'Zones filled in turn, or the number of nodes in each (3)' },
    { name: 'racks', value: 'COUNT', about: 'Racks in each zone (1)' },
    { name: 'weights', value: 'W,…', about: 'Capacity weights, given to the nodes in turn (1)' },
    { name: 'n', value: 'N', about: 'Replicas of each partition (3)' },
    { name: 'q', value: 'Q', about: 'Partitions, a power of two (1024, more for many nodes)' },
    { name: 'random', value: 'COUNT', about: 'So many random clusters instead: 3 to 100 nodes, 1 to 5 zones, weights 1 to 4' },
    { name: 'seed', value: 'SEED', about: 'Of the random clusters (1)' },
    JSON_FLAG,
  ],
};

const MOST = 0xffff_ffff;

function list(flags: ParsedFlags, name: string): number[] | undefined {
  const text = textFlag(flags, name);
  if (text === undefined) return undefined;
  const numbers = text.split(',').map((part) => (/^\d+$/.test(part) ? Number(part) : Number.NaN));
  if (numbers.some((number) => !(number >= 1 && number <= MOST))) {
    throw new CoterieError('REQUEST_INVALID', `--${name} must be whole numbers from 1, separated by commas, not ${JSON.stringify(text)}`);
  }
  return numbers;
}

function shape(flags: ParsedFlags): ClusterShape {
  const zones = list(flags, 'zones') ?? [3];
  const perZone = zones.length > 1;
  const nodes = wholeFlag(flags, 'nodes', 1, MOST) ?? (perZone ? zones.reduce((sum, count) => sum + count, 0) : 5);
  const racks = wholeFlag(flags, 'racks', 1, MOST);
  const weights = list(flags, 'weights');
  return {
    nodes,
    zones: perZone ? zones : Math.min(zones[0] ?? 1, nodes),
    ...(racks === undefined ? {} : { racks }),
    ...(weights === undefined ? {} : { weights }),
  };
}

function simulate(args: readonly string[], surroundings: Surroundings): number {
  const flags = parseFlags(SIMULATE, args, { least: 0, most: 0 });
  if (flags.values['help'] === true) {
    surroundings.out(helpText(SIMULATE));
    return EXIT.ok;
  }
  const N = wholeFlag(flags, 'n', 1, MOST);
  const Q = wholeFlag(flags, 'q', 1, MOST);
  const count = wholeFlag(flags, 'random', 1, MOST);
  const simulation = simulatePlacement({
    ...(N === undefined ? {} : { N }),
    ...(Q === undefined ? {} : { Q }),
    ...(count === undefined ? { cluster: shape(flags) } : { random: { count, seed: wholeFlag(flags, 'seed', 0, MOST) ?? 1 } }),
    nowMs: () => performance.now(),
  });
  surroundings.out(flags.values['json'] === true ? `${JSON.stringify(simulation)}\n` : formatSimulation(simulation));
  return EXIT.ok;
}

async function run(args: readonly string[], surroundings: Surroundings): Promise<number> {
  if (args[0] === 'simulate') return simulate(args.slice(1), surroundings);
  const flags = parseFlags(RING, args, { least: 0, most: 0 });
  if (flags.values['help'] === true) {
    surroundings.out(helpText(RING));
    return EXIT.ok;
  }
  const answer = await call(flags, surroundings, { method: 'GET', path: '/v1/ring' }, [200]);
  const text = asText(answer.body);
  if (flags.values['json'] === true) {
    surroundings.out(`${text}\n`);
    return EXIT.ok;
  }
  const ring = JSON.parse(text) as RingDocument;
  const holds = ring.members.map(() => 0);
  const coordinates = ring.members.map(() => 0);
  for (const primaries of ring.partitions) {
    for (const index of primaries) holds[index] = (holds[index] ?? 0) + 1;
    const first = primaries[0];
    if (first !== undefined) coordinates[first] = (coordinates[first] ?? 0) + 1;
  }
  surroundings.out(`epoch ${ring.epoch}  N=${ring.n}  Q=${ring.q}\n\n`);
  surroundings.out(
    table(
      ['node', 'holds', 'coordinates'],
      ring.members.map((name, index) => [name, String(holds[index]), String(coordinates[index])]),
    ),
  );
  return EXIT.ok;
}

export const ringCommand: Command = { name: 'ring', about: 'Show the placement, or simulate one', run };
