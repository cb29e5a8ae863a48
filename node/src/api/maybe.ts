/** Answers that may be there at once: without a promise, nothing waits a turn. */

import type { Maybe } from '../runtime/kv.ts';

/** Told by shape: an answer given at once never has a `then`. */
export function isPromise<T>(answer: Maybe<T>): answer is Promise<T> {
  return typeof answer === 'object' && answer !== null && 'then' in answer;
}

/**
 * Runs `task` for 0 to `count - 1` in order, at most `window` at a time, and answers all results in order; at once where every task
 * does. The first failure is the result; tasks not yet begun then never begin.
 *
 * @param keep makes a result outlast the turn it was given in (answers given at once are borrowed until then)
 */
export function gather<T>(count: number, window: number, task: (index: number) => Maybe<T>, keep: (result: T) => T): Maybe<T[]> {
  const results: T[] = [];
  for (let index = 0; index < count; index += 1) {
    const answer = task(index);
    if (isPromise(answer)) return gatherRest(results.map(keep), index, answer, count, window, task, keep);
    results.push(answer);
  }
  return results;
}

async function gatherRest<T>(
  results: T[],
  index: number,
  first: Promise<T>,
  count: number,
  window: number,
  task: (index: number) => Maybe<T>,
  keep: (result: T) => T,
): Promise<T[]> {
  let next = index + 1;
  let failed = false;
  // Begins a task at once, in this turn, since what it borrows may be gone in the next; what it throws becomes the promise's failure.
  const begin = async (at: number): Promise<T> => {
    const answer = task(at);
    return isPromise(answer) ? answer : keep(answer);
  };
  const lane = async (at: number, answer: Promise<T>): Promise<void> => {
    try {
      results[at] = await answer;
      while (next < count && !failed) {
        const mine = next;
        next += 1;
        results[mine] = await begin(mine);
      }
    } catch (error) {
      failed = true;
      throw error;
    }
  };
  const lanes = [lane(index, first)];
  while (lanes.length < window && next < count) {
    const mine = next;
    next += 1;
    lanes.push(lane(mine, begin(mine)));
  }
  // Every lane is waited for, so that a failure leaves nothing running unwatched.
  for (const end of await Promise.allSettled(lanes)) if (end.status === 'rejected') throw end.reason;
  return results;
}
