/**
 * When a member is DOWN: on the word of two distinct observers, from different zones where possible, each by its own direct probes of the same life
 * of the member. (Orleans' rule of two; SWIM, Cassandra and Riak convict on one.)
 */

/** @param zones the members' zones, numbered */
export interface Court {
  readonly zones: readonly number[];
  /** How many observers it takes; 2. */
  readonly observersNeeded: number;
  /** Whether a member can be expected to say so if it too found the accused silent. */
  readonly canObserve: (member: number) => boolean;
}

/**
 * The observers on whose word the accused is DOWN; undefined where they do not suffice. Observers of one zone suffice only where no other zone has a
 * member that could have joined them: else the fault may lie between the zones.
 */
export function judge(accused: number, observers: readonly number[], court: Court): readonly number[] | undefined {
  const { zones, observersNeeded } = court;
  const heard = observers.filter((observer, at) => observer !== accused && observers.indexOf(observer) === at);
  const [first] = heard;
  if (first === undefined || heard.length < observersNeeded) return undefined;
  if (observersNeeded < 2) return heard.slice(0, observersNeeded);
  const elsewhere = heard.find((observer) => zones[observer] !== zones[first]);
  if (elsewhere !== undefined) return [first, elsewhere];
  for (let member = 0; member < zones.length; member += 1) {
    if (member !== accused && zones[member] !== zones[first] && court.canObserve(member)) return undefined;
  }
  return heard.slice(0, 2);
}
