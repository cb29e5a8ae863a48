/**
 * The keys of a memtable in order, for iterators, without a cost to writers: keys are taken from the Map in the order they came, sorted in
 * runs, and small runs are merged. Work is done in steps of a bounded number of keys.
 *
 * Invariant: every run is sorted and has no duplicates; the runs together hold the first `taken` keys of the Map.
 */

import type { ByteString } from '../../base/bytes.ts';

const STEP_KEYS = 2048;
const MERGE_MOST = 32_768;

export class SortedKeys {
  /** Only read them; they are replaced, never changed. */
  runs: readonly (readonly ByteString[])[] = [];
  readonly #map: ReadonlyMap<ByteString, number>;
  readonly #source: Iterator<ByteString>;
  #taken = 0;

  constructor(map: ReadonlyMap<ByteString, number>) {
    this.#map = map;
    // A Map's iterator is live: it goes on to keys added later, as long as it is never asked beyond the last one.
    this.#source = map.keys();
  }

  /** Sorts some of the keys not yet taken; true when there are none left. */
  step(): boolean {
    const count = Math.min(STEP_KEYS, this.#map.size - this.#taken);
    if (count <= 0) return true;
    let run: ByteString[] = [];
    for (let i = 0; i < count; i += 1) {
      const next = this.#source.next();
      if (next.done !== true) run.push(next.value);
    }
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
    return this.#taken === this.#map.size;
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
