/**
 * A read of a strong key (ABD: Attiya, Bar-Noy, Dolev, "Sharing Memory Robustly in Message-Passing Systems", 1995). All replicas are asked for
 * their tag, one for its value; after R answers the highest tag is what the read answers.
 *
 * Invariants:
 * - the answer has a tag at least as high as that of every write, and every read, that was complete before this read began: each left its tag
 *   at W replicas, and R + W > N;
 * - the answer is given only once its tag is known to be at W replicas: because they said so, or because they were written back to. So no later
 *   read goes behind this one, also when the write itself never completes;
 * - a replica counts only for what it has durably, and only if its store counts (the runtime's part);
 * - what turns out to be stale is written to, also after the answer, until every replica has answered or the time is over.
 */

import type { ErrorCode } from '../../base/errors.ts';
import { invariant, unreachable } from '../../base/errors.ts';
import { NO_TAG, type Tag } from '../versioning/tag.ts';
import { bits, MAX_REPLICAS } from './write.ts';

/** An encoded register and its tag; `bytes` is undefined where the key was never written. */
export interface Tagged {
  readonly tag: Tag;
  readonly bytes: Uint8Array | undefined;
}

const NEVER_WRITTEN: Tagged = { tag: NO_TAG, bytes: undefined };

export type StrongReadEvent =
  /** `reachable`: the replicas that can be asked, as bits; `source` is the one of them that is asked for the value. */
  | { readonly kind: 'start'; readonly reachable: number; readonly source: number }
  | { readonly kind: 'value'; readonly replica: number; readonly content: Tagged }
  | { readonly kind: 'tag'; readonly replica: number; readonly tag: Tag }
  /** No answer will come to the value or tag asked for, or it does not count. */
  | { readonly kind: 'valueFailed'; readonly replica: number; readonly code: ErrorCode }
  | { readonly kind: 'tagFailed'; readonly replica: number; readonly code: ErrorCode }
  | { readonly kind: 'wrote'; readonly replica: number }
  | { readonly kind: 'writeFailed'; readonly replica: number }
  | { readonly kind: 'hedge' }
  | { readonly kind: 'deadline' };

export interface StrongReadOut {
  /** `hedged`: asked although another was asked before and may still answer. */
  askValue(replica: number, hedged: boolean): void;
  askTag(replica: number): void;
  /** Make `replica` keep `content` durably, then feed `wrote` or `writeFailed`. */
  writeBack(replica: number, content: Tagged): void;
  /** `waited`: not before replicas were written back to. */
  answer(content: Tagged, waited: boolean): void;
  fail(code: ErrorCode, message: string): void;
  /** Nothing is under way any more: the state can be forgotten. */
  settle(): void;
}

export interface StrongReadState {
  readonly n: number;
  readonly r: number;
  /** So many replicas must be known to hold what is answered. */
  readonly w: number;
  /** Bits by replica: questions under way. */
  valueAsked: number;
  tagAsked: number;
  writing: number;
  /** Tag known and counted. */
  known: number;
  /** Will not count any more. */
  gone: number;
  /** Refused what was written back: not asked again. */
  unwritable: number;
  readonly tags: Tag[];
  /** Tags of what is being written back. */
  readonly sent: Tag[];
  /** The value with the highest tag that was read. */
  best: Tagged;
  waited: boolean;
  answered: boolean;
  /** The deadline is over: nothing new is begun. */
  over: boolean;
  settled: boolean;
  code: ErrorCode | undefined;
}

/** @param n replicas, `r` must answer and `w` hold the answer; r + w > n */
export function newStrongRead(n: number, r: number, w: number): StrongReadState {
  invariant(n <= MAX_REPLICAS && r >= 1 && r <= n, 'a read asks at most 30 replicas');
  return {
    n,
    r,
    w,
    valueAsked: 0,
    tagAsked: 0,
    writing: 0,
    known: 0,
    gone: 0,
    unwritable: 0,
    tags: [],
    sent: [],
    best: NEVER_WRITTEN,
    waited: false,
    answered: false,
    over: false,
    settled: false,
    code: undefined,
  };
}

export function strongReadStep(state: StrongReadState, event: StrongReadEvent, out: StrongReadOut): void {
  switch (event.kind) {
    case 'start':
      start(state, event.reachable, event.source, out);
      break;
    case 'value':
      state.valueAsked &= ~(1 << event.replica);
      // What a replica holds never goes back: one that shows less than it said has lost something.
      if (event.content.tag < (state.tags[event.replica] ?? NO_TAG)) lose(state, event.replica, 'NOT_SYNCHRONISED');
      else know(state, event.replica, event.content.tag);
      if (event.content.tag > state.best.tag) state.best = event.content;
      break;
    case 'tag':
      state.tagAsked &= ~(1 << event.replica);
      know(state, event.replica, event.tag);
      break;
    case 'valueFailed':
      state.valueAsked &= ~(1 << event.replica);
      lose(state, event.replica, event.code);
      break;
    case 'tagFailed':
      state.tagAsked &= ~(1 << event.replica);
      if ((state.known & (1 << event.replica)) === 0) lose(state, event.replica, event.code);
      break;
    case 'wrote':
      state.writing &= ~(1 << event.replica);
      know(state, event.replica, state.sent[event.replica] ?? NO_TAG);
      break;
    case 'writeFailed':
      state.writing &= ~(1 << event.replica);
      state.unwritable |= 1 << event.replica;
      break;
    case 'hedge':
      if (!state.answered && !state.over) askAnother(state, (1 << state.n) - 1, true, out);
      return;
    case 'deadline':
      state.over = true;
      if (!state.answered) {
        state.answered = true;
        out.fail('TIMEOUT', late(state));
      }
      break;
    default:
      unreachable(event);
  }
  advance(state, out);
}

function late(state: StrongReadState): string {
  const answers = bits(state.known);
  if (answers < state.r) return `${String(answers)} of the ${String(state.r)} answers needed were had in time`;
  const held = bits(holders(state, highest(state)));
  return `the newest value is at ${String(held)} of the ${String(state.w)} replicas that must hold it before it is answered`;
}

function start(state: StrongReadState, reachable: number, source: number, out: StrongReadOut): void {
  state.gone = ((1 << state.n) - 1) & ~reachable;
  if (state.gone !== 0) state.code = 'PEER_UNREACHABLE';
  if (bits(reachable) < state.r) return;
  // All the bits are set before the first question, because its answer may come within the call.
  state.valueAsked = 1 << source;
  state.tagAsked = reachable & ~(1 << source);
  for (let replica = 0; replica < state.n; replica += 1) {
    if (replica !== source && (reachable & (1 << replica)) !== 0) out.askTag(replica);
  }
  out.askValue(source, false);
}

/** What a replica holds only grows. */
function know(state: StrongReadState, replica: number, tag: Tag): void {
  if ((state.gone & (1 << replica)) !== 0) return;
  state.known |= 1 << replica;
  if (tag >= (state.tags[replica] ?? NO_TAG)) state.tags[replica] = tag;
}

function lose(state: StrongReadState, replica: number, code: ErrorCode): void {
  state.known &= ~(1 << replica);
  state.gone |= 1 << replica;
  state.code = code;
}

/** The highest tag that was heard of. */
function highest(state: StrongReadState): Tag {
  let top = state.best.tag;
  for (let replica = 0; replica < state.n; replica += 1) {
    const tag = state.tags[replica] ?? NO_TAG;
    if ((state.known & (1 << replica)) !== 0 && tag > top) top = tag;
  }
  return top;
}

/** The replicas known to hold exactly `tag`. */
function holders(state: StrongReadState, tag: Tag): number {
  let mask = 0;
  for (let replica = 0; replica < state.n; replica += 1) {
    if ((state.known & (1 << replica)) !== 0 && (state.tags[replica] ?? NO_TAG) === tag) mask |= 1 << replica;
  }
  return mask;
}

/** Goes as far as what is known allows. */
function advance(state: StrongReadState, out: StrongReadOut): void {
  if (!state.answered && state.n - bits(state.gone) < state.r) {
    end(state);
    out.fail(
      'NO_QUORUM',
      `${String(state.r)} replicas must answer, and ${String(bits(state.gone))} of ${String(state.n)} cannot (${state.code ?? ''})`,
    );
  }
  if (!state.over && (state.answered || bits(state.known) >= state.r)) resolve(state, out);
  if (!state.settled && state.answered && (state.valueAsked | state.tagAsked | state.writing) === 0) {
    state.settled = true;
    out.settle();
  }
}

function end(state: StrongReadState): void {
  state.answered = true;
  state.over = true;
}

function resolve(state: StrongReadState, out: StrongReadOut): void {
  const top = highest(state);
  const have = holders(state, top);
  if (state.best.tag !== top) {
    // Where a holder is asked already, its value is on the way.
    if ((state.valueAsked & have) === 0) askAnother(state, have, false, out);
    return;
  }
  // Of a key that was never written nothing needs to be spread: no store holds less.
  if (!state.answered && (bits(have) >= state.w || top === NO_TAG)) answer(state, out);
  writeBack(state, top, out);
  if (state.answered) return;
  const hopes = have | state.writing | ((state.valueAsked | state.tagAsked) & ~state.known);
  // Some may have answered within the call.
  if (bits(hopes | holders(state, top)) >= state.w) return;
  end(state);
  out.fail(
    'NO_QUORUM',
    `the newest value is at ${String(bits(have))} replicas, and cannot be brought to the ${String(state.w)} that must hold it before it is answered`,
  );
}

function answer(state: StrongReadState, out: StrongReadOut): void {
  state.answered = true;
  out.answer(state.best, state.waited);
}

/** Writes the value to every replica that is known to hold less. */
function writeBack(state: StrongReadState, top: Tag, out: StrongReadOut): void {
  const content = state.best;
  let stale = 0;
  for (let replica = 0; replica < state.n; replica += 1) {
    const bit = 1 << replica;
    if ((state.known & ~state.writing & ~state.unwritable & bit) !== 0 && (state.tags[replica] ?? NO_TAG) < top) stale |= bit;
  }
  if (stale === 0) return;
  if (!state.answered) state.waited = true;
  state.writing |= stale;
  for (let replica = 0; replica < state.n; replica += 1) if ((stale & (1 << replica)) !== 0) state.sent[replica] = top;
  for (let replica = 0; replica < state.n; replica += 1) if ((stale & (1 << replica)) !== 0) out.writeBack(replica, content);
}

/** Asks one of `among` that was not asked yet for its value: best one whose tag is known to be the highest. */
function askAnother(state: StrongReadState, among: number, hedged: boolean, out: StrongReadOut): void {
  const top = highest(state);
  let chosen = -1;
  for (let replica = 0; replica < state.n; replica += 1) {
    const bit = 1 << replica;
    if ((among & ~state.gone & ~state.valueAsked & bit) === 0) continue;
    if ((state.known & bit) !== 0 && (state.tags[replica] ?? NO_TAG) === top) {
      chosen = replica;
      break;
    }
    if (chosen < 0 && (state.known & bit) === 0) chosen = replica;
  }
  if (chosen < 0) return;
  state.valueAsked |= 1 << chosen;
  out.askValue(chosen, hedged);
}
