/**
 * The keys of a memtable in order, for iterators, without a cost to writers: keys are taken in the order they came, sorted in
 * runs, and small runs are merged. Work is done in steps of a bounded number of keys.
 *
 * Invariant: every run is sorted and has no duplicates; the runs together hold the first `taken` keys.
 */

import type { ByteString } from '../../base/bytes.ts';

const STEP_KEYS = 2048;
const MERGE_MOST = 32_768;

export class SortedKeys {
  /** Only read them; they are replaced, never changed. */
  runs: readonly (readonly ByteString[])[] = [];
  readonly #keys: readonly ByteString[];
  #taken = 0;

  /** @param keys distinct; more may come behind them */
  constructor(keys: readonly ByteString[]) {
    this.#keys = keys;
  }

  /** Sorts some of the keys not yet taken; true when there are none left. */
  step(): boolean {
    const taken = this.#taken;
    const count = Math.min(STEP_KEYS, this.#keys.length - taken);
    if (count <= 0) return true;
    let run = this.#keys.slice(taken, taken + count);
    this.#taken += count;
    run.sort(byKey);
    const runs = [...this.runs];
    for (;;) {
      const last = runs.at(-1);
      if (last === undefined || last.length > 2 * run.length || last.length + run.length > MERGE_MOST) break;
      runs.pop();
      run = mergeRuns(last, run);
    }
    runs.push(run);
    this.runs = runs;
    return this.#taken === this.#keys.length;
  }
}

/** The position of the first key >= `key`. */
export function lowerBound(run: readonly ByteString[], key: ByteString): number {
  let low = 0;
  let high = run.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((run[middle] as ByteString) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

function byKey(a: ByteString, b: ByteString): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function mergeRuns(a: readonly ByteString[], b: readonly ByteString[]): ByteString[] {
  const merged: ByteString[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    const left = a[i] as ByteString;
    const right = b[j] as ByteString;
    if (left < right) {
      merged.push(left);
      i += 1;
    } else {
      merged.push(right);
      j += 1;
    }
  }
  while (i < a.length) {
    merged.push(a[i] as ByteString);
    i += 1;
  }
  while (j < b.length) {
    merged.push(b[j] as ByteString);
    j += 1;
  }
  return merged;
}
