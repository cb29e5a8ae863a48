/**
 * Which writes may have replaced which, from what clients know alone.
 *
 * A write x *may supersede* w when some legal execution has x replace w:
 * - x carries a context that is known to cover w; or
 * - x is blind and was not settled before w began: its coordinator may have seen w, or its hybrid time may be the later one; between two
 *   blind writes the clocks' difference counts too (the documented anomaly of a failover).
 * A write is *accounted for* by an answer when it is in it, or is a delete or an expired value, or was superseded by a write that is
 * accounted for. An acknowledged write that is not accounted for is lost.
 *
 * A write x *certainly supersedes* w when every legal execution in which x took effect has w replaced: x's context covers w, directly or
 * through writes that it covers; or both are blind and x began after w was settled, by more than the clocks differ.
 */

import type { History, WriteRecord } from '../clients/history.ts';

export function maySupersede(history: History, x: WriteRecord, w: WriteRecord): boolean {
  if (x === w || x.outcome === 'none') return false;
  if (!x.blind) return x.covers.includes(w.number);
  const slackUs = w.blind ? history.terms.skewUs : 0;
  return x.settledUs + slackUs >= w.startUs;
}

/**
 * The writes that `x` is known to cover: through its context, and through the contexts of what it covers. Of a write that may have happened
 * twice the context covers perhaps the one time only, so it is not among them. Nor is one that was tried again under its operation id and not
 * acknowledged before `x` began: a second coordinator may make it anew where the first one's copies cannot be reached. A blind one counts only
 * once the clocks' difference has passed too, because time alone decides between the two.
 */
export function covered(history: History, x: WriteRecord): ReadonlySet<number> {
  const found = new Set<number>();
  const left = [...x.covers];
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    if (found.has(next)) continue;
    found.add(next);
    left.push(...(history.write(next)?.covers ?? []));
  }
  for (const number of found) {
    const write = history.write(number);
    const slackUs = write?.blind === true ? history.terms.skewUs : 0;
    if (write === undefined || write.mayRepeat || (write.retried && x.startUs <= write.settledUs + slackUs)) {
      found.delete(number);
    }
  }
  return found;
}

export function certainlySupersedes(history: History, x: WriteRecord, w: WriteRecord): boolean {
  if (x === w) return false;
  if (!x.blind) return covered(history, x).has(w.number);
  return w.blind && x.startUs > w.settledUs + history.terms.skewUs;
}

/** Whether the value of `w` may have expired by `wallMs`. */
export function mayHaveExpired(history: History, w: WriteRecord, wallMs: number): boolean {
  if (w.kind !== 'put') return false;
  return possibleExpiries(history, w).some((atMs) => atMs !== 0 && atMs <= wallMs);
}

/** Every expiry that the value of `w` may carry. */
export function possibleExpiries(history: History, w: WriteRecord): number[] {
  const own = w.expiries.length > 0 ? w.expiries : [0, ...history.writesOf(w.key).flatMap((other) => other.expiries)];
  return [...own, ...history.expiriesOf(w.key).flatMap((change) => (change.outcome === 'none' ? [] : [change.atMs]))];
}

export interface Answer {
  readonly key: string;
  readonly numbers: ReadonlySet<number>;
  /** When the answer was complete: later writes cannot explain it. */
  readonly endUs: number;
  /** The latest wall clock of any node by then. */
  readonly wallMs: number;
}

/** The writes of the key that `answer` accounts for. */
export function accountedFor(history: History, answer: Answer): ReadonlySet<WriteRecord> {
  const writes = history.writesOf(answer.key).filter((write) => write.startUs <= answer.endUs && write.outcome !== 'none');
  const found = new Set<WriteRecord>();
  let fresh: WriteRecord[] = writes.filter(
    (write) => answer.numbers.has(write.number) || write.kind === 'delete' || mayHaveExpired(history, write, answer.wallMs),
  );
  while (fresh.length > 0) {
    for (const write of fresh) found.add(write);
    fresh = writes.filter((write) => !found.has(write) && fresh.some((by) => maySupersede(history, by, write)));
  }
  return found;
}
