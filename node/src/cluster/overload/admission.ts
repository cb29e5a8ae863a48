/**
 * Which operations a node begins, which wait, which it refuses before any effect.
 *
 * Two queues can grow. That of the event loop lies in the kernel's socket buffers: a turn of the loop that takes long is its sign, and what a
 * turn has no time for is refused there and then, because a refusal costs a small part of what the operation would. That of the operations under
 * way (replicas, disks) is bounded by a limit that follows what the node sustains; what comes above it waits in line.
 *
 * Order and patience are those of Maurer, "Fail at Scale" (2015), after CoDel (Nichols and Jacobson, "Controlling queue delay", 2012): a burst is
 * served in order and may wait; pressure that has lasted for an interval without a break is overload, and then the newest go first and nobody
 * waits longer than a few milliseconds: who has waited long has mostly given up already, and serving in order would make everybody wait so long.
 *
 * The limit is never less than what the node gets done, at its present pace, in a third of the time that an operation may take (Little's law). It falls
 * by a third where operations take much longer than usual or are refused further on, and grows by a quarter where they are not (additive increase
 * would take minutes to come back to thousands), above some hundreds only while half of it is used: else the first moments of overload would let in
 * seconds of work, all of which would come too late. A store that stops its writers for its flushes and compactions makes them wait on purpose, and by
 * a bound of its own: with fewer of them it would stop no earlier, so that what it holds says nothing of the limit.
 *
 * Invariants: no more operations are under way than `limit` was when the last began, and none than its bound; of them and of those in line together
 * there are no more than both bounds; an operation is started or refused exactly once; none is started at or after its deadline; while there is room
 * nothing waits.
 */

import { LatencyWindow } from './latency-window.ts';

/** Pressure without a break for so long is overload, in ms; so long an operation waits while it is not. */
export const INTERVAL_MS = 250;
/** How long an operation waits in line under overload, in ms. */
export const TARGET_MS = 5;
/** What a turn of the loop may take, in ms: longer ones are pressure, and under overload clients get no more of it. */
export const TURN_MS = 25;
/**
 * Operations of clients that every turn serves, however long they take: clients that wait for their answers bring no more than they have under way,
 * and a machine that is slow for another reason is no reason to refuse them.
 */
export const LEAST_PER_TURN = 512;
/** Operations that wait in line under overload, at most: more are not begun within TARGET_MS, and one that waits costs more than a refusal. */
export const LINE_UNDER_OVERLOAD = 32;
/**
 * Operations of which half take so many times as long as usual are more than the node sustains; but none that take less than the first of these, nor
 * are there any that may take longer than the second, in ms. Where more are under way than that, a pause of the disk or of the collector makes all of
 * them too late for clients that wait for a second.
 */
const SLOWER = 3;
const SLOW_LEAST_MS = 120;
const SLOW_MOST_MS = 250;
/** What is usual may grow by so much in an interval: a cluster that is moved to slower disks, or farther apart, is not taken to be overloaded for long. */
const GROWTH = 1.02;
/** The limit never falls below it. */
export const LEAST_LIMIT = 32;
const FALL = 2 / 3;
const RISE = 1.25;
/** After so much of a window its pace is known, in ms. */
const PACE_MS = 25;
/** The shortest and the longest time after which a refused client is asked to come back, in ms. */
const RETRY_FIRST_MS = 100;
const RETRY_LAST_MS = 3200;

/** An operation that waits in line. */
export interface Waiting {
  readonly arrivedMs: number;
  readonly deadlineMs: number;
}

export interface AdmissionBounds {
  /** Operations under way at once, at most. */
  readonly operations: number;
  /** Operations that wait in line beside them, at most. */
  readonly waiting: number;
}

export interface AdmissionState<W extends Waiting> {
  readonly bounds: AdmissionBounds;
  /** What is sustained now: LEAST_LIMIT (or the bound, if that is lower) to `bounds.operations`. */
  limit: number;
  underWay: number;
  /** Oldest first. */
  readonly line: W[];
  /** Since when there has been pressure without a break; Infinity where there is none. */
  pressedSinceMs: number;
  pressedMs: number;
  overloaded: boolean;
  /** How long operations took that ended in this window. */
  readonly window: LatencyWindow;
  windowMs: number;
  /** Most under way in this window, and how many ended with a refusal further on, or ran out of time. */
  peak: number;
  failed: number;
  /** Until when the store has stopped its writers. */
  stoppedMs: number;
  /** Half of the operations of the last window took no longer, in ms. */
  typicalMs: number;
  /** That of a good window without overload; Infinity before there was one. */
  usualMs: number;
}

export interface AdmissionOut<W extends Waiting> {
  start(operation: W): void;
  refuse(operation: W): void;
}

/** @param nowMs monotonic, as everywhere here */
export function newAdmission<W extends Waiting>(bounds: AdmissionBounds, nowMs: number): AdmissionState<W> {
  return {
    bounds,
    limit: Math.min(LEAST_PER_TURN, bounds.operations),
    underWay: 0,
    line: [],
    pressedSinceMs: Infinity,
    pressedMs: -Infinity,
    overloaded: false,
    window: new LatencyWindow(),
    windowMs: nowMs,
    peak: 0,
    failed: 0,
    stoppedMs: -Infinity,
    typicalMs: 0,
    usualMs: Infinity,
  };
}

/** An operation has come: it starts now (and counts as under way), waits (`enqueue` it), or is refused. */
export function arrive(state: AdmissionState<Waiting>, nowMs: number): 'start' | 'wait' | 'refuse' {
  if (canBegin(state, nowMs)) {
    begin(state);
    return 'start';
  }
  press(state, nowMs);
  return state.line.length < lineBound(state, nowMs) ? 'wait' : 'refuse';
}

/** Whether an operation that came now would start, or find a place in line: `arrive`, without one. */
export function hasRoom(state: AdmissionState<Waiting>, nowMs: number): boolean {
  if (canBegin(state, nowMs) || state.line.length < lineBound(state, nowMs)) return true;
  press(state, nowMs);
  return false;
}

function canBegin(state: AdmissionState<Waiting>, nowMs: number): boolean {
  if (state.line.length > 0) return false;
  if (state.underWay < state.limit) return true;
  if (nowMs - state.windowMs >= INTERVAL_MS) judge(state, nowMs);
  else state.limit = Math.max(state.limit, sustained(state, nowMs));
  return state.underWay < state.limit;
}

/** A burst may wait in the place of what is not begun; under overload that would be in vain. */
function lineBound(state: AdmissionState<Waiting>, nowMs: number): number {
  const { operations, waiting } = state.bounds;
  return isOverloaded(state, nowMs) ? Math.min(LINE_UNDER_OVERLOAD, waiting) : waiting + operations - Math.max(state.limit, state.underWay);
}

/** Takes in what `arrive` told to wait, in order of arrival. */
export function enqueue<W extends Waiting>(state: AdmissionState<W>, operation: W): void {
  state.line.push(operation);
}

/** The store has stopped its writers until then: now while it does. To be called before `arrive` and `ended`. */
export function writersStopped(state: AdmissionState<Waiting>, untilMs: number): void {
  state.stoppedMs = untilMs;
}

/**
 * An operation under way is over.
 *
 * @param tookMs undefined for one whose duration says nothing, as a scan's, or a write's which a stop of the store has held
 * @param failed it ran out of time, or was refused further on
 */
export function ended<W extends Waiting>(
  state: AdmissionState<W>,
  nowMs: number,
  tookMs: number | undefined,
  failed: boolean,
  out: AdmissionOut<W>,
): void {
  state.underWay -= 1;
  if (failed) state.failed += 1;
  else if (tookMs !== undefined) state.window.observe(tookMs);
  if (nowMs - state.windowMs >= INTERVAL_MS) judge(state, nowMs);
  if (state.line.length > 0) serve(state, nowMs, out);
}

/** Refuses who has waited too long, and starts who may start: the newest first under overload, else in order. Also to be called now and then. */
export function serve<W extends Waiting>(state: AdmissionState<W>, nowMs: number, out: AdmissionOut<W>): void {
  const { line } = state;
  const overloaded = isOverloaded(state, nowMs);
  const patienceMs = overloaded ? TARGET_MS : INTERVAL_MS;
  while (line.length > 0) {
    const oldest = line[0];
    if (oldest === undefined || (nowMs - oldest.arrivedMs < patienceMs && nowMs < oldest.deadlineMs)) break;
    line.shift();
    out.refuse(oldest);
  }
  while (line.length > 0 && state.underWay < state.limit) {
    const next = overloaded ? line.pop() : line.shift();
    if (next === undefined) break;
    // Begun now, it would most likely be answered too late.
    if (nowMs >= next.deadlineMs || nowMs + state.typicalMs > next.deadlineMs) {
      out.refuse(next);
    } else {
      begin(state);
      out.start(next);
    }
  }
  if (line.length > 0) press(state, nowMs);
  else if (state.underWay < state.limit) calm(state);
}

/** Refuses all that wait: nothing is begun any more. */
export function refuseAll<W extends Waiting>(state: AdmissionState<W>, out: AdmissionOut<W>): void {
  for (const operation of state.line.splice(0)) out.refuse(operation);
}

/** A turn of the loop has worked for clients for so long, and on so many operations: whether it has time for one more. */
export function hasTime(state: AdmissionState<Waiting>, nowMs: number, elapsedMs: number, served: number): boolean {
  if (elapsedMs < TURN_MS || served < LEAST_PER_TURN) return true;
  press(state, nowMs, elapsedMs);
  return !state.overloaded;
}

/** A turn of the loop is over, and took so long. */
export function turnEnded(state: AdmissionState<Waiting>, nowMs: number, tookMs: number): void {
  if (tookMs >= TURN_MS) press(state, nowMs, tookMs);
  else if (state.line.length === 0) calm(state);
}

/** There was pressure for a whole interval, and not yet an interval without any. */
export function isOverloaded(state: AdmissionState<Waiting>, nowMs: number): boolean {
  return state.overloaded && nowMs - state.pressedMs <= INTERVAL_MS;
}

/** When a client that is refused now had better come back, in ms: the later the longer this goes on. */
export function retryAfterMs(state: AdmissionState<Waiting>, nowMs: number): number {
  let ms = RETRY_FIRST_MS;
  if (!isOverloaded(state, nowMs)) return ms;
  while (ms < RETRY_LAST_MS && nowMs - state.pressedSinceMs > 2 * ms) ms *= 2;
  return ms;
}

function begin(state: AdmissionState<Waiting>): void {
  state.underWay += 1;
  if (state.underWay > state.peak) state.peak = state.underWay;
}

/** @param forMs the pressure has been there for so long already */
function press(state: AdmissionState<Waiting>, nowMs: number, forMs: number = 0): void {
  // After an interval without any, pressure begins anew; one long turn, or a process that was stopped, is not yet much of it.
  if (nowMs - forMs - state.pressedMs > INTERVAL_MS) {
    state.overloaded = false;
    state.pressedSinceMs = nowMs;
  }
  if (state.pressedSinceMs > nowMs) state.pressedSinceMs = nowMs;
  state.pressedMs = nowMs;
  if (nowMs - state.pressedSinceMs >= INTERVAL_MS) state.overloaded = true;
}

/** One moment without pressure shows that it was a burst; once it was overload, that takes an interval. */
function calm(state: AdmissionState<Waiting>): void {
  if (!state.overloaded) state.pressedSinceMs = Infinity;
}

/** A limit that grew without being nearly reached would let in seconds of work when overload comes back: only what a turn serves anyway is regained so. */
function isUsed({ limit, peak }: AdmissionState<Waiting>): boolean {
  return limit < LEAST_PER_TURN || 2 * peak >= limit;
}

/** Half of the operations may take so long, in ms. */
function slowMs({ usualMs }: AdmissionState<Waiting>): number {
  return Math.min(SLOW_MOST_MS, Math.max(SLOW_LEAST_MS, SLOWER * usualMs));
}

/** As many operations as the node gets done, at the pace of this window, in a third of the time that half of them may take. */
function sustained(state: AdmissionState<Waiting>, nowMs: number): number {
  const elapsedMs = nowMs - state.windowMs;
  const { operations } = state.bounds;
  return elapsedMs < PACE_MS ? 0 : Math.min(operations, Math.floor((state.window.count * slowMs(state)) / SLOWER / elapsedMs));
}

function judge(state: AdmissionState<Waiting>, nowMs: number): void {
  const { window, bounds } = state;
  const { count } = window;
  const medianMs = window.quantile(0.5);
  const quiet = count === 0 && state.failed === 0;
  const stopped = state.stoppedMs >= state.windowMs;
  const stuck = quiet && !stopped && state.underWay >= LEAST_LIMIT;
  const strained = stuck || medianMs > slowMs(state) || state.failed * 10 > count + state.failed;
  const least = Math.min(LEAST_LIMIT, bounds.operations);
  if (strained) state.limit = Math.max(least, Math.floor(Math.min(state.limit, state.peak) * FALL));
  // A window in which the store stopped everything has shown nothing.
  else if ((!quiet || !stopped) && isUsed(state)) state.limit = Math.min(bounds.operations, Math.ceil(state.limit * RISE));
  state.limit = Math.max(state.limit, sustained(state, nowMs));
  state.typicalMs = medianMs;
  if (count > 0 && !isOverloaded(state, nowMs)) state.usualMs = Math.min(medianMs, state.usualMs * GROWTH);
  state.peak = state.underWay;
  state.failed = 0;
  state.windowMs = nowMs;
  window.clear();
}
