/** How long it takes from a crash until every other node holds the crashed one for DOWN, and from its restart until it is UP everywhere. */

import type { Dice } from '../world/dice.ts';
import { DetectorCluster } from './cluster.ts';

export interface CrashFigures {
  readonly slowestMs: number;
  readonly medianMs: number;
  /** The slowest return. */
  readonly upMs: number;
  /** Bytes a second of the node that sent, and of the one that received, most while nothing happened. */
  readonly sent: number;
  readonly received: number;
  /** Verdicts on members that were there. */
  readonly falseDowns: number;
  /** Crashes that were not noticed everywhere at all. */
  readonly notDown: number;
}

const WARM_MS = 8000;
const CALM_MS = 10_000;
const PATIENCE_MS = 60_000;
/** Crashes fall anywhere in a round. */
const APART_MS = 3000;

export function measureCrashes(nodes: number, crashes: number, dice: Dice): CrashFigures {
  let crashed = -1;
  let falseDowns = 0;
  const cluster = new DetectorCluster(
    {
      nodes,
      zones: 3,
      loss: 0,
      delayMs: 0.2,
      jitterMs: 2,
      encoded: true,
      onDown: (_by, member) => {
        if (member !== crashed) falseDowns += 1;
      },
    },
    dice,
  );
  cluster.run(WARM_MS);
  cluster.forgetBytes();
  cluster.run(CALM_MS);
  const sent = (Math.max(...cluster.nodes.map((node) => node.bytesSent)) * 1000) / CALM_MS;
  const received = (Math.max(...cluster.nodes.map((node) => node.bytesReceived)) * 1000) / CALM_MS;
  const times: number[] = [];
  let upMs = 0;
  let notDown = 0;
  for (let crash = 0; crash < crashes; crash += 1) {
    cluster.run(dice.fraction() * APART_MS);
    crashed = dice.below(nodes);
    const atMs = cluster.nowMs;
    cluster.crash(crashed);
    let seen = 0;
    const everywhere = (): boolean => {
      // Looked at in full only when the number of verdicts has changed.
      if (cluster.downs === seen) return false;
      seen = cluster.downs;
      return cluster.downAt(crashed) === nodes - 1;
    };
    if (!cluster.runUntil(everywhere, PATIENCE_MS)) notDown += 1;
    times.push(cluster.nowMs - atMs);
    const backMs = cluster.nowMs;
    cluster.restart(crashed);
    let lastUps = -1;
    const nowhere = (): boolean => {
      if (cluster.ups === lastUps) return false;
      lastUps = cluster.ups;
      return cluster.downAt(crashed) === 0;
    };
    if (!cluster.runUntil(nowhere, PATIENCE_MS)) notDown += 1;
    upMs = Math.max(upMs, cluster.nowMs - backMs);
    crashed = -1;
  }
  times.sort((a, b) => a - b);
  return { slowestMs: times.at(-1) ?? 0, medianMs: times[times.length >> 1] ?? 0, upMs, sent, received, falseDowns, notDown };
}
