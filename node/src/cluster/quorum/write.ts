/**
 * A coordinated write, after the coordinator has merged it into its own copy and sent the object to the other primaries: counting.
 *
 * In a sloppy quorum (the Dynamo paper, section 4.6) a fallback stands in for a primary: replica `n + i` is the fallback of primary `i`.
 *
 * Invariants:
 * - the write is acknowledged once W distinct replicas have it durably, never before; the coordinator's own copy counts like any other.
 * - a primary and its fallback count once between them; without a fallback (a strict quorum) only primaries are counted.
 * - it fails as soon as W can no longer be reached, or at the deadline; the outcome is then unknown, because its effect stands at the
 *   coordinator and may spread from there.
 * - one state object per write; an acknowledgement allocates nothing (events are interned by `acknowledged` and `timedOut`).
 */

import type { ErrorCode, Outcome } from '../../base/errors.ts';
import { invariant, unreachable } from '../../base/errors.ts';

export type WriteEvent =
  /** A fallback takes over for primary `replica` as well: to be told before that primary's failure. */
  | { readonly kind: 'fallback'; readonly replica: number }
  | { readonly kind: 'acknowledged'; readonly replica: number }
  | { readonly kind: 'failed'; readonly replica: number; readonly code: ErrorCode }
  | { readonly kind: 'deadline' };

export interface WriteOut {
  /** W replicas have it: tell the client. */
  acknowledge(): void;
  fail(code: ErrorCode, message: string, outcome: Outcome): void;
  /** Every replica has answered: the state can be forgotten. */
  settle(): void;
}

export interface WriteState {
  readonly n: number;
  readonly w: number;
  /** Bit i: primary i has a fallback, which is replica n + i. */
  fallbacks: number;
  /** Bit i: replica i has it durably. */
  acked: number;
  /** Bit i: replica i will not answer. */
  failed: number;
  /** The first failure's code, where it is the only one. */
  code: ErrorCode | undefined;
  mixed: boolean;
  answered: boolean;
  settled: boolean;
}

export const MAX_REPLICAS = 30;

/**
 * @param n primaries that the write goes to, at most 15; `w` of them must have it, or the fallbacks in their stead
 * @param fallbacks bits of the primaries that have a fallback
 */
export function newWrite(n: number, w: number, fallbacks = 0): WriteState {
  invariant(2 * n <= MAX_REPLICAS && w <= n, 'a write goes to at most 15 primaries and their fallbacks');
  return { n, w, fallbacks, acked: 0, failed: 0, code: undefined, mixed: false, answered: false, settled: false };
}

const ACKNOWLEDGED: readonly WriteEvent[] = Array.from({ length: MAX_REPLICAS }, (_, replica) => ({ kind: 'acknowledged', replica }));
const DEADLINE: WriteEvent = { kind: 'deadline' };

/** The interned event: replica `replica` has the write durably. */
export function acknowledged(replica: number): WriteEvent {
  return ACKNOWLEDGED[replica] ?? DEADLINE;
}

/** The interned event: the write's time is over. */
export function timedOut(): WriteEvent {
  return DEADLINE;
}

/** How many of the acknowledgements counted are a fallback's alone. */
export function fallbacksCounted(state: WriteState): number {
  return bits(served(state) & ~state.acked);
}

/** The primaries that have the write, or whose fallback has it. */
function served({ acked, n }: WriteState): number {
  return (acked | (acked >>> n)) & ((1 << n) - 1);
}

/** The primaries that will not have it, nor a fallback of theirs. */
function lost({ failed, fallbacks, n }: WriteState): number {
  return failed & (~fallbacks | (failed >>> n)) & ((1 << n) - 1);
}

export function writeStep(state: WriteState, event: WriteEvent, out: WriteOut): void {
  switch (event.kind) {
    case 'fallback':
      state.fallbacks |= 1 << event.replica;
      state.settled = false;
      return;
    case 'acknowledged':
      if (((state.acked | state.failed) & (1 << event.replica)) !== 0) return;
      state.acked |= 1 << event.replica;
      if (!state.answered && bits(served(state)) >= state.w) {
        state.answered = true;
        out.acknowledge();
      }
      break;
    case 'failed':
      if (((state.acked | state.failed) & (1 << event.replica)) !== 0) return;
      state.failed |= 1 << event.replica;
      if (state.code === undefined) state.code = event.code;
      else if (state.code !== event.code) state.mixed = true;
      if (!state.answered && state.n - bits(lost(state)) < state.w) {
        state.answered = true;
        out.fail(failureCode(state), shortfall(state), 'unknown');
      }
      break;
    case 'deadline':
      if (!state.answered) {
        state.answered = true;
        out.fail('TIMEOUT', `${count(state)} in time`, 'unknown');
      }
      break;
    default:
      unreachable(event);
  }
  if (!state.settled && state.answered && bits(state.acked | state.failed) === state.n + bits(state.fallbacks)) {
    state.settled = true;
    out.settle();
  }
}

function shortfall(state: WriteState): string {
  const code = state.mixed ? '' : ` with ${String(state.code)}`;
  return `${String(state.w)} of ${String(state.n)} replicas must take the write, and ${String(bits(lost(state)))} failed${code}`;
}

function count(state: WriteState): string {
  return `${String(bits(served(state)))} of the ${String(state.w)} acknowledgements needed were had`;
}

/** The failure's own code where all replicas, the coordinator's too, failed alike; else a time-out, whose outcome is unknown by definition. */
function failureCode(state: WriteState): ErrorCode {
  return bits(lost(state)) === state.n && !state.mixed ? (state.code ?? 'TIMEOUT') : 'TIMEOUT';
}

/** The number of set bits of a 32-bit integer (Hacker's Delight, 5-1). */
export function bits(mask: number): number {
  let x = mask - ((mask >>> 1) & 0x55555555);
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333);
  return Math.imul((x + (x >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
