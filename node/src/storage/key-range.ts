/** Half-open ranges of keys, `[from, to)`; without `to` they reach to the end. */

import type { ByteString } from '../base/bytes.ts';

export interface KeyRange {
  readonly from: ByteString;
  readonly to: ByteString | undefined;
}

export function contains(range: KeyRange, key: ByteString): boolean {
  return key >= range.from && (range.to === undefined || key < range.to);
}

export function anyContains(ranges: readonly KeyRange[], key: ByteString): boolean {
  for (const range of ranges) if (contains(range, key)) return true;
  return false;
}

/** Whether a key of `[min, max]` (both inclusive) may lie in the range. */
export function touches(range: KeyRange, min: ByteString, max: ByteString): boolean {
  return max >= range.from && (range.to === undefined || min < range.to);
}

/** Whether all of `[min, max]` lies in the range. */
export function covers(range: KeyRange, min: ByteString, max: ByteString): boolean {
  return min >= range.from && (range.to === undefined || max < range.to);
}

export function overlap(a: KeyRange, b: KeyRange): boolean {
  return (a.to === undefined || b.from < a.to) && (b.to === undefined || a.from < b.to);
}

/** What of `range` is not in `cut`: none, one or two ranges. */
export function subtract<R extends KeyRange>(range: R, cut: KeyRange): R[] {
  if (!overlap(range, cut)) return [range];
  const rest: R[] = [];
  if (range.from < cut.from) rest.push({ ...range, to: cut.from });
  if (cut.to !== undefined && (range.to === undefined || cut.to < range.to)) rest.push({ ...range, from: cut.to });
  return rest;
}

/** The part of both; `undefined` if they do not overlap. */
export function intersect<R extends KeyRange>(range: R, other: KeyRange): R | undefined {
  if (!overlap(range, other)) return undefined;
  const from = range.from < other.from ? other.from : range.from;
  const to = range.to === undefined || (other.to !== undefined && other.to < range.to) ? other.to : range.to;
  return { ...range, from, to };
}

/** The ranges sorted, with those that touch joined. */
export function normalise(ranges: readonly KeyRange[]): KeyRange[] {
  const sorted = [...ranges].sort((a, b) => (a.from < b.from ? -1 : a.from > b.from ? 1 : 0));
  const joined: KeyRange[] = [];
  for (const range of sorted) {
    const last = joined.at(-1);
    if (last === undefined || (last.to !== undefined && range.from > last.to)) joined.push({ from: range.from, to: range.to });
    else if (last.to !== undefined && (range.to === undefined || range.to > last.to)) {
      joined[joined.length - 1] = { from: last.from, to: range.to };
    }
  }
  return joined;
}

/** The smallest key greater than `key`. */
export function successor(key: ByteString): ByteString {
  return `${key}\0`;
}
