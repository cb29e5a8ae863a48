/**
 * The failure detector of one node: gossip of heartbeats, probes of its own, and what it concludes.
 *
 * - *Avoided* is this node's own decision: the member owes it an answer for longer than a probe takes.
 * - *Accused*: this node's direct probes of one life of the member went unanswered for SILENCE_MS. It says so to others. A rumour of it makes who hears it
 *   probe the member itself, and nothing more.
 * - *DOWN* is the verdict on two accusations (verdict.ts). It stands until the member itself is heard, has announced a newer life, or an observer of
 *   the verdict is this node and takes its word back.
 *
 * A member that hears of an accusation takes a new incarnation, which clears it everywhere. An incarnation mints no actors (boot.ts has those).
 *
 * Who is slow doubts itself first (Lifeguard, Dadgar et al., 2018): a step that comes late, answers that fail to come from several members, and
 * accusations of this node itself make it take longer to accuse; a node that hears nobody accuses nobody; and one that was accused takes back what it
 * had said of others.
 *
 * Invariants: times are this node's monotonic milliseconds, and no other clock matters; only a node's own unanswered probes make it an observer; with
 * two members or fewer nobody is ever DOWN; messages and waiting lists are bounded (pace.ts); the own incarnation only grows.
 */

import { unreachable } from '../../base/errors.ts';
import type { Detector } from './detector-state.ts';
import { compose, hasNews } from './detector-message.ts';
import { type Accusation, type Gossip, ROW } from './gossip.ts';
import {
  FIRST_WORD_MS,
  LATE_MS,
  LEAST_PROBES,
  MOST_DOUBLINGS,
  MOST_DOUBT,
  MOST_WATCHED,
  NEWS_MS,
  PROBE_MS,
  RETRY_MS,
  SILENCE_MS,
} from './pace.ts';
import { judge } from './verdict.ts';

/** One in so many members is looked at for a heartbeat that stands still, in each round. */
const STALE_SHARE = 8;

export type DetectorEvent =
  /** Time has passed; due at `Detector.wakeMs` at the latest. */
  | { readonly kind: 'tick'; readonly nowMs: number }
  /** A member's message, to be replied to. */
  | { readonly kind: 'asked'; readonly member: number; readonly gossip: Gossip; readonly nowMs: number }
  /** A member's reply to one of ours. */
  | { readonly kind: 'answered'; readonly member: number; readonly gossip: Gossip; readonly nowMs: number }
  /** A member owes this node another kind of answer for PROBE_MS. */
  | { readonly kind: 'waits'; readonly member: number; readonly nowMs: number }
  /** What this node says of its load from now on. */
  | { readonly kind: 'load'; readonly load: number };

export type UpReason =
  /** It was heard. */
  | 'heard'
  /** It has a newer life. */
  | 'announced'
  /** This node took its own word back. */
  | 'withdrawn';

export interface DetectorOut {
  /** A message to a member, to which it will reply. */
  send(member: number, gossip: Gossip): void;
  /** The reply to the message that is being handled. */
  reply(gossip: Gossip): void;
  down(member: number, incarnation: number, observers: readonly number[]): void;
  up(member: number, reason: UpReason): void;
  avoid(member: number, avoided: boolean): void;
  /** This node has found a member silent. */
  accuse(member: number, incarnation: number): void;
  /** This node was accused, or remembered from an earlier life, and has taken a new incarnation. */
  refute(incarnation: number): void;
}

export function detectorStep(state: Detector, event: DetectorEvent, out: DetectorOut): void {
  switch (event.kind) {
    case 'tick':
      tick(state, event.nowMs, out);
      return;
    case 'asked': {
      const { member, gossip, nowMs } = event;
      hear(state, member, gossip, nowMs, out);
      out.reply(compose(state, member, gossip.exchange));
      break;
    }
    case 'answered':
      state.doubt = Math.max(0, state.doubt - 1);
      hear(state, event.member, event.gossip, event.nowMs, out);
      break;
    case 'waits': {
      const { member, nowMs } = event;
      if (state.owedMs[member] === Infinity && !state.verdicts.has(member)) {
        probe(state, member, nowMs, out);
        avoid(state, member, true, out);
      }
      break;
    }
    case 'load':
      state.load = event.load;
      return;
    default:
      unreachable(event);
  }
  if (hasNews(state)) wake(state, Math.max(state.newsMs, event.nowMs));
}

function tick(state: Detector, nowMs: number, out: DetectorOut): void {
  const lateMs = nowMs - state.wakeMs;
  if (lateMs >= LATE_MS) {
    // Nothing was read meanwhile: what the others owe is counted without that time.
    state.doubt = Math.min(MOST_DOUBT, state.doubt + 1);
    for (const member of state.watched) state.owedMs[member] = (state.owedMs[member] ?? 0) + lateMs;
    state.lastHeardMs += lateMs;
  }
  for (let at = state.watched.length - 1; at >= 0; at -= 1) watch(state, at, nowMs, out);
  for (const member of state.accusations.members()) convict(state, member, nowMs, out);
  if (nowMs >= state.roundMs) round(state, nowMs, out);
  if (hasNews(state) && nowMs >= state.newsMs) {
    state.newsMs = nowMs + NEWS_MS;
    for (let sent = 0; sent < state.pace.fanout && hasNews(state); sent += 1) {
      const member = state.order[state.rules.random() % state.order.length] ?? 0;
      out.send(member, compose(state, member, false));
    }
  }
  plan(state, nowMs);
}

/** One round: a heartbeat, and a part of the list to a few others, whose answers are awaited. */
function round(state: Detector, nowMs: number, out: DetectorOut): void {
  const { pace, order } = state;
  // Rounds that a late step has missed are not made up for.
  state.roundMs = Math.max(state.roundMs + pace.intervalMs, nowMs + pace.intervalMs / 2);
  state.heartbeat += 1;
  for (let sent = 0; sent < pace.fanout; sent += 1) {
    if (state.turn >= order.length) reshuffle(state);
    const member = order[state.turn] ?? 0;
    state.turn += 1;
    awaitAnswer(state, member, nowMs);
    out.send(member, compose(state, member, true));
  }
  lookForStale(state, nowMs, out);
}

function reshuffle(state: Detector): void {
  const { order, rules } = state;
  for (let at = order.length - 1; at > 0; at -= 1) {
    const other = rules.random() % (at + 1);
    const held = order[at] ?? 0;
    order[at] = order[other] ?? 0;
    order[other] = held;
  }
  state.turn = 0;
}

/** A member whose heartbeat stands still is probed: it may be that nobody else looks at it. A part of the list is looked through in each round. */
function lookForStale(state: Detector, nowMs: number, out: DetectorOut): void {
  const { table, pace, rules, owedMs, verdicts, accusations } = state;
  for (let seen = 0; seen < table.size; seen += STALE_SHARE) {
    state.staleTurn = state.staleTurn + 1 >= table.size ? 0 : state.staleTurn + 1;
    const member = state.staleTurn;
    if (member === rules.self || nowMs - (table.changedMs[member] ?? 0) < pace.staleMs) continue;
    if (owedMs[member] !== Infinity || verdicts.has(member) || accusations.accuses(rules.self, member)) continue;
    probe(state, member, nowMs, out);
    return;
  }
}

/** An answer of the member is awaited from now on, unless it is known to be silent or too many are awaited. */
function awaitAnswer(state: Detector, member: number, nowMs: number): void {
  const { owedMs, probes, probedMs, watched, verdicts, accusations, rules } = state;
  if (owedMs[member] !== Infinity) {
    probes[member] = Math.min(255, (probes[member] ?? 0) + 1);
    probedMs[member] = nowMs;
    return;
  }
  if (verdicts.has(member) || watched.length >= MOST_WATCHED || accusations.accuses(rules.self, member)) return;
  owedMs[member] = nowMs;
  probedMs[member] = nowMs;
  probes[member] = 1;
  watched.push(member);
  wake(state, nowMs + RETRY_MS);
}

/** Sends a small message that must be answered. */
function probe(state: Detector, member: number, nowMs: number, out: DetectorOut): void {
  awaitAnswer(state, member, nowMs);
  out.send(member, compose(state, member, false));
}

/** Looks after one awaited answer: probes again, avoids, accuses. */
function watch(state: Detector, at: number, nowMs: number, out: DetectorOut): void {
  const member = state.watched[at] ?? 0;
  const silentMs = nowMs - (state.owedMs[member] ?? Infinity);
  if (silentMs >= PROBE_MS && state.avoided[member] === 0) {
    state.doubt = Math.min(MOST_DOUBT, state.doubt + 1);
    avoid(state, member, true, out);
  }
  if (mayAccuse(state, member, silentMs, nowMs)) accuse(state, member, nowMs, out);
  else if (nowMs >= retryAt(state, member)) probe(state, member, nowMs, out);
}

/** When a member that owes an answer is asked again. */
function retryAt(state: Detector, member: number): number {
  const probedMs = state.probedMs[member] ?? 0;
  return probedMs + (probedMs - (state.owedMs[member] ?? 0) < PROBE_MS - RETRY_MS ? RETRY_MS : PROBE_MS);
}

/** How long the member must have been silent to this node to be accused by it. */
function silenceNeeded(state: Detector, member: number): number {
  return SILENCE_MS * (1 + state.doubt) * 2 ** (state.doublings[member] ?? 0);
}

function mayAccuse(state: Detector, member: number, silentMs: number, nowMs: number): boolean {
  if (state.table.size < 3 || silentMs < silenceNeeded(state, member) || (state.probes[member] ?? 0) < LEAST_PROBES) return false;
  // Who hears nobody is cut off himself.
  if (nowMs - state.lastHeardMs > SILENCE_MS) return false;
  return state.table.incarnations[member] !== 0 || nowMs - state.startedMs >= FIRST_WORD_MS;
}

function accuse(state: Detector, member: number, nowMs: number, out: DetectorOut): void {
  const { accusations, table, rules, incarnation, pace } = state;
  forget(state, member);
  const accused = table.incarnations[member] ?? 0;
  accusations.add({ member, incarnation: accused, observer: rules.self, observerIncarnation: incarnation }, pace.retellings);
  out.accuse(member, accused);
  convict(state, member, nowMs, out);
}

/** Judges the member's case; DOWN, unless this node has heard it lately itself. */
function convict(state: Detector, member: number, nowMs: number, out: DetectorOut): void {
  const { accusations, verdicts, rules, table, heardMs } = state;
  if (table.size < 3 || verdicts.has(member) || nowMs - (heardMs[member] ?? -Infinity) < SILENCE_MS) return;
  const incarnation = accusations.incarnationOf(member);
  if (incarnation < (table.incarnations[member] ?? 0)) return;
  const observers = accusations.witnesses(member).map(({ observer }) => observer);
  const verdict = judge(member, observers, {
    zones: rules.zones,
    observersNeeded: rules.observersNeeded,
    canObserve: (other) => !verdicts.has(other) && !accusations.accused(other),
  });
  if (verdict === undefined) return;
  verdicts.set(member, { incarnation, observers: verdict });
  forget(state, member);
  avoid(state, member, true, out);
  out.down(member, incarnation, verdict);
}

/** The member is no longer waited for. */
function forget(state: Detector, member: number): void {
  state.owedMs[member] = Infinity;
  state.probes[member] = 0;
  const at = state.watched.indexOf(member);
  if (at >= 0) state.watched.splice(at, 1);
}

function avoid(state: Detector, member: number, avoided: boolean, out: DetectorOut): void {
  if ((state.avoided[member] === 1) === avoided) return;
  state.avoided[member] = avoided ? 1 : 0;
  out.avoid(member, avoided);
}

function acquit(state: Detector, member: number, reason: UpReason, out: DetectorOut): void {
  if (state.verdicts.delete(member)) out.up(member, reason);
}

/** A member's own message: it is there; and what it says of others. */
function hear(state: Detector, member: number, gossip: Gossip, nowMs: number, out: DetectorOut): void {
  const { table, accusations, rules } = state;
  state.heardMs[member] = nowMs;
  state.lastHeardMs = nowMs;
  state.said[member] = gossip.incarnation;
  state.doublings[member] = 0;
  if (state.owedMs[member] !== Infinity) forget(state, member);
  avoid(state, member, false, out);
  const verdict = state.verdicts.get(member);
  if (verdict !== undefined && gossip.incarnation >= verdict.incarnation) acquit(state, member, 'heard', out);
  if (!accusations.empty) accusations.withdraw(rules.self, member);
  if (gossip.store !== undefined) table.introduce(member, gossip.incarnation, gossip.store);
  learn(state, member, gossip.incarnation, gossip.heartbeat, gossip.load, gossip.epoch, nowMs, out);
  // Numbered by another topology, its members are not these.
  if (gossip.epoch !== state.epoch) return;
  const { rows } = gossip;
  for (let at = 0; at + ROW <= rows.length; at += ROW) {
    const other = rows[at] ?? 0;
    const incarnation = rows[at + 1] ?? 0;
    const heartbeat = rows[at + 2] ?? 0;
    if (other === rules.self) hearOfSelf(state, incarnation, heartbeat, out);
    else if (other < table.size) learn(state, other, incarnation, heartbeat, rows[at + 3] ?? 0, rows[at + 4] ?? 0, nowMs, out);
  }
  for (const { member: other, incarnation, store } of gossip.introductions) {
    if (other !== rules.self && other < table.size) table.introduce(other, incarnation, store);
  }
  for (const accusation of gossip.accusations) hearAccusation(state, accusation, nowMs, out);
}

function learn(
  state: Detector,
  member: number,
  incarnation: number,
  heartbeat: number,
  load: number,
  epoch: number,
  nowMs: number,
  out: DetectorOut,
): void {
  const { table, accusations, rules, pace } = state;
  if (table.learn(member, incarnation, heartbeat, load, epoch, nowMs) !== 'reborn') return;
  if (!accusations.empty) {
    accusations.lapse(member, incarnation);
    if (accusations.accused(member) && accusations.incarnationOf(member) < incarnation) {
      if (accusations.accuses(rules.self, member)) state.doublings[member] = Math.min(MOST_DOUBLINGS, (state.doublings[member] ?? 0) + 1);
      accusations.drop(member);
      state.cleared.set(member, pace.retellings);
    }
  }
  // Silence must be that of one life.
  if (state.owedMs[member] !== Infinity) {
    state.owedMs[member] = nowMs;
    state.probes[member] = 0;
  }
  acquit(state, member, 'announced', out);
}

/** Somebody remembers this node in a life that is not this one. */
function hearOfSelf(state: Detector, incarnation: number, heartbeat: number, out: DetectorOut): void {
  if (incarnation > state.incarnation || (incarnation === state.incarnation && heartbeat > state.heartbeat)) {
    refute(state, incarnation, out);
  }
}

function hearAccusation(state: Detector, accusation: Accusation, nowMs: number, out: DetectorOut): void {
  const { table, accusations, rules, pace, verdicts } = state;
  const { member, incarnation, observer, observerIncarnation } = accusation;
  if (member >= table.size || observer >= table.size || observer === member || observer === rules.self) return;
  if (member === rules.self) {
    if (incarnation < state.incarnation) return;
    state.doubt = Math.min(MOST_DOUBT, state.doubt + 1);
    refute(state, incarnation, out);
    return;
  }
  const known = table.incarnations[member] ?? 0;
  if (incarnation < known || observerIncarnation < (table.incarnations[observer] ?? 0) || verdicts.has(observer)) return;
  if (!accusations.add(accusation, pace.retellings)) return;
  convict(state, member, nowMs, out);
  if (verdicts.has(member) || accusations.accuses(rules.self, member)) return;
  if (rules.accuses(false)) {
    accuse(state, member, nowMs, out);
  } else if (state.owedMs[member] === Infinity && rules.random() < pace.probeChance) {
    // A rumour proves nothing: this node looks for itself.
    probe(state, member, nowMs, out);
  }
}

/** Takes a life above the one that others speak of, and takes back what it said of others in the one before. */
function refute(state: Detector, incarnation: number, out: DetectorOut): void {
  const { accusations, rules, table } = state;
  state.incarnation = incarnation + 1;
  state.announcements = state.pace.retellings;
  if (rules.store !== undefined) table.introduce(rules.self, state.incarnation, rules.store);
  accusations.lapse(rules.self, state.incarnation);
  for (const [member, { observers }] of [...state.verdicts]) if (observers.includes(rules.self)) acquit(state, member, 'withdrawn', out);
  out.refute(state.incarnation);
}

function wake(state: Detector, atMs: number): void {
  if (atMs < state.wakeMs) state.wakeMs = atMs;
}

/** When the next tick is due. */
function plan(state: Detector, nowMs: number): void {
  const { watched, owedMs, accusations, heardMs } = state;
  let wakeMs = state.roundMs;
  if (hasNews(state)) wakeMs = Math.min(wakeMs, state.newsMs);
  for (const member of watched) {
    const owed = owedMs[member] ?? 0;
    wakeMs = Math.min(wakeMs, retryAt(state, member));
    if (state.avoided[member] === 0) wakeMs = Math.min(wakeMs, owed + PROBE_MS);
    const accusedMs = owed + silenceNeeded(state, member);
    if (accusedMs > nowMs) wakeMs = Math.min(wakeMs, accusedMs);
  }
  for (const member of accusations.members()) {
    const ripeMs = (heardMs[member] ?? 0) + SILENCE_MS;
    if (ripeMs > nowMs) wakeMs = Math.min(wakeMs, ripeMs);
  }
  // Never in the past, and not for ever smaller steps.
  state.wakeMs = Math.max(wakeMs, nowMs + 1);
}
