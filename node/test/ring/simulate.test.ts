import { describe, expect, test } from '@jest/globals';
import type { SimulationOptions } from '../../src/cluster/ring/simulate.ts';
import { formatSimulation, simulatePlacement } from '../../src/cluster/ring/simulate.ts';

let time = 0;
const nowMs = (): number => (time += 5);

describe('coterie ring simulate', () => {
  test('prints a row for the placement, a join and a leave, then the summary', () => {
    const lines = formatSimulation(simulatePlacement({ cluster: { nodes: 6, zones: 3, weights: [1, 2] }, Q: 256, nowMs })).split('\n');
    expect(lines).toEqual([
      'cluster  change  nodes  zones  N    Q  violations  max/target  leaders  moves  at least   ms',
      expect.stringMatching(/^ {6}1 {2}place {7}6 {6}3 {2}3 {2}256 {11}0 {7}1\.00\d {4}1\.\d+ {6}- {9}- {2}5\.0$/),
      expect.stringMatching(/^ {6}1 {2}join {8}7 {6}3 {2}3 {2}256 {11}0 /),
      expect.stringMatching(/^ {6}1 {2}leave {7}5 {6}3 {2}3 {2}256 {11}0 /),
      '',
      '1 clusters, 3 placements in 15 ms (slowest 5.0 ms)',
      'violations of nodes, zones and racks: 0',
      expect.stringContaining('load over what the zones permit: at most 1.'),
      expect.stringContaining('leaders over their share by weight: at most 0.'),
      expect.stringContaining('moved by one join or leave: '),
    ]);
  });

  test('random clusters follow from the seed', () => {
    const run = (seed: number): unknown => simulatePlacement({ random: { count: 3, seed }, nowMs }).rows;
    expect(run(7)).toEqual(run(7));
    expect(run(7)).not.toEqual(run(8));
  });

  test('a cluster of exactly N nodes loses none', () => {
    const { rows } = simulatePlacement({ cluster: { nodes: 3, zones: [2, 1], racks: 2 }, nowMs });
    expect(rows.map(({ change, Q }) => [change, Q])).toEqual([
      ['place', 1024],
      ['join', 1024],
    ]);
  });

  test.each<[string, Omit<SimulationOptions, 'nowMs'>]>([
    ['CLUSTER_TOO_SMALL', { cluster: { nodes: 2, zones: 1 } }],
    ['N must be a whole number from 1 to 7, not 8', { N: 8 }],
    ['Q must be a power of two, not 12', { Q: 12 }],
    ['Q must be a whole number', { Q: 0 }],
    ['nodes must be a whole number from 1 to 4096, not NaN', { cluster: { nodes: Number.NaN, zones: 1 } }],
    ['zones must be a whole number from 1 to 5, not 6', { cluster: { nodes: 5, zones: 6 } }],
    ['zones must add up to the 5 nodes, not 6', { cluster: { nodes: 5, zones: [3, 3] } }],
    ['a weight must be a whole number from 1 to 1024, not 0', { cluster: { nodes: 5, zones: 1, weights: [0] } }],
    ['weights must name at least one weight', { cluster: { nodes: 5, zones: 1, weights: [] } }],
    ['random must be a whole number', { random: { count: 0, seed: 1 } }],
    ['seed must be a whole number', { random: { count: 1, seed: -1 } }],
  ])('refuses: %s', (expected, options) => {
    expect(() => simulatePlacement({ ...options, nowMs })).toThrow(
      expected === 'CLUSTER_TOO_SMALL' ? expect.objectContaining({ code: expected }) : expected,
    );
  });
});
