/**
 * How much of the time background work (compaction, repair, moves, scrubs) may take, by what it does to clients: additive increase,
 * multiplicative decrease (Chiu and Jain, "Analysis of the increase and decrease algorithms", 1989) on the foreground's p99.
 *
 * The yardstick is learned: the p99 while no background work runs. With any work at the least share, what stays slow is not the work's doing, so
 * the yardstick follows it, slowly.
 *
 * Invariants: the share is from LEAST_SHARE to 1: background work never stops, because what it puts off comes back as a stall; with nobody in the
 * foreground it goes back to 1; no clock is read, whoever calls says what time it is.
 */

import { LatencyWindow } from './latency-window.ts';

/** What background work gets whatever the foreground suffers. */
export const LEAST_SHARE = 0.1;
/** Each quiet or bearable window gives so much more. */
const STEP = 0.05;
/** How many times its quiet p99 the foreground may reach, */
const TOLERANCE = 2;
/** and what it may always reach, in ms: below it nobody suffers. */
const BEARABLE_MS = 5;
/** A window ends after so many ms if enough operations were seen in it, */
const WINDOW_MS = 250;
const ENOUGH = 32;
/** else after so many, with what there is. */
const LONGEST_MS = 2000;
/** Fewer operations in the longest window say that nobody is there. */
const SOMEBODY = 8;
/** Operations after which earlier ones count half, so that a window that nobody ends shows the recent past. */
const MOST_COUNTED = 65_536;
/** The share of a new measurement in the yardstick. */
const GAIN = 0.125;

export interface PaceState {
  /** LEAST_SHARE to 1. */
  share: number;
  /** The foreground's p99 without background work, in ms; undefined until it was seen once. */
  quietMs: number | undefined;
  readonly window: LatencyWindow;
  startedMs: number;
  /** When background work last asked. */
  askedMs: number;
}

/** @param nowMs monotonic, as everywhere here */
export function newPace(nowMs: number): PaceState {
  return { share: 1, quietMs: undefined, window: new LatencyWindow(), startedMs: nowMs, askedMs: -Infinity };
}

/** An operation of a client took so long. */
export function foregroundTook(state: PaceState, ms: number): void {
  state.window.observe(ms);
  if (state.window.count >= MOST_COUNTED) state.window.halve();
}

/** Background work asks what share of the time it may take now. */
export function shareForWork(state: PaceState, nowMs: number): number {
  roll(state, nowMs);
  state.askedMs = nowMs;
  return state.share;
}

function roll(state: PaceState, nowMs: number): void {
  const elapsedMs = nowMs - state.startedMs;
  const { count } = state.window;
  if (elapsedMs < WINDOW_MS || (count < ENOUGH && elapsedMs < LONGEST_MS)) return;
  const p99 = count < SOMEBODY ? undefined : state.window.quantile(0.99);
  // While no work asks, the window goes on: it may be hours long, and shows the foreground undisturbed.
  if (nowMs - state.askedMs > LONGEST_MS) undisturbed(state, p99, Math.floor(elapsedMs / WINDOW_MS));
  else judge(state, p99);
  state.window.clear();
  state.startedMs = nowMs;
}

function undisturbed(state: PaceState, p99: number | undefined, windows: number): void {
  if (p99 !== undefined) state.quietMs = follow(state.quietMs, p99);
  state.share = Math.min(1, state.share + windows * STEP);
}

function judge(state: PaceState, p99: number | undefined): void {
  if (p99 === undefined) {
    state.share = Math.min(1, state.share * 2);
    return;
  }
  const mostMs = Math.max(BEARABLE_MS, TOLERANCE * (state.quietMs ?? 0));
  if (p99 <= mostMs) {
    state.share = Math.min(1, state.share + STEP);
    if (state.quietMs !== undefined && p99 < state.quietMs) state.quietMs = follow(state.quietMs, p99);
  } else if (state.share > LEAST_SHARE) {
    state.share = Math.max(LEAST_SHARE, state.share / 2);
  } else {
    state.quietMs = follow(state.quietMs ?? BEARABLE_MS / TOLERANCE, p99);
  }
}

function follow(quietMs: number | undefined, p99: number): number {
  return quietMs === undefined ? p99 : quietMs + GAIN * (p99 - quietMs);
}
