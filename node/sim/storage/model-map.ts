/**
 * The dumb map of proof (a): every key's past, so that an answer that was under way for a while can be told right or wrong. What a collection
 * policy may have dropped is optional: there or not, and once it was seen gone it stays gone.
 */

import type { ByteString } from '../../src/base/bytes.ts';
import type { CollectionPolicy } from '../../src/storage/engine.ts';
import type { Entry } from '../../src/storage/entry.ts';
import { sameBytes } from './history.ts';

export interface Wanted extends Entry {
  /** A policy may have collected it. */
  optional: boolean;
}

/** A state of a key: what was written last, and when that was. */
export interface State {
  readonly since: number;
  readonly entry: Wanted | undefined;
}

export type View = Map<ByteString, { readonly entry: Wanted; readonly optional: boolean }>;

export function describe(entry: Entry | undefined): string {
  if (entry === undefined) return 'nothing';
  return `${entry.kind} of ${String(entry.value.length)} bytes, expiry ${String(entry.expireAtMs)}, tag ${String(entry.gcTag)}`;
}

export function same(a: Entry | undefined, b: Entry | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.kind === b.kind && a.expireAtMs === b.expireAtMs && a.gcTag === b.gcTag && sameBytes(a.value, b.value);
}

export class Model {
  readonly #past = new Map<ByteString, State[]>();
  /** Counts every change, so that "between call and answer" has a meaning. */
  tick = 0;

  set(key: ByteString, entry: Wanted | undefined): void {
    this.tick += 1;
    const past = this.#past.get(key);
    if (past === undefined) {
      this.#past.set(key, [
        { since: 0, entry: undefined },
        { since: this.tick, entry },
      ]);
    } else past.push({ since: this.tick, entry });
  }

  now(key: ByteString): Wanted | undefined {
    return this.#past.get(key)?.at(-1)?.entry;
  }

  before(key: ByteString): Wanted | undefined {
    return this.#past.get(key)?.at(-2)?.entry;
  }

  keys(): ByteString[] {
    return [...this.#past.keys()].filter((key) => this.now(key) !== undefined).sort();
  }

  view(): View {
    const view: View = new Map();
    for (const key of this.keys()) {
      const entry = this.now(key);
      if (entry !== undefined) view.set(key, { entry, optional: entry.optional });
    }
    return view;
  }

  /** Why `found` is no state that the key had since `tick`; `undefined` where it is. */
  wrong(key: ByteString, found: Entry | undefined, since: number): string | undefined {
    const past = this.#past.get(key) ?? [{ since: 0, entry: undefined }];
    let first = past.length - 1;
    while (first > 0 && (past[first]?.since ?? 0) > since) first -= 1;
    const window = past.slice(first);
    if (window.some((state) => same(state.entry, found))) return undefined;
    if (found === undefined && window.some((state) => state.entry?.optional === true)) {
      // Collected, then: it must not come back. With other states in the window it may have been any of them.
      if (window.length === 1) this.set(key, undefined);
      return undefined;
    }
    return `${JSON.stringify(key)} answers ${describe(found)}, not ${describe(this.now(key))}`;
  }

  collectable(policy: CollectionPolicy): void {
    for (const key of this.keys()) {
      const entry = this.now(key);
      if (entry !== undefined && collects(policy, key, entry)) entry.optional = true;
    }
  }
}

export function collects(policy: CollectionPolicy, key: ByteString, entry: Entry): boolean {
  if (entry.gcTag === 0 || (entry.kind !== 'tombstone' && entry.expireAtMs === 0)) return false;
  return policy.collectable.some(
    ({ from, to, gcTag, expiredByMs }) =>
      key >= from && (to === undefined || key < to) && entry.gcTag <= gcTag && entry.expireAtMs <= expiredByMs,
  );
}

export function wrongInView(view: View, key: ByteString, found: Entry | undefined): string | undefined {
  const wanted = view.get(key);
  if (same(wanted?.entry, found) || (found === undefined && wanted?.optional === true)) return undefined;
  return `${JSON.stringify(key)} answers ${describe(found)}, not ${describe(wanted?.entry)}`;
}
