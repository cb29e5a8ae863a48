/** Whether anybody is ever called DOWN who is there: long times of five nodes that lose messages and stand still now and then. */

import type { Dice } from '../world/dice.ts';
import { DetectorCluster } from './cluster.ts';

export interface CalmFigures {
  readonly falseDowns: number;
  readonly accusations: number;
  readonly refutations: number;
  readonly avoided: number;
  readonly pauses: number;
  readonly messages: number;
}

const NODES = 5;
const LOSS = 0.05;
const PAUSE_MS = 2000;
/** Mean time from the end of one pause to the next, of all nodes together. */
const BETWEEN_MS = 10_000;
const HOUR_MS = 3_600_000;

export function measureCalm(hours: number, dice: Dice): CalmFigures {
  let falseDowns = 0;
  const onDown = (): void => {
    falseDowns += 1;
  };
  const cluster = new DetectorCluster({ nodes: NODES, zones: 3, loss: LOSS, delayMs: 0.2, jitterMs: 2, encoded: false, onDown }, dice);
  let pauses = 0;
  for (const endMs = hours * HOUR_MS; cluster.nowMs < endMs;) {
    cluster.run(dice.fraction() * 2 * BETWEEN_MS);
    cluster.pause(dice.below(NODES), PAUSE_MS);
    pauses += 1;
    cluster.run(PAUSE_MS);
  }
  const { accusations, refutations, avoided, messages } = cluster;
  return { falseDowns, accusations, refutations, avoided, pauses, messages };
}
