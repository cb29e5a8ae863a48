/**
 * Surveys placement over random clusters and prints the findings as JSON: `node placement-survey.ts COUNT SEED`.
 * A plain program: under jest it would cost nearly twice the time.
 */

import { simulatePlacement } from '../../src/cluster/ring/simulate.ts';

const [count, seed] = process.argv.slice(2).map(Number);
const nowMs = (): number => performance.now();
const survey = simulatePlacement({ random: { count: count ?? 500, seed: seed ?? 1 }, nowMs });
const { rows } = survey;
const range = (of: (row: (typeof rows)[number]) => number): [number, number] => [Math.min(...rows.map(of)), Math.max(...rows.map(of))];
const timed = (nodes: number, Q: number): number =>
  simulatePlacement({ cluster: { nodes, zones: 3, weights: [1, 2, 3, 4] }, Q, nowMs }).summary.slowestMs;

process.stdout.write(
  JSON.stringify({
    summary: survey.summary,
    nodes: range((row) => row.nodes),
    zones: range((row) => row.zones),
    changes: rows.filter((row) => row.change !== 'place').length,
    moved: rows.filter((row) => row.moves > 0).length,
    heavyRows: rows.filter((row) => row.maxOverTargetFrom20 > 1).length,
    freshExcess: Math.max(...rows.filter((row) => row.change === 'place').map((row) => row.maxExcess)),
    ms100: timed(100, 1024),
    ms1000: timed(1000, 8192),
  }),
);
