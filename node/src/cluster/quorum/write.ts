/**
 * A coordinated write, after the coordinator has merged it into its own copy and sent the object to the other primaries: counting.
 *
 * Invariants:
 * - the write is acknowledged once W distinct replicas have it durably, never before; the coordinator's own copy counts like any other.
 * - it fails as soon as W can no longer be reached, or at the deadline; the outcome is then unknown, because its effect stands at the
 *   coordinator and may spread from there.
 * - one state object per write; an acknowledgement allocates nothing (events are interned by `acknowledged` and `timedOut`).
 */

import type { ErrorCode, Outcome } from '../../base/errors.ts';
import { invariant, unreachable } from '../../base/errors.ts';

export type WriteEvent =
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

/** @param n replicas that the write goes to, at most 30; `w` of them must have it */
export function newWrite(n: number, w: number): WriteState {
  invariant(n <= MAX_REPLICAS && w <= n, 'a write goes to at most 30 replicas');
  return { n, w, acked: 0, failed: 0, code: undefined, mixed: false, answered: false, settled: false };
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

export function writeStep(state: WriteState, event: WriteEvent, out: WriteOut): void {
  switch (event.kind) {
    case 'acknowledged':
      if (((state.acked | state.failed) & (1 << event.replica)) !== 0) return;
      state.acked |= 1 << event.replica;
      if (!state.answered && bits(state.acked) >= state.w) {
        state.answered = true;
        out.acknowledge();
      }
      break;
    case 'failed':
      if (((state.acked | state.failed) & (1 << event.replica)) !== 0) return;
      state.failed |= 1 << event.replica;
      if (state.code === undefined) state.code = event.code;
      else if (state.code !== event.code) state.mixed = true;
      if (!state.answered && state.n - bits(state.failed) < state.w) {
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
  if (!state.settled && state.answered && bits(state.acked | state.failed) === state.n) {
    state.settled = true;
    out.settle();
  }
}

function shortfall(state: WriteState): string {
  const code = state.mixed ? '' : ` with ${String(state.code)}`;
  return `${String(state.w)} of ${String(state.n)} replicas must take the write, and ${String(bits(state.failed))} failed${code}`;
}

function count(state: WriteState): string {
  return `${String(bits(state.acked))} of the ${String(state.w)} acknowledgements needed were had`;
}

/** The failure's own code where all replicas, the coordinator's too, failed alike; else a time-out, whose outcome is unknown by definition. */
function failureCode(state: WriteState): ErrorCode {
  return bits(state.failed) === state.n && !state.mixed ? (state.code ?? 'TIMEOUT') : 'TIMEOUT';
}

/** The number of set bits of a 32-bit integer (Hacker's Delight, 5-1). */
export function bits(mask: number): number {
  let x = mask - ((mask >>> 1) & 0x55555555);
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333);
  return Math.imul((x + (x >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
