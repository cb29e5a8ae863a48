/**
 * How often a node gossips, to how many, how much in one message, and how long it waits before it speaks ill of another.
 *
 * The interval and the fanout grow with the cluster, so that a member is contacted by some other one within a fraction of a second while each
 * node's own traffic stays bounded.
 */

/** An answer is expected within so many milliseconds; a member that owes one for longer is avoided, and asked again this often. */
export const PROBE_MS = 500;

/** Until then it is asked again this often: a lost message should not look like the beginning of a silence. */
export const RETRY_MS = 150;

/**
 * A member that has left every probe unanswered for so long is accused, in milliseconds. More than the two seconds that a process may stand still
 * (a collection of garbage, a stalled disk, a moved machine), with time for an answer to come.
 */
export const SILENCE_MS = 2600;

/** Probes that must have gone unanswered within that time. */
export const LEAST_PROBES = 6;

/** A member of which nothing was ever heard is given so long from this node's own start: a cluster does not start all at once. */
export const FIRST_WORD_MS = 10_000;

/** How often news (accusations, and lives that refute them) are passed on while they are new, in milliseconds. */
export const NEWS_MS = 100;

/** A step that comes so much later than it was due shows that this node itself was held up, in milliseconds. */
export const LATE_MS = 200;

/** How far a node may doubt itself: it then takes up to 1 + this times as long to accuse (Lifeguard's local health multiplier). */
export const MOST_DOUBT = 4;

/** How often the patience with one member doubles, each time that member showed it had been accused wrongly. */
export const MOST_DOUBLINGS = 4;

/** Members whose answers a node waits for at a time, with probe after probe. */
export const MOST_WATCHED = 16;

/** Nodes that a rumour of silence should make probe; in a larger cluster each hearer does with that chance. */
const WANTED_PROBERS = 24;

/** Bounds of one message. */
export const MOST_ROWS = 128;
export const MOST_ACCUSATIONS = 16;
export const MOST_INTRODUCTIONS = 4;

export interface Pace {
  readonly intervalMs: number;
  /** Members that one round goes to. */
  readonly fanout: number;
  /** Times that a node passes on a piece of news, one receiver each. */
  readonly retellings: number;
  /** A heartbeat that has not risen for so long makes a node probe the member itself, in milliseconds. */
  readonly staleMs: number;
  /** The chance, of 2^32, that a rumour of silence makes a node probe. */
  readonly probeChance: number;
}

/** @param members of the cluster, at least 1 */
export function paceOf(members: number): Pace {
  // The number of bits of n - 1: the logarithm to base 2, rounded up, without floating point.
  const bits = 32 - Math.clz32(Math.max(0, members - 1));
  const intervalMs = 700 + 50 * bits;
  return {
    intervalMs,
    fanout: Math.min(Math.max(0, members - 1), Math.max(2, Math.ceil((2 * bits) / 5))),
    retellings: 2 * Math.max(2, bits),
    staleMs: intervalMs * (8 + Math.ceil(members / 16)),
    probeChance: Math.min(2 ** 32, Math.ceil((2 ** 32 * WANTED_PROBERS) / Math.max(1, members))),
  };
}
