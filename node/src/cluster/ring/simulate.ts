/**
 * The logic behind `coterie ring simulate`: places a cluster, then lets a node join and another leave, and judges each placement. Either one
 * described cluster, or many random ones. Pure: the clock comes from outside, the answer is data and a text table.
 */

import { CoterieError } from '../../base/errors.ts';
import type { PlacementMember } from './failure-domains.ts';
import { placeReplicas } from './placement.ts';
import { PseudoRandom } from './pseudo-random.ts';
import type { PlacementQuality } from './quality/placement-quality.ts';
import { judgePlacement } from './quality/placement-quality.ts';
import { MAX_MEMBERS, MAX_PARTITIONS, MAX_REPLICAS, MAX_WEIGHT } from './topology.ts';

export interface SimulationOptions {
  /** 1 to MAX_REPLICAS; 3 unless given. */
  readonly N?: number;
  /** A power of two; unless given, 1024 or the first one that gives each unit of weight 20 slots. */
  readonly Q?: number;
  /** One cluster of this shape; not together with `random`. */
  readonly cluster?: ClusterShape;
  /** So many random clusters: 3 to 100 nodes in 1 to 5 zones, weights 1 to 4. */
  readonly random?: { readonly count: number; readonly seed: number };
  /** A monotonic clock in milliseconds. */
  readonly nowMs: () => number;
}

export interface ClusterShape {
  readonly nodes: number;
  /** How many zones, filled in turn; or the number of nodes in each. */
  readonly zones: number | readonly number[];
  /** Racks in each zone, filled in turn; 1 unless given. */
  readonly racks?: number;
  /** The nodes' weights in turn; 1 unless given. */
  readonly weights?: readonly number[];
}

export type Change = 'place' | 'join' | 'leave';

export interface SimulationRow extends PlacementQuality {
  /** The number of the cluster, from 1. */
  readonly cluster: number;
  readonly change: Change;
  readonly nodes: number;
  readonly zones: number;
  readonly N: number;
  readonly Q: number;
  readonly ms: number;
}

export interface SimulationSummary {
  readonly clusters: number;
  readonly placements: number;
  readonly violations: number;
  /** The worst load / target, over all members, and over those with at least 20 slots for each unit of weight. */
  readonly worstOverTarget: number;
  readonly worstOverTargetFrom20: number;
  readonly worstExcess: number;
  readonly worstLeaderExcess: number;
  readonly moves: number;
  readonly lowerBound: number;
  /** The worst moves / lower bound of one change; 1 is perfect. */
  readonly worstMovement: number;
  readonly slowestMs: number;
  readonly totalMs: number;
}

export interface Simulation {
  readonly rows: readonly SimulationRow[];
  readonly summary: SimulationSummary;
}

/** @throws CoterieError SETTING_INVALID, CLUSTER_TOO_SMALL */
export function simulatePlacement(options: SimulationOptions): Simulation {
  const N = inRange('N', options.N ?? 3, 1, MAX_REPLICAS);
  if (options.Q !== undefined) {
    inRange('Q', options.Q, 1, MAX_PARTITIONS);
    if ((options.Q & (options.Q - 1)) !== 0) {
      throw new CoterieError('SETTING_INVALID', `Q must be a power of two, not ${String(options.Q)}`);
    }
  }
  const rows: SimulationRow[] = [];
  if (options.random !== undefined) {
    const count = inRange('random', options.random.count, 1, 1_000_000);
    const random = new PseudoRandom(inRange('seed', options.random.seed, 0, 0xffff_ffff));
    for (let number = 1; number <= count; number += 1) rows.push(...simulateOne(number, randomMembers(random, N), N, options, random));
  } else {
    const members = shapedMembers(options.cluster ?? { nodes: 5, zones: 3 });
    if (members.length < N) {
      throw new CoterieError('CLUSTER_TOO_SMALL', `N=${String(N)} needs at least ${String(N)} nodes, not ${String(members.length)}`);
    }
    rows.push(...simulateOne(1, members, N, options, new PseudoRandom(1)));
  }
  return { rows, summary: summarise(rows) };
}

interface Judged {
  readonly members: readonly PlacementMember[];
  readonly partitions: readonly (readonly number[])[];
}

function simulateOne(
  cluster: number,
  members: readonly PlacementMember[],
  N: number,
  { Q: givenQ, nowMs }: SimulationOptions,
  random: PseudoRandom,
): SimulationRow[] {
  const weight = members.reduce((sum, member) => sum + member.weight, 0);
  let Q = givenQ ?? 1024;
  while (givenQ === undefined && Q < MAX_PARTITIONS && Q * N < 20 * weight) Q *= 2;
  const rows: SimulationRow[] = [];
  const place = (change: Change, next: readonly PlacementMember[], previous?: Judged): Judged => {
    const start = nowMs();
    const partitions = placeReplicas({ members: next, N, Q, ...(previous === undefined ? {} : { previous }) });
    const ms = nowMs() - start;
    const judged = { members: next, partitions };
    const zones = new Set(next.map((member) => member.zone)).size;
    rows.push({ cluster, change, nodes: next.length, zones, N, Q, ms, ...judgePlacement(judged, N, previous) });
    return judged;
  };
  const first = place('place', members);
  const model = members[random.below(members.length)];
  if (model !== undefined) place('join', [...members, { ...model, name: 'joined' }], first);
  const leaver = random.below(members.length);
  if (members.length > N) {
    place(
      'leave',
      members.filter((_, at) => at !== leaver),
      first,
    );
  }
  return rows;
}

function randomMembers(random: PseudoRandom, N: number): PlacementMember[] {
  const nodes = Math.max(N, 3 + random.below(98));
  const zones = 1 + random.below(5);
  const racks = 1 + random.below(3);
  return Array.from({ length: nodes }, (_, at) => ({
    name: `node-${String(at + 1)}`,
    zone: `zone-${String(1 + random.below(zones))}`,
    rack: `rack-${String(1 + random.below(racks))}`,
    weight: 1 + random.below(4),
  }));
}

function shapedMembers(shape: ClusterShape): PlacementMember[] {
  const nodes = inRange('nodes', shape.nodes, 1, MAX_MEMBERS);
  const racks = inRange('racks', shape.racks ?? 1, 1, nodes);
  const weights = shape.weights ?? [1];
  if (weights.length === 0) throw new CoterieError('SETTING_INVALID', 'weights must name at least one weight');
  for (const weight of weights) inRange('a weight', weight, 1, MAX_WEIGHT);
  let zoneOf: number[];
  if (typeof shape.zones === 'number') {
    const zones = inRange('zones', shape.zones, 1, nodes);
    zoneOf = Array.from({ length: nodes }, (_, at) => at % zones);
  } else {
    for (const size of shape.zones) inRange("a zone's number of nodes", size, 1, nodes);
    zoneOf = shape.zones.flatMap((size, zone) => Array.from({ length: size }, () => zone));
    if (zoneOf.length !== nodes) {
      throw new CoterieError('SETTING_INVALID', `zones must add up to the ${String(nodes)} nodes, not ${String(zoneOf.length)}`);
    }
  }
  const inZone = new Map<number, number>();
  return zoneOf.map((zone, at) => {
    const place = inZone.get(zone) ?? 0;
    inZone.set(zone, place + 1);
    const weight = weights[at % weights.length] ?? 1;
    return { name: `node-${String(at + 1)}`, zone: `zone-${String(zone + 1)}`, rack: `rack-${String((place % racks) + 1)}`, weight };
  });
}

function summarise(rows: readonly SimulationRow[]): SimulationSummary {
  const worst = (of: (row: SimulationRow) => number): number => rows.reduce((most, row) => Math.max(most, of(row)), 0);
  const sum = (of: (row: SimulationRow) => number): number => rows.reduce((total, row) => total + of(row), 0);
  return {
    clusters: rows.filter((row) => row.change === 'place').length,
    placements: rows.length,
    violations: sum((row) => row.nodeViolations + row.zoneViolations + row.rackViolations),
    worstOverTarget: worst((row) => row.maxOverTarget),
    worstOverTargetFrom20: worst((row) => row.maxOverTargetFrom20),
    worstExcess: worst((row) => row.maxExcess),
    worstLeaderExcess: worst((row) => row.leaderMaxExcess),
    moves: sum((row) => row.moves),
    lowerBound: sum((row) => row.lowerBound),
    worstMovement: worst((row) => (row.moves === row.lowerBound ? 1 : row.moves / row.lowerBound)),
    slowestMs: worst((row) => row.ms),
    totalMs: sum((row) => row.ms),
  };
}

/** The rows as a text table (the `limit` first), then the summary. */
export function formatSimulation({ rows, summary }: Simulation, limit = 30): string {
  const header = ['cluster', 'change', 'nodes', 'zones', 'N', 'Q', 'violations', 'max/target', 'leaders', 'moves', 'at least', 'ms'];
  const cells = rows
    .slice(0, limit)
    .map((row) => [
      String(row.cluster),
      row.change,
      String(row.nodes),
      String(row.zones),
      String(row.N),
      String(row.Q),
      String(row.nodeViolations + row.zoneViolations + row.rackViolations),
      row.maxOverTarget.toFixed(3),
      row.leaderMaxOverTarget.toFixed(3),
      row.change === 'place' ? '-' : String(row.moves),
      row.change === 'place' ? '-' : String(row.lowerBound),
      row.ms.toFixed(1),
    ]);
  const widths = header.map((title, column) => Math.max(title.length, ...cells.map((line) => line[column]?.length ?? 0)));
  const lines = [header, ...cells].map((line) =>
    line
      .map((cell, column) => (column === 1 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
  if (rows.length > limit) lines.push(`… and ${String(rows.length - limit)} more rows`);
  lines.push(
    '',
    `${String(summary.clusters)} clusters, ${String(summary.placements)} placements in ${summary.totalMs.toFixed(0)} ms (slowest ${summary.slowestMs.toFixed(1)} ms)`,
    `violations of nodes, zones and racks: ${String(summary.violations)}`,
    `load over what the zones permit: at most ${summary.worstOverTargetFrom20.toFixed(4)} with 20 slots per weight unit, ` +
      `${summary.worstOverTarget.toFixed(4)} in all; at most ${summary.worstExcess.toFixed(3)} slots`,
    `leaders over their share by weight: at most ${summary.worstLeaderExcess.toFixed(3)}`,
    `moved by one join or leave: ${String(summary.moves)} replicas in all, lower bound ${String(summary.lowerBound)}, worst ${summary.worstMovement.toFixed(4)} of its bound`,
  );
  return lines.join('\n');
}

function inRange(what: string, value: number, least: number, most: number): number {
  if (!Number.isSafeInteger(value) || value < least || value > most) {
    throw new CoterieError(
      'SETTING_INVALID',
      `${what} must be a whole number from ${String(least)} to ${String(most)}, not ${String(value)}`,
    );
  }
  return value;
}
