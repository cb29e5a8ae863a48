/**
 * "No node is DOWN by the word of fewer than two observers" (DESIGN §4.6), each by its own direct probes.
 *
 * What the nodes say of their probes is not asked: the world saw which of them wrote to whom, and what came back.
 */

import type { Violation } from './survival.ts';

/** What a node's log says when it counts a member as DOWN. */
export interface DownClaim {
  readonly by: string;
  readonly member: string;
  readonly observers: readonly string[];
}

/** For how long one node wrote to another, or tried to connect to it, and nothing came back. */
export interface Silence {
  readonly ms: number;
  readonly attempts: number;
}

/** A little less than the detector asks for: clocks drift. */
const LEAST_SILENCE_MS = 2550;
/** One attempt to connect, with its handshake, may last that long. */
const LEAST_ATTEMPTS = 1;

/** @param longest the longest silence of the member's present life that the world saw between two nodes */
export function checkTwoObservers(claim: DownClaim, longest: (observer: string, member: string) => Silence): Violation[] {
  const { by, member, observers } = claim;
  const fail = (why: string): Violation[] => [
    { checker: 'two-observers', message: `${by} counts ${member} as DOWN on the word of ${observers.join(' and ')}: ${why}` },
  ];
  if (new Set(observers).size < 2) return fail('fewer than two observers');
  if (observers.includes(member)) return fail('one of them is the member itself');
  for (const observer of observers) {
    const { ms, attempts } = longest(observer, member);
    if (ms < LEAST_SILENCE_MS || attempts < LEAST_ATTEMPTS) {
      return fail(`${observer} found it silent for ${String(Math.round(ms))} ms only, in ${String(attempts)} attempts`);
    }
  }
  return [];
}
