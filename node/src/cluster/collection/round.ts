/**
 * A collecting round, at its leader: takes a batch of partitions from tombstones that all primaries hold to floors below which they are gone.
 *
 *   survey   every member: which generation and floor it has, and whether it keeps hints. Laggards of an earlier round are brought up, and the
 *            round ends.
 *   confirm  every primary: a digest of the candidates, which are the dead entries that it took before the present generation.
 *            Where they differ, the keys concerned are listed, taken anew by whoever holds them (so they are candidates no more) and
 *            read from all primaries, which makes them equal; then the primaries confirm once more.
 *   raise    every member that keeps no hint of the partition: from the present generation to the next, durably. From now on it takes no hint made
 *            under an older one.
 *   drain    every member, until it has no operation of an older generation under way, or they have taken too long.
 *   seal     every member: refuses, durably, what was made under an older generation.
 *   witness  every primary: is sealed, and still the store and boot that confirmed.
 *   collect  every primary: takes the floor, durably. From now on it answers the candidates as never written.
 *   drop     every primary: all have the floor, the space may be reclaimed.
 *
 * Why nothing comes back: once all have confirmed, every primary holds each tombstone or something that has seen it, and a store only grows. So whatever
 * a member reads after it was raised holds the tombstone or came later; what it read before is older than the generation, and refused: the waiting
 * only spares clients the refusals. A hint says the oldest generation of what was merged into it. A member goes to a generation only while it keeps
 * no hint of the partition, and from then on takes none that is older, so once all are raised there is none that is older; and until they are
 * sealed, primaries take older ones, so that what was acknowledged by a hint always comes home. This needs the order: no member is raised before the
 * last primary has confirmed. Hence the answers to `raise` must say that each came from exactly the surveyed generation.
 *
 * A primary may lose its disk at any time. Were that between its own seal and another's, the new disk could be filled from one that is not sealed
 * yet, and take what is too old. Hence the witness: whoever loses its disk after it finds all others sealed, and is sealed by them; whoever lost it
 * before is found out. A store with an older disk has a generation that the others refuse, or would take what is below their floor, and knows by that
 * (generation-table.ts).
 *
 * Invariants: a partition for which any answer is missing or unexpected ends without a floor, and a later round begins anew; every step can be
 * repeated, by this leader or another; a floor that one primary has is good for all, whoever dies.
 */

import type { ByteString } from '../../base/bytes.ts';
import { invariant, unreachable } from '../../base/errors.ts';
import type { PartitionId } from '../../base/ids.ts';
import {
  type CollectionItem,
  type CollectionReport,
  type CollectionState,
  type CollectionStep,
  MOST_RETAKEN,
  type Obstacle,
} from './round-messages.ts';
import { differingKeys, differingSlices, isEmptySlices } from './candidates.ts';

export type Outcome =
  /** Floors are taken everywhere. */
  | { readonly kind: 'collected' }
  /** There was nothing old enough: the generation rose, so that what is young can be collected next time. */
  | { readonly kind: 'raised' }
  | { readonly kind: 'nothing' }
  /** Members stood where an earlier round had left them, and were brought up to each other. */
  | { readonly kind: 'levelled' }
  | { readonly kind: 'blocked'; readonly member: number; readonly why: Obstacle };

export type RoundEvent =
  | { readonly kind: 'start' }
  | { readonly kind: 'answered'; readonly member: number; readonly report: CollectionReport }
  | { readonly kind: 'failed'; readonly member: number }
  /** The reads that `heal` asked for are over, however they ended. */
  | { readonly kind: 'healed' }
  | { readonly kind: 'waited' };

export interface RoundOut {
  ask(member: number, step: CollectionStep, items: readonly CollectionItem[]): void;
  /** Make the primaries of these disk keys equal. */
  heal(keys: readonly ByteString[]): void;
  wait(ms: number): void;
  end(partition: PartitionId, outcome: Outcome): void;
  over(): void;
}

/** Where a partition is: what is done with it next. In the order of a round. */
const STAGES = [
  'survey',
  'level',
  'settle',
  'confirm',
  'list',
  'retake',
  'heal',
  'raise',
  'drain',
  'seal',
  'witness',
  'collect',
  'drop',
] as const;
type Stage = (typeof STAGES)[number];

interface Progress {
  readonly partition: PartitionId;
  readonly primaries: readonly number[];
  /** Raise the generation although nothing is old enough. */
  young: boolean;
  stage: Stage | 'ended';
  generation: number;
  floor: number;
  /** Of the highest floor that a primary has: what others settle for it. */
  floorExpiredByMs: number;
  expiredByMs: number;
  /** Who stands behind, and where. */
  readonly laggards: Map<number, CollectionState>;
  /** Incarnations that have confirmed, by member. */
  readonly confirmed: Map<number, CollectionReport>;
  passes: number;
  slices: readonly number[];
  retaken: readonly ByteString[];
  waitedMs: number;
}

export interface RoundState {
  readonly members: number;
  readonly self: number;
  readonly patienceMs: number;
  readonly partitions: readonly Progress[];
  stage: Stage;
  waiting: Set<number>;
  answers: Map<number, CollectionReport>;
  /** Items by member, as asked. */
  asked: Map<number, readonly CollectionItem[]>;
  over: boolean;
}

export interface RoundTask {
  readonly partition: PartitionId;
  /** Members, by index. */
  readonly primaries: readonly number[];
}

/** Between two polls of members with older operations, growing. */
const POLL_MS = 20;
const LONGEST_POLL_MS = 500;
/** How often a partition whose primaries differ is gone over. */
const MOST_PASSES = 3;

/**
 * @param members how many there are; all take part
 * @param self the leader, by index
 * @param expiredByMs expiries up to here may be collected: some while ago by the leader's clock
 * @param patienceMs how long operations under an older generation may take before they are refused
 */
export function newRound(members: number, self: number, tasks: readonly RoundTask[], expiredByMs: number, patienceMs: number): RoundState {
  return {
    members,
    self,
    patienceMs,
    partitions: tasks.map((task) => ({
      ...task,
      young: false,
      stage: 'survey',
      generation: 0,
      floor: 0,
      floorExpiredByMs: 0,
      expiredByMs,
      laggards: new Map(),
      confirmed: new Map(),
      passes: 0,
      slices: [],
      retaken: [],
      waitedMs: 0,
    })),
    stage: 'survey',
    waiting: new Set(),
    answers: new Map(),
    asked: new Map(),
    over: false,
  };
}

export function roundStep(state: RoundState, event: RoundEvent, out: RoundOut): void {
  if (state.over) return;
  switch (event.kind) {
    case 'start':
    case 'waited':
      begin(state, out);
      return;
    case 'answered':
      if (!state.waiting.delete(event.member)) return;
      state.answers.set(event.member, event.report);
      break;
    case 'failed':
      if (!state.waiting.delete(event.member)) return;
      break;
    case 'healed':
      for (const progress of at(state, 'heal')) progress.stage = 'confirm';
      begin(state, out);
      return;
    default:
      unreachable(event);
  }
  if (state.waiting.size === 0) conclude(state, out);
}

function at(state: RoundState, stage: Stage): Progress[] {
  return state.partitions.filter((progress) => progress.stage === stage);
}

/** Begins the earliest stage that a partition is at. */
function begin(state: RoundState, out: RoundOut): void {
  const stage = STAGES.find((each) => at(state, each).length > 0);
  if (stage === undefined) {
    state.over = true;
    out.over();
    return;
  }
  state.stage = stage;
  const here = at(state, stage);
  if (stage === 'heal') {
    out.heal(here.flatMap((progress) => progress.retaken));
    return;
  }
  state.answers = new Map();
  state.asked = new Map();
  for (let member = 0; member < state.members; member += 1) {
    const items = here.flatMap((progress) => itemsFor(progress, stage, member));
    if (items.length > 0) state.asked.set(member, items);
  }
  invariant(state.asked.size > 0, 'a stage of a round has somebody to ask');
  // All are awaited before the first is asked, because an answer may come within the call.
  state.waiting = new Set(state.asked.keys());
  for (const [member, items] of state.asked) out.ask(member, stepOf(stage), items);
}

function stepOf(stage: Exclude<Stage, 'heal'>): CollectionStep {
  switch (stage) {
    case 'level':
      return 'raise';
    case 'settle':
      return 'collect';
    case 'witness':
      return 'seal';
    default:
      return stage;
  }
}

function itemsFor(progress: Progress, stage: Exclude<Stage, 'heal'>, member: number): CollectionItem[] {
  const { partition, generation, floor, floorExpiredByMs, expiredByMs, primaries, laggards } = progress;
  const plain = { partition, generation, to: 0, expiredByMs, slice: 0, keys: [] };
  const isPrimary = primaries.includes(member);
  const lag = laggards.get(member);
  switch (stage) {
    case 'survey':
    case 'drain':
    case 'seal':
      return [plain];
    case 'level':
      return lag === undefined ? [] : [{ ...plain, generation: lag.generation, to: generation }];
    case 'settle':
      return lag !== undefined && isUnsettled(progress, member, lag)
        ? [{ ...plain, generation: floor, expiredByMs: floorExpiredByMs }]
        : [];
    case 'raise':
      return [{ ...plain, to: generation + 1 }];
    case 'confirm':
    case 'witness':
      return isPrimary ? [plain] : [];
    case 'list':
      return isPrimary ? progress.slices.map((slice) => ({ ...plain, slice })) : [];
    case 'retake':
      return isPrimary ? [{ ...plain, keys: progress.retaken }] : [];
    case 'collect':
    case 'drop':
      return isPrimary ? [{ ...plain, generation: generation + 1 }] : [];
  }
}

/** What the members said of a partition in the present stage. */
interface Said {
  readonly member: number;
  readonly report: CollectionReport;
  /** One; of `list` one for each slice. */
  readonly states: readonly CollectionState[];
}

/** All answers about the partition; undefined where the partition has ended because one is missing or an obstacle. */
function heard(state: RoundState, progress: Progress, out: RoundOut): Said[] | undefined {
  const said: Said[] = [];
  for (const [member, items] of state.asked) {
    const places = items.flatMap((item, place) => (item.partition === progress.partition ? [place] : []));
    if (places.length === 0) continue;
    const report = state.answers.get(member);
    const states = places.flatMap((place) => report?.states[place] ?? []);
    const obstacle = states.find((each) => each.obstacle !== undefined)?.obstacle;
    if (report === undefined || states.length < places.length || obstacle !== undefined) {
      end(progress, { kind: 'blocked', member, why: obstacle ?? 'unreachable' }, out);
      return undefined;
    }
    said.push({ member, report, states });
  }
  return said;
}

function end(progress: Progress, outcome: Outcome, out: RoundOut): void {
  progress.stage = 'ended';
  out.end(progress.partition, outcome);
}

function conclude(state: RoundState, out: RoundOut): void {
  let waitMs = 0;
  for (const progress of at(state, state.stage)) {
    const said = heard(state, progress, out);
    if (said === undefined) continue;
    switch (state.stage) {
      case 'survey':
        surveyed(progress, said, out);
        break;
      case 'level':
        if ([...progress.laggards].some(([member, lag]) => isUnsettled(progress, member, lag))) progress.stage = 'settle';
        else end(progress, { kind: 'levelled' }, out);
        break;
      case 'settle':
        end(progress, { kind: 'levelled' }, out);
        break;
      case 'confirm':
        confirmed(state, progress, said, out);
        break;
      case 'list':
        listed(progress, said);
        break;
      case 'retake':
        progress.stage = 'heal';
        break;
      case 'raise':
        raised(progress, said, out);
        break;
      case 'drain':
        waitMs = Math.max(waitMs, drained(state, progress, said));
        break;
      case 'seal':
        progress.stage = 'witness';
        break;
      case 'witness':
        if (areTheConfirming(progress, said, out)) progress.stage = 'collect';
        break;
      case 'collect':
        progress.stage = 'drop';
        break;
      case 'drop':
        end(progress, { kind: 'collected' }, out);
        break;
      case 'heal':
        break;
    }
  }
  if (waitMs > 0) out.wait(waitMs);
  else begin(state, out);
}

/** Whether a primary lacks a floor that another one has. */
function isUnsettled({ primaries, floor }: Progress, member: number, state: CollectionState): boolean {
  return primaries.includes(member) && state.floor < floor;
}

function surveyed(progress: Progress, said: readonly Said[], out: RoundOut): void {
  const states = said.map(({ member, states: [state] }) => ({ member, state }));
  progress.generation = Math.max(...states.map(({ state }) => state?.generation ?? 0));
  let due = false;
  for (const { member, state } of states) {
    if (state === undefined || !progress.primaries.includes(member)) continue;
    if (state.floor > progress.floor) {
      progress.floor = state.floor;
      progress.floorExpiredByMs = state.expiredByMs;
    }
    progress.expiredByMs = Math.max(progress.expiredByMs, state.expiredByMs);
    progress.young ||= state.young;
    due ||= state.due;
  }
  let level = false;
  let settle = false;
  for (const { member, state } of states) {
    if (state === undefined) continue;
    const behind = state.generation < progress.generation;
    const unsettled = isUnsettled(progress, member, state);
    if (behind || unsettled) progress.laggards.set(member, state);
    level ||= behind;
    settle ||= unsettled;
  }
  // A primary that would take what is below a floor must not be raised: it has an old disk, which it learns by being told the floor.
  const rewound = [...progress.laggards].some(([member, { least }]) => progress.primaries.includes(member) && least < progress.floor);
  if (rewound) for (const [member, lag] of progress.laggards) if (lag.least >= progress.floor) progress.laggards.delete(member);
  const keeping = said.find(({ states: [state] }) => (state?.hints ?? 0) > 0);
  if (level && !rewound) progress.stage = 'level';
  else if (settle) progress.stage = 'settle';
  else if (!due && !progress.young) end(progress, { kind: 'nothing' }, out);
  else if (keeping !== undefined) end(progress, { kind: 'blocked', member: keeping.member, why: 'hints' }, out);
  else progress.stage = 'confirm';
}

function confirmed(state: RoundState, progress: Progress, said: readonly Said[], out: RoundOut): void {
  progress.confirmed.clear();
  for (const { member, report } of said) progress.confirmed.set(member, report);
  const answers = said.map(({ states: [first] }) => first?.slices ?? []);
  progress.slices = differingSlices(answers);
  if (progress.slices.length > 0) {
    progress.passes += 1;
    if (progress.passes > MOST_PASSES) end(progress, { kind: 'blocked', member: state.self, why: 'differing' }, out);
    else progress.stage = 'list';
    return;
  }
  if (answers.every(isEmptySlices)) {
    // Nothing to collect: the generation rises only where that makes something old.
    progress.confirmed.clear();
    if (!progress.young) {
      end(progress, { kind: 'nothing' }, out);
      return;
    }
  }
  progress.stage = 'raise';
}

function listed(progress: Progress, said: readonly Said[]): void {
  const keys: ByteString[] = [];
  for (let slice = 0; slice < progress.slices.length && keys.length < MOST_RETAKEN; slice += 1) {
    keys.push(...differingKeys(said.map(({ states }) => states[slice])));
  }
  progress.retaken = keys.slice(0, MOST_RETAKEN);
  // They may have become equal meanwhile.
  progress.stage = progress.retaken.length > 0 ? 'retake' : 'confirm';
}

function raised(progress: Progress, said: readonly Said[], out: RoundOut): void {
  for (const { member, states } of said) {
    if (states[0]?.generation !== progress.generation) {
      end(progress, { kind: 'blocked', member, why: 'generation' }, out);
      return;
    }
  }
  if (!areTheConfirming(progress, said, out)) return;
  if (progress.confirmed.size === 0) end(progress, { kind: 'raised' }, out);
  else progress.stage = 'drain';
}

/** Whether the stores and boots are those that confirmed, as far as they did; else the partition ends. */
function areTheConfirming(progress: Progress, said: readonly Said[], out: RoundOut): boolean {
  for (const { member, report } of said) {
    const before = progress.confirmed.get(member);
    if (before === undefined || (before.storeId === report.storeId && before.boot === report.boot)) continue;
    end(progress, { kind: 'blocked', member, why: 'unreachable' }, out);
    return false;
  }
  return true;
}

/** @returns how long to wait before asking again; 0 when it need not */
function drained(state: RoundState, progress: Progress, said: readonly Said[]): number {
  const isBusy = said.some(({ states: [first] }) => (first?.requests ?? 0) > 0);
  if (!isBusy || progress.waitedMs >= state.patienceMs) {
    progress.stage = 'seal';
    return 0;
  }
  const waitMs = Math.min(LONGEST_POLL_MS, POLL_MS + progress.waitedMs);
  progress.waitedMs += waitMs;
  return waitMs;
}
