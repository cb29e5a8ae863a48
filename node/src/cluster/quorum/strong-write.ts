/**
 * A write to a strong key: ABD with several writers (Lynch and Shvartsman 1997). Ask R replicas for their highest tag, store the value under a
 * tag above it at W.
 *
 * With an operation id the write must stay one write however often it is tried, through whatever coordinators, also at the same time. A second
 * attempt under a tag of its own could bring the value back over one that another client wrote in between, when the first attempt's copies, at
 * fewer than W replicas until then, are found and spread by a read. So the tag of an operation is agreed on before anything is stored under it:
 * one decision of Paxos (Lamport 1998) for each operation. The question for the highest tag carries a ballot and is a *promise* as well; a
 * majority that promised must then *accept* the tag, before it is used. A later attempt finds the tag that may have been decided, and uses it.
 *
 * Why an acceptor may forget its promises when its process ends: it accepts only under the very ballot that it remembers to have promised. So
 * whoever accepts for an attempt has promised for it in the same life, after which it accepts for none with a lower ballot; and what it had
 * accepted before, durably, it told with the promise. Two attempts that both have a majority of accepts share such an acceptor.
 *
 * Invariants:
 * - the tag is above every tag that was at W replicas when the first attempt began, because R + W > N;
 * - all that is ever stored for one operation is under one tag (while its record is kept: register.ts);
 * - acknowledged once W replicas have the tag, or a higher one, durably; a failure before anything was stored says `none`, unless there are
 *   signs of another attempt; later it says `unknown`, unless every replica refused for certain.
 */

import type { ByteString } from '../../base/bytes.ts';
import type { ErrorCode, Outcome } from '../../base/errors.ts';
import { invariant, unreachable } from '../../base/errors.ts';
import type { RegisterRecord } from '../versioning/register.ts';
import { counterOf, NO_TAG, type Tag } from '../versioning/tag.ts';
import { bits, MAX_REPLICAS } from './write.ts';

/** What a replica says when it is asked for its tag. */
export interface TagAnswer {
  readonly tag: Tag;
  /** Whether there is a value under it. */
  readonly live: boolean;
}

export type StrongWriteEvent =
  /** `reachable`: the replicas that can be asked, as bits. */
  | { readonly kind: 'start'; readonly reachable: number }
  | { readonly kind: 'tag'; readonly replica: number; readonly answer: TagAnswer }
  /** The promise, with the latest record of the operation if the replica has one. */
  | {
      readonly kind: 'promised';
      readonly attempt: number;
      readonly replica: number;
      readonly answer: TagAnswer;
      readonly record: RegisterRecord | undefined;
    }
  | { readonly kind: 'accepted'; readonly attempt: number; readonly replica: number }
  /** The replica has promised, or accepted, a higher ballot (of attempt `by`), or forgotten this one. */
  | { readonly kind: 'outvoted'; readonly attempt: number; readonly replica: number; readonly by: number }
  /** The replica did not answer what it was asked in this phase and attempt, or does not count. */
  | { readonly kind: 'failed'; readonly phase: Phase; readonly attempt: number; readonly replica: number; readonly code: ErrorCode }
  | { readonly kind: 'stored'; readonly replica: number }
  /** `certain`: it has not taken the value. */
  | { readonly kind: 'storeFailed'; readonly replica: number; readonly code: ErrorCode; readonly certain: boolean }
  /** The pause that `pause` asked for is over. */
  | { readonly kind: 'again' }
  | { readonly kind: 'deadline' };

/** Of a failure: asking for tags or promises, or for acceptance. */
export type Phase = 'ask' | 'agree';

export interface StrongWriteOut {
  askTag(replica: number): void;
  /** Ask for a promise under the ballot of `attempt`. */
  prepare(replica: number, attempt: number): void;
  accept(replica: number, attempt: number, record: RegisterRecord): void;
  /** Make the replica keep the value under `tag`, or what it has with a higher one, durably. */
  store(replica: number, tag: Tag): void;
  /** Attempts outvote each other: wait a little, differently long each time, then feed `again`. */
  pause(attempt: number): void;
  /** `repeated`: an earlier attempt of the operation was found. */
  acknowledge(existed: boolean, repeated: boolean): void;
  fail(code: ErrorCode, message: string, outcome: Outcome): void;
  /** Nothing is under way any more: the state can be forgotten. */
  settle(): void;
}

/** What makes a write an operation that can be tried again. */
export interface StrongOperation {
  readonly id: ByteString;
  readonly bodyHash: ByteString;
}

export interface StrongWriteRules {
  readonly n: number;
  /** Answers without which no tag is chosen: the bucket's R. */
  readonly r: number;
  /** Durable copies to wait for: at least the bucket's W. */
  readonly w: number;
  readonly operation: StrongOperation | undefined;
  /** The tag of this write with that counter; at most one is ever used. */
  readonly tagOf: (counter: number) => Tag;
  /** The ballot of an attempt, unlike those of other coordinators. */
  readonly ballotOf: (attempt: number) => Tag;
}

export interface StrongWriteState {
  readonly rules: StrongWriteRules;
  /** Replicas whose promise and acceptance decide: a majority, and as many as answer whenever a write can succeed. */
  readonly majority: number;
  phase: 'ask' | 'agree' | 'pause' | 'store' | 'over';
  attempt: number;
  /** The highest attempt heard of. */
  heard: number;
  /** Bits by replica, of this phase and attempt. */
  got: number;
  gone: number;
  /** Who promised in this attempt. */
  promised: number;
  top: Tag;
  live: boolean;
  /** The record with the highest ballot that was found. */
  found: RegisterRecord | undefined;
  proposal: RegisterRecord | undefined;
  tag: Tag;
  existed: boolean;
  /** Another attempt of the operation was seen. */
  earlier: boolean;
  /** Another attempt outvotes this one. */
  contested: boolean;
  /** All failures to store were refusals. */
  certain: boolean;
  code: ErrorCode | undefined;
  answered: boolean;
  settled: boolean;
}

export function newStrongWrite(rules: StrongWriteRules): StrongWriteState {
  const { n, r, w } = rules;
  invariant(n <= MAX_REPLICAS && r >= 1 && w >= 1 && r <= n && w <= n, 'a write goes to at most 30 replicas');
  return {
    rules,
    majority: Math.max(r, w, Math.floor(n / 2) + 1),
    phase: 'ask',
    attempt: 1,
    heard: 1,
    got: 0,
    gone: 0,
    promised: 0,
    top: NO_TAG,
    live: false,
    found: undefined,
    proposal: undefined,
    tag: NO_TAG,
    existed: false,
    earlier: false,
    contested: false,
    certain: true,
    code: undefined,
    answered: false,
    settled: false,
  };
}

export function strongWriteStep(state: StrongWriteState, event: StrongWriteEvent, out: StrongWriteOut): void {
  switch (event.kind) {
    case 'start':
      start(state, event.reachable, out);
      break;
    case 'tag':
      if (state.phase !== 'ask') return;
      hear(state, event.replica, event.answer);
      if (bits(state.got) >= state.rules.r) beginStore(state, state.rules.tagOf(counterOf(state.top) + 1), state.live, out);
      break;
    case 'promised':
      promise(state, event, out);
      break;
    case 'accepted':
      if (state.phase !== 'agree' || event.attempt !== state.attempt) return;
      state.got |= 1 << event.replica;
      if (bits(state.got) >= state.majority && state.proposal !== undefined) {
        beginStore(state, state.proposal.tag, state.proposal.existed, out);
      }
      break;
    case 'outvoted':
      if ((state.phase !== 'ask' && state.phase !== 'agree') || event.attempt !== state.attempt) return;
      state.heard = Math.max(state.heard, event.by);
      state.contested = true;
      // Or the replica was started anew: nobody can tell.
      state.earlier = true;
      lose(state, event.replica, 'BUSY', out);
      break;
    case 'failed':
      if (!concerns(state, event)) return;
      lose(state, event.replica, event.code, out);
      break;
    case 'stored':
      state.got |= 1 << event.replica;
      judgeStore(state, out);
      break;
    case 'storeFailed':
      state.gone |= 1 << event.replica;
      state.code ??= event.code;
      if (!event.certain) state.certain = false;
      judgeStore(state, out);
      break;
    case 'again':
      if (state.phase === 'pause') prepareAll(state, out);
      return;
    case 'deadline':
      deadline(state, out);
      break;
    default:
      unreachable(event);
  }
  if (!state.settled && state.answered && (state.phase === 'over' || bits(state.got | state.gone) === state.rules.n)) {
    state.settled = true;
    out.settle();
  }
}

function start(state: StrongWriteState, reachable: number, out: StrongWriteOut): void {
  const { n, r, operation } = state.rules;
  const need = operation === undefined ? Math.max(r, state.rules.w) : state.majority;
  if (bits(reachable) < need) {
    end(state, 'NO_QUORUM', `${String(need)} replicas must take part in the write, and ${String(bits(reachable))} can be reached`, out);
    return;
  }
  if (operation !== undefined) {
    prepareAll(state, out);
    return;
  }
  state.gone = ((1 << n) - 1) & ~reachable;
  for (let replica = 0; replica < n && asks(state); replica += 1) if ((reachable & (1 << replica)) !== 0) out.askTag(replica);
}

function asks(state: StrongWriteState): boolean {
  return state.phase === 'ask';
}

/** Whether a failure is of the phase and attempt that go on; who has not promised will not accept either. */
function concerns(state: StrongWriteState, event: Extract<StrongWriteEvent, { kind: 'failed' }>): boolean {
  if (event.attempt !== state.attempt) return false;
  return event.phase === state.phase || (event.phase === 'ask' && state.phase === 'agree');
}

function prepareAll(state: StrongWriteState, out: StrongWriteOut): void {
  if (state.phase === 'pause') state.attempt = state.heard + 1;
  const { attempt } = state;
  state.heard = attempt;
  state.phase = 'ask';
  state.got = 0;
  state.gone = 0;
  state.promised = 0;
  state.contested = false;
  state.found = undefined;
  for (let replica = 0; replica < state.rules.n && asks(state); replica += 1) out.prepare(replica, attempt);
}

function hear(state: StrongWriteState, replica: number, { tag, live }: TagAnswer): void {
  state.got |= 1 << replica;
  if (tag <= state.top) return;
  state.top = tag;
  state.live = live;
}

function promise(state: StrongWriteState, event: Extract<StrongWriteEvent, { kind: 'promised' }>, out: StrongWriteOut): void {
  const { operation } = state.rules;
  if (operation === undefined || event.attempt !== state.attempt) return;
  if (state.phase === 'agree' && state.proposal !== undefined) {
    // Late, but as good as the others.
    state.promised |= 1 << event.replica;
    out.accept(event.replica, state.attempt, state.proposal);
    return;
  }
  if (state.phase !== 'ask') return;
  hear(state, event.replica, event.answer);
  state.promised |= 1 << event.replica;
  const { record } = event;
  if (record !== undefined) {
    state.earlier = true;
    if (record.bodyHash !== operation.bodyHash) {
      end(state, 'OPERATION_ID_REUSED', 'the operation id was used for another write on this key', out, 'none');
      return;
    }
    if (state.found === undefined || record.ballot > state.found.ballot) state.found = record;
  }
  if (bits(state.got) < state.majority) return;
  propose(state, operation, out);
}

function propose(state: StrongWriteState, operation: StrongOperation, out: StrongWriteOut): void {
  const { rules, attempt, promised, found } = state;
  const rank = Math.max(counterOf(state.top), found?.rank ?? 0) + 1;
  const proposal: RegisterRecord = {
    ...operation,
    ballot: rules.ballotOf(attempt),
    tag: found?.tag ?? rules.tagOf(counterOf(state.top) + 1),
    rank,
    existed: found?.existed ?? state.live,
  };
  state.proposal = proposal;
  state.phase = 'agree';
  state.got = 0;
  // Those that did not promise may yet: their acceptance is asked for then.
  for (let replica = 0; replica < rules.n; replica += 1) if ((promised & (1 << replica)) !== 0) out.accept(replica, attempt, proposal);
}

function beginStore(state: StrongWriteState, tag: Tag, existed: boolean, out: StrongWriteOut): void {
  state.phase = 'store';
  state.tag = tag;
  state.existed = existed;
  state.got = 0;
  state.gone = 0;
  state.code = undefined;
  for (let replica = 0; replica < state.rules.n; replica += 1) out.store(replica, tag);
}

/** A replica takes no part in this phase of this attempt. */
function lose(state: StrongWriteState, replica: number, code: ErrorCode, out: StrongWriteOut): void {
  const { n, r, operation } = state.rules;
  if ((state.got & (1 << replica)) !== 0) return;
  state.gone |= 1 << replica;
  state.code = code;
  const need = operation === undefined ? r : state.majority;
  if (n - bits(state.gone) >= need) return;
  if (state.contested) {
    state.phase = 'pause';
    out.pause(state.attempt);
    return;
  }
  const message = `${String(need)} replicas must answer before the write, and ${String(bits(state.gone))} of ${String(n)} cannot (${code})`;
  end(state, 'NO_QUORUM', message, out);
}

/** Counts what was stored, and what will not be. */
function judgeStore(state: StrongWriteState, out: StrongWriteOut): void {
  const { n, w } = state.rules;
  if (state.answered) return;
  if (bits(state.got) >= w) {
    state.answered = true;
    out.acknowledge(state.existed, state.found !== undefined);
    return;
  }
  const failed = bits(state.gone);
  if (n - failed >= w) return;
  const untouched = state.certain && state.got === 0;
  // While the refusals are certain, the others may make it so that nothing happened.
  if (untouched && failed < n) return;
  state.answered = true;
  const code = state.code ?? 'TIMEOUT';
  const message = `${String(w)} of ${String(n)} replicas must take the write, and ${String(failed)} failed with ${code}`;
  if (untouched && !state.earlier) out.fail(code, message, 'none');
  else out.fail('TIMEOUT', message, 'unknown');
}

function deadline(state: StrongWriteState, out: StrongWriteOut): void {
  const { rules, phase } = state;
  if (state.answered) return;
  const had = bits(state.got);
  if (phase === 'store') {
    state.answered = true;
    out.fail('TIMEOUT', `${String(had)} of the ${String(rules.w)} acknowledgements needed were had in time`, 'unknown');
    return;
  }
  const need = rules.operation === undefined ? rules.r : state.majority;
  const what =
    phase === 'pause' ? 'other attempts of the operation went on' : `${String(had)} of the ${String(need)} answers needed were had`;
  end(state, 'TIMEOUT', `${what}, and the time is over before the write`, out);
}

/** Fails before anything was stored. */
function end(
  state: StrongWriteState,
  code: ErrorCode,
  message: string,
  out: StrongWriteOut,
  outcome: Outcome = state.earlier ? 'unknown' : 'none',
): void {
  state.phase = 'over';
  state.answered = true;
  out.fail(code, message, outcome);
}
