/**
 * A coordinated read: the value from one replica, digests from the others; answer after R; on difference fetch, merge, repair, answer.
 *
 * In a sloppy quorum replica `n + i` is a fallback that stands in for primary `i`: it is asked for its hinted copy of the key, and it is never
 * repaired, because it holds what its primary missed and no more.
 *
 * Invariants:
 * - a primary and its fallback count once between them. A fallback without a copy knows nothing of the key: it counts beside a copy that others
 *   have, and never towards "never written".
 * - the answer holds everything that the R answers counted hold; replicas that failed, are damaged or do not count add nothing to R.
 * - where the answers counted differ, the answer is given only after the merged object is at R replicas; so with R > N/2 no later read with the
 *   same R goes back behind it ("blocking" repair; compare Cassandra's monotonic reads).
 * - what turns out to be stale is repaired, also after the answer, until every replica asked has answered or its time is over.
 * - a hedge asks one more replica for the value, once per read.
 * - values and digests are opaque; a digest is equal exactly when the objects are. `''` is the digest of a key that was never written.
 */

import type { ByteString } from '../../base/bytes.ts';
import type { ErrorCode } from '../../base/errors.ts';
import { invariant, unreachable } from '../../base/errors.ts';
import { bits, MAX_REPLICAS } from './write.ts';

/** An encoded object and its digest; `bytes` is undefined exactly when the digest is `''`: never written. */
export interface Content {
  readonly digest: ByteString;
  readonly bytes: Uint8Array | undefined;
}

export const NEVER_WRITTEN: Content = { digest: '', bytes: undefined };

export type ReadEvent =
  /**
   * `reachable`: the primaries that can be asked, as bits; `source` is the one of them that is asked for the value, -1 where there is none.
   * `fallbacks`: bits of the primaries whose fallback is asked.
   */
  | { readonly kind: 'start'; readonly reachable: number; readonly source: number; readonly fallbacks?: number }
  /** A fallback has no copy of the key. */
  | { readonly kind: 'unhinted'; readonly replica: number }
  | { readonly kind: 'value'; readonly replica: number; readonly content: Content }
  /** A value with times so far ahead of this node's clock that it may not be spread: good for an answer only where all agree on it. */
  | { readonly kind: 'suspect'; readonly replica: number; readonly content: Content }
  | { readonly kind: 'digest'; readonly replica: number; readonly digest: ByteString }
  /** No answer will come to the value or digest asked for, or it does not count. */
  | { readonly kind: 'valueFailed'; readonly replica: number; readonly code: ErrorCode }
  | { readonly kind: 'digestFailed'; readonly replica: number; readonly code: ErrorCode }
  | { readonly kind: 'repaired'; readonly replica: number }
  | { readonly kind: 'repairFailed'; readonly replica: number }
  | { readonly kind: 'hedge' }
  | { readonly kind: 'deadline' };

export interface ReadOut {
  /** `hedged`: asked although another was asked before and may still answer. */
  askValue(replica: number, hedged: boolean): void;
  askDigest(replica: number): void;
  /** Make `replica` merge `bytes` durably, then feed `repaired` or `repairFailed`. */
  repair(replica: number, bytes: Uint8Array): void;
  /** `merged`: the replicas differed, and the content was put together. */
  answer(content: Content, merged: boolean): void;
  fail(code: ErrorCode, message: string): void;
  /** Nothing is under way any more: the state can be forgotten. */
  settle(): void;
}

export interface ReadDependencies {
  /** The least object that holds both. */
  merge(a: Content, b: Content): Content;
}

export interface ReadState {
  readonly n: number;
  readonly r: number;
  /** So many equal copies meet every other read's R, and every write's W that overlaps it: max(R, N-R+1). */
  readonly overlap: number;
  readonly deps: ReadDependencies;
  /** Bits of the primaries that have a fallback. */
  fallbacks: number;
  /** Bits by replica: questions under way. */
  valueAsked: number;
  digestAsked: number;
  repairing: number;
  /** Digest known and counted. */
  known: number;
  /** Will not count any more. */
  gone: number;
  /** Refused a repair: not asked again. */
  unrepairable: number;
  readonly digests: ByteString[];
  /** Digests of what repairs under way have sent. */
  readonly sent: ByteString[];
  /** Digests whose content is in `merged`. */
  readonly absorbed: ByteString[];
  merged: Content | undefined;
  /** A value that may not be spread, and bits of the replicas that hold it. */
  suspect: Content | undefined;
  suspects: number;
  answered: boolean;
  /** The deadline is over: nothing new is begun. */
  over: boolean;
  settled: boolean;
  code: ErrorCode | undefined;
}

export function newRead(n: number, r: number, deps: ReadDependencies): ReadState {
  invariant(2 * n <= MAX_REPLICAS && r >= 1 && r <= n, 'a read asks at most 15 primaries and their fallbacks');
  return {
    n,
    r,
    overlap: Math.max(r, n - r + 1),
    deps,
    fallbacks: 0,
    valueAsked: 0,
    digestAsked: 0,
    repairing: 0,
    known: 0,
    gone: 0,
    unrepairable: 0,
    digests: [],
    sent: [],
    absorbed: [],
    merged: undefined,
    suspect: undefined,
    suspects: 0,
    answered: false,
    over: false,
    settled: false,
    code: undefined,
  };
}

export function readStep(state: ReadState, event: ReadEvent, out: ReadOut): void {
  switch (event.kind) {
    case 'start':
      start(state, event, out);
      break;
    case 'unhinted':
      state.valueAsked &= ~(1 << event.replica);
      know(state, event.replica, '');
      break;
    case 'value':
      state.valueAsked &= ~(1 << event.replica);
      if ((state.gone & (1 << event.replica)) === 0) know(state, event.replica, event.content.digest);
      absorb(state, event.content);
      break;
    case 'suspect':
      state.valueAsked &= ~(1 << event.replica);
      if (state.answered) {
        lose(state, event.replica, 'CLOCK_SKEW');
      } else if ((state.gone & (1 << event.replica)) === 0) {
        know(state, event.replica, event.content.digest);
        state.suspect = event.content;
        state.suspects |= 1 << event.replica;
      }
      break;
    case 'digest':
      state.digestAsked &= ~(1 << event.replica);
      // A value that came first says more than the digest that was asked with it.
      if (((state.known | state.gone) & (1 << event.replica)) === 0) know(state, event.replica, event.digest);
      break;
    case 'valueFailed':
      state.valueAsked &= ~(1 << event.replica);
      lose(state, event.replica, event.code);
      break;
    case 'digestFailed':
      state.digestAsked &= ~(1 << event.replica);
      if ((state.known & (1 << event.replica)) === 0) lose(state, event.replica, event.code);
      break;
    case 'repaired':
      state.repairing &= ~(1 << event.replica);
      state.digests[event.replica] = state.sent[event.replica] ?? '';
      break;
    case 'repairFailed':
      state.repairing &= ~(1 << event.replica);
      state.unrepairable |= 1 << event.replica;
      break;
    case 'hedge':
      if (!state.answered && state.merged === undefined) askAnother(state, true, out);
      return;
    case 'deadline':
      state.over = true;
      if (!state.answered) {
        state.answered = true;
        out.fail('TIMEOUT', `${String(counted(state))} of the ${String(state.r)} answers needed were had in time`);
      }
      break;
    default:
      unreachable(event);
  }
  advance(state, out);
}

/** How many of the answers counted are a fallback's alone. */
export function fallbacksAnswering(state: ReadState): number {
  return bits(primariesIn(state, state.known) & ~state.known);
}

/** The primaries that are in `replicas`, themselves or by their fallback. */
function primariesIn({ n }: ReadState, replicas: number): number {
  return (replicas | (replicas >>> n)) & ((1 << n) - 1);
}

/** The answers that count towards R. */
function counted(state: ReadState): number {
  // Nobody's word but a primary's is taken for "never written".
  return bits(state.merged?.bytes === undefined ? state.known & ((1 << state.n) - 1) : primariesIn(state, state.known));
}

/** The primaries that will not count any more, nor a fallback of theirs. */
function lost({ n, gone, fallbacks }: ReadState): number {
  return gone & (~fallbacks | (gone >>> n)) & ((1 << n) - 1);
}

function start(state: ReadState, { reachable, source, fallbacks = 0 }: Extract<ReadEvent, { kind: 'start' }>, out: ReadOut): void {
  const all = (1 << state.n) - 1;
  state.gone = all & ~reachable;
  state.fallbacks = fallbacks;
  if (state.gone !== 0) state.code = 'PEER_UNREACHABLE';
  if (bits(reachable | fallbacks) < state.r) return;
  // All the bits are set before the first question, because its answer may come within the call.
  const sourceBit = source < 0 ? 0 : 1 << source;
  state.valueAsked = sourceBit | (fallbacks << state.n);
  state.digestAsked = reachable & ~sourceBit;
  for (let primary = 0; primary < state.n; primary += 1) {
    if (primary !== source && (reachable & (1 << primary)) !== 0) out.askDigest(primary);
    if ((fallbacks & (1 << primary)) !== 0) out.askValue(state.n + primary, false);
  }
  if (source >= 0) out.askValue(source, false);
}

function know(state: ReadState, replica: number, digest: ByteString): void {
  state.known |= 1 << replica;
  state.digests[replica] = digest;
}

function lose(state: ReadState, replica: number, code: ErrorCode): void {
  state.known &= ~(1 << replica);
  state.gone |= 1 << replica;
  state.code = code;
}

function absorb(state: ReadState, content: Content): void {
  if (state.absorbed.includes(content.digest)) return;
  state.absorbed.push(content.digest);
  if (state.merged === undefined || state.merged.digest === '') state.merged = content;
  else if (content.digest !== '') {
    state.merged = state.deps.merge(state.merged, content);
    if (!state.absorbed.includes(state.merged.digest)) state.absorbed.push(state.merged.digest);
  }
}

/** Answers a suspect value that R replicas agree on; gives up the replicas that hold it where they do not. */
function judgeSuspect(state: ReadState, suspect: Content, out: ReadOut): void {
  let agreed = state.merged === undefined;
  for (let replica = 0; replica < 2 * state.n; replica += 1) {
    const digest = state.digests[replica];
    const speaks = (state.known & (1 << replica)) !== 0 && (replica < state.n || digest !== '');
    if (speaks && digest !== suspect.digest) agreed = false;
  }
  if (agreed && bits(primariesIn(state, state.known)) < state.r) return;
  state.suspect = undefined;
  if (agreed) {
    state.answered = true;
    state.over = true;
    out.answer(suspect, false);
    return;
  }
  for (let replica = 0; replica < 2 * state.n; replica += 1) {
    if ((state.suspects & (1 << replica)) !== 0) lose(state, replica, 'CLOCK_SKEW');
  }
  state.suspects = 0;
}

/** Goes as far as what is known allows. */
function advance(state: ReadState, out: ReadOut): void {
  if (state.suspect !== undefined && !state.answered) judgeSuspect(state, state.suspect, out);
  if (!state.answered && state.n - bits(lost(state)) < state.r) {
    fail(
      state,
      // Replicas that refuse for want of time will answer later.
      state.code === 'BUSY' ? 'BUSY' : 'NO_QUORUM',
      `${String(state.r)} replicas must answer, and ${String(bits(lost(state)))} of ${String(state.n)} cannot (${state.code ?? ''})`,
      out,
    );
  }
  if (!state.over) {
    if (state.merged === undefined) {
      if (state.valueAsked === 0 && state.suspect === undefined && !state.answered) askAnother(state, false, out);
    } else if (state.answered || counted(state) >= state.r) {
      resolve(state, state.merged, out);
    }
  }
  if (!state.answered && state.suspect === undefined && (state.valueAsked | state.digestAsked | state.repairing) === 0) {
    fail(state, 'NO_QUORUM', `${String(state.r)} replicas must answer, and fallbacks alone cannot say that the key was never written`, out);
  }
  if (!state.settled && state.answered && (state.valueAsked | state.digestAsked | state.repairing) === 0) {
    state.settled = true;
    out.settle();
  }
}

function fail(state: ReadState, code: ErrorCode, message: string, out: ReadOut): void {
  state.answered = true;
  state.over = true;
  out.fail(code, message);
}

/** There are R answers, or the client has its own: answers when it may, fetches what differs, repairs what is stale. */
function resolve(state: ReadState, merged: Content, out: ReadOut): void {
  // A fallback's copy is in `merged`, and it needs no more of it.
  let holding = state.known & ~((1 << state.n) - 1);
  let unread = false;
  let fetch = 0;
  let stale = 0;
  for (let replica = 0; replica < state.n; replica += 1) {
    const bit = 1 << replica;
    if ((state.known & bit) === 0) continue;
    const digest = state.digests[replica] ?? '';
    if (digest === merged.digest) {
      holding |= bit;
    } else if (digest !== '' && !state.absorbed.includes(digest)) {
      unread = true;
      if ((state.valueAsked & bit) === 0 && !beingFetched(state, digest, fetch)) fetch |= bit;
    } else if (((state.repairing | state.unrepairable) & bit) === 0) {
      stale |= bit;
    }
  }
  const holders = bits(merged.bytes === undefined ? holding & ((1 << state.n) - 1) : primariesIn(state, holding));
  // Either all that were heard agree, or so many that what the others have cannot have been answered before.
  if (!state.answered && (holders === counted(state) || holders >= state.overlap)) {
    state.answered = true;
    out.answer(merged, state.absorbed.length > 1);
  }
  if (unread) {
    state.valueAsked |= fetch;
    for (let replica = 0; replica < state.n; replica += 1) if ((fetch & (1 << replica)) !== 0) out.askValue(replica, false);
    return;
  }
  const { bytes } = merged;
  if (stale !== 0 && bytes !== undefined) {
    state.repairing |= stale;
    for (let replica = 0; replica < state.n; replica += 1) if ((stale & (1 << replica)) !== 0) state.sent[replica] = merged.digest;
    for (let replica = 0; replica < state.n; replica += 1) if ((stale & (1 << replica)) !== 0) out.repair(replica, bytes);
  }
  if (state.answered) return;
  if (holders >= state.r) {
    state.answered = true;
    out.answer(merged, true);
    return;
  }
  // What is being repaired or has yet to answer may still come to hold it.
  const coming = state.repairing | ((state.valueAsked | state.digestAsked) & ~state.known);
  if (holders + bits(primariesIn(state, coming)) >= state.r) return;
  fail(
    state,
    'NO_QUORUM',
    `the replicas differed, and the newest version is at ${String(holders)} of the ${String(state.r)} replicas that a read waits for`,
    out,
  );
}

/** Whether the content of `digest` is already being fetched, from another replica with the same digest. */
function beingFetched(state: ReadState, digest: ByteString, fetch: number): boolean {
  for (let replica = 0; replica < state.n; replica += 1) {
    const bit = 1 << replica;
    if (((state.valueAsked | fetch) & state.known & bit) !== 0 && state.digests[replica] === digest) return true;
  }
  return false;
}

/** Asks a replica that was not yet asked for the value: best one whose digest is known, else one that may still answer. */
function askAnother(state: ReadState, hedged: boolean, out: ReadOut): void {
  let chosen = -1;
  for (let replica = 0; replica < state.n; replica += 1) {
    const bit = 1 << replica;
    if (((state.gone | state.valueAsked) & bit) !== 0) continue;
    if ((state.known & bit) !== 0) {
      chosen = replica;
      break;
    }
    if (chosen < 0) chosen = replica;
  }
  if (chosen < 0) return;
  state.valueAsked |= 1 << chosen;
  out.askValue(chosen, hedged);
}
