/**
 * A range whose content this store has lost (a quarantined block, a broken table) is written again from the other primaries, and only then
 * declared healed.
 *
 * The rule: what `needed` = min(N-1, N-W+1) other primaries hold, W being the lowest W of any bucket, merged key by key. Every acknowledged write of
 * the range is on W primaries, this one perhaps among them, so on W-1 of the N-1 others at least, and N-W+1 of those meet them. With fewer the
 * range stays unknown, however long that takes: a copy made from too few would answer an older value, and count.
 *
 * The range is worked off from its beginning, page by page, so that what was done stays done.
 *
 * Invariants: nothing of a page is stored before all sources have given theirs; a part is healed only when all of it is stored, durably; a source
 * that is not whole itself (not synchronised, or damaged in the range) is none; one event is expected for each thing asked.
 */

import type { ByteString } from '../../base/bytes.ts';
import { unreachable } from '../../base/errors.ts';

export interface RefillEntry {
  readonly key: ByteString;
  readonly object: Uint8Array;
}

export type RefillEvent =
  /** The other primaries that can be asked now, as indexes of members. */
  | { readonly kind: 'start'; readonly members: readonly number[] }
  /** All that a member holds from where was asked up to `end` (exclusive; undefined: to the range's end), in the order of keys. */
  | {
      readonly kind: 'page';
      readonly member: number;
      readonly entries: readonly RefillEntry[];
      readonly end: ByteString | undefined;
      readonly whole: boolean;
    }
  | { readonly kind: 'refused'; readonly member: number }
  | { readonly kind: 'stored' }
  | { readonly kind: 'healed' }
  /** Storing or healing failed. */
  | { readonly kind: 'failed' };

export interface RefillOut {
  ask(member: number, from: ByteString, to: ByteString | undefined): void;
  /** The least object that holds both. */
  merge(a: Uint8Array, b: Uint8Array): Uint8Array;
  store(entries: readonly RefillEntry[]): void;
  heal(from: ByteString, to: ByteString | undefined): void;
  done(): void;
  /** Given up for now; `short`: how many more sources it would take, 0 where this store failed. */
  wait(short: number): void;
}

export interface RefillState {
  readonly needed: number;
  readonly to: ByteString | undefined;
  /** Everything before it is healed. */
  position: ByteString;
  spare: number[];
  sources: number[];
  readonly pages: Map<number, { readonly entries: readonly RefillEntry[]; readonly end: ByteString | undefined }>;
  /** Up to where what is being stored reaches. */
  upTo: ByteString | undefined;
  ended: boolean;
}

/** @param needed other primaries that must give what they hold; 0 is refused by `wait`: there is nobody to ask */
export function newRefill(needed: number, from: ByteString, to: ByteString | undefined): RefillState {
  return { needed, to, position: from, spare: [], sources: [], pages: new Map(), upTo: undefined, ended: false };
}

/** How many other primaries are needed. */
export function refillQuorum(n: number, lowestW: number): number {
  return Math.min(n - 1, n - lowestW + 1);
}

export function refillStep(state: RefillState, event: RefillEvent, out: RefillOut): void {
  if (state.ended) return;
  switch (event.kind) {
    case 'start':
      state.spare = [...event.members];
      askMore(state, out);
      return;
    case 'page':
      if (!state.sources.includes(event.member)) return;
      if (!event.whole) {
        lose(state, event.member, out);
        return;
      }
      state.pages.set(event.member, { entries: event.entries, end: event.end });
      if (state.pages.size === state.needed) storePage(state, out);
      return;
    case 'refused':
      lose(state, event.member, out);
      return;
    case 'stored':
      out.heal(state.position, state.upTo);
      return;
    case 'healed':
      if (state.upTo === undefined || state.upTo === state.to) {
        state.ended = true;
        out.done();
        return;
      }
      state.position = state.upTo;
      state.pages.clear();
      for (const member of [...state.sources]) out.ask(member, state.position, state.to);
      return;
    case 'failed':
      state.ended = true;
      out.wait(0);
      return;
    default:
      unreachable(event);
  }
}

/** Asks as many as are needed, for the page that is being gathered. */
function askMore(state: RefillState, out: RefillOut): void {
  const short = state.needed - state.sources.length - state.spare.length;
  if (short > 0 || state.needed === 0) {
    state.ended = true;
    out.wait(Math.max(1, short));
    return;
  }
  while (state.sources.length < state.needed) {
    const member = state.spare.shift();
    if (member === undefined) return;
    state.sources.push(member);
    out.ask(member, state.position, state.to);
  }
}

function lose(state: RefillState, member: number, out: RefillOut): void {
  state.sources = state.sources.filter((source) => source !== member);
  state.pages.delete(member);
  askMore(state, out);
}

function storePage(state: RefillState, out: RefillOut): void {
  let upTo = state.to;
  for (const { end } of state.pages.values()) if (end !== undefined && (upTo === undefined || end < upTo)) upTo = end;
  state.upTo = upTo;
  const merged = new Map<ByteString, Uint8Array>();
  for (const { entries } of state.pages.values()) {
    for (const { key, object } of entries) {
      if (upTo !== undefined && key >= upTo) break;
      const other = merged.get(key);
      merged.set(key, other === undefined ? object : out.merge(other, object));
    }
  }
  out.store([...merged].map(([key, object]) => ({ key, object })));
}
