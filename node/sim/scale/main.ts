/**
 * How the failure detector does at the sizes that it is for: `make sim SCALE=1`.
 *
 *   node sim/scale/main.ts [--seed 1] [--hours 1000] [--crashes 20]
 *
 * Measures, in virtual time: from a crash to DOWN at every other node, with 5, 50 and 1,000 nodes; false DOWNs of 5 nodes over --hours hours with
 * 5% of messages lost and nodes that stand still for 2 s; bytes of gossip a second with 1,000 nodes. The last line is a summary with counts.
 * Exits with 1 when a reach is missed, with 2 for wrong use.
 */

import { readFlags, wholeNumber } from '../command/flags.ts';
import { Dice } from '../world/dice.ts';
import { measureCalm } from './calm.ts';
import { measureCrashes } from './crashes.ts';

const values = readFlags({ seed: { type: 'string' }, hours: { type: 'string' }, crashes: { type: 'string' } });
const seed = wholeNumber(values.seed, 1, 'seed', 1);
const hours = wholeNumber(values.hours, 1000, 'hours', 1);
const crashes = wholeNumber(values.crashes, 20, 'crashes', 1);

/** Reaches: see docs/internals/simulator.md. */
const DOWN_WITHIN_MS = 6000;
const MOST_BYTES_A_SECOND = 32 * 1024;

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

const missed: string[] = [];
const downMs: Record<string, number> = {};
let bytesASecond = 0;
for (const nodes of [5, 50, 1000]) {
  const measured = measureCrashes(nodes, crashes, new Dice(seed, nodes));
  const { slowestMs, medianMs, upMs, sent, received, falseDowns, notDown } = measured;
  say(
    `${String(nodes)} nodes: ${String(crashes)} crashes, DOWN everywhere after ${seconds(medianMs)} (median), ${seconds(slowestMs)} (slowest); ` +
      `UP everywhere after a restart within ${seconds(upMs)}; gossip in calm ${kib(sent)} sent and ${kib(received)} received a second by the busiest node`,
  );
  downMs[String(nodes)] = Math.round(slowestMs);
  if (notDown > 0 || slowestMs > DOWN_WITHIN_MS) missed.push(`DOWN at ${String(nodes)} nodes`);
  if (falseDowns > 0) missed.push(`${String(falseDowns)} false DOWNs at ${String(nodes)} nodes`);
  if (nodes === 1000) bytesASecond = Math.round(sent + received);
}
if (bytesASecond > MOST_BYTES_A_SECOND) missed.push('gossip bytes at 1000 nodes');

const calm = measureCalm(hours, new Dice(seed, 0));
say(
  `5 nodes, ${String(hours)} hours, 5% loss, ${String(calm.pauses)} pauses of 2 s: ${String(calm.falseDowns)} false DOWNs, ` +
    `${String(calm.accusations)} accusations by one observer, ${String(calm.refutations)} refuted, ${String(calm.messages)} messages`,
);
if (calm.falseDowns > 0) missed.push(`${String(calm.falseDowns)} false DOWNs in ${String(hours)} hours`);

for (const what of missed) say(`scale: FAILED ${what}`);
const summary = { missed: missed.length, downMs, bytesASecond, hours, ...calm };
say(`scale: 3 sizes, ${String(missed.length)} reaches missed ${JSON.stringify(summary)}`);
process.exitCode = missed.length === 0 ? 0 : 1;

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

function kib(bytes: number): string {
  return `${(bytes / 1024).toFixed(1)} KiB`;
}
