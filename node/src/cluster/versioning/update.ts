/**
 * One write on a coordinator's local copy: put, delete, expire; blind or with a context; with or without an operation id.
 *
 * Invariants:
 *   - The new dot's clock covers everything that the write replaces: a blind write replaces all that the coordinator holds, a write with a
 *     context exactly what the context covers.
 *   - The write's time is later than every time in the local copy (and the context), whatever the node's clock says: a wrong clock can then
 *     neither make a new value lose against one it replaced, nor put it under the truncation floor.
 *   - A refusal has no effect. Refused writes may have used up a counter, which harms nobody.
 *   - A write knows its operation: the same id with the same body changes nothing, with another body it is refused.
 */

import { append } from '../../base/append.ts';
import type { ByteString } from '../../base/bytes.ts';
import type { ErrorCode } from '../../base/errors.ts';
import { invariant, unreachable } from '../../base/errors.ts';
import type { Context } from './context.ts';
import type { HybridTime } from './hlc.ts';
import { MAX_AHEAD_MS, MAX_MS, NO_TIME, compareTime, nextTime } from './hlc.ts';
import { higherOrder, mergeKnowledge, outranked } from './merge.ts';
import { newestOf, newestTime } from './newest.ts';
import type { ClockEntry, Dot, Knowledge, KvObject, OperationRecord, Sibling, WriteOrder } from './object.ts';
import { CLOCK_MAX, CLOCK_TRUNCATE, SIBLINGS_MAX, SIBLINGS_WARN, counterOf, covers } from './object.ts';
import { findOperation, mergeOperations, replacedBy } from './operation.ts';
import { isExpired, live } from './present.ts';
import { isReplaced } from './visibility.ts';

/** The client's name for a write, for safe retries. */
export interface Operation {
  /** 16 bytes. */
  readonly id: ByteString;
  /** 8 bytes over everything that makes the request the same write (kind, value, expiry, context); a retry must repeat it. */
  readonly bodyHash: ByteString;
}

interface MutationBase {
  /** What the client has seen; absent for a blind write. For `expire`: change only what it covers. */
  readonly context?: Context | undefined;
  readonly operation?: Operation | undefined;
}

export type Put = MutationBase & {
  readonly kind: 'put';
  readonly value: Uint8Array;
  /** Wall-clock milliseconds, 0 to 2^48-1; 0 for never. */
  readonly expireAtMs: number;
  /** Take the expiry of the newest live value instead. */
  readonly keepTtl: boolean;
};

export type Delete = MutationBase & { readonly kind: 'delete' };

export type Expire = MutationBase & {
  readonly kind: 'expire';
  /** Wall-clock milliseconds, 0 to 2^48-1; 0 to persist. A past one expires the value at once. */
  readonly atMs: number;
};

export type Mutation = Put | Delete | Expire;

/** What the coordinator lends to one write. */
export interface WriteStamp {
  /** Mints a dot: of this store's present actor, with a counter never used before, from a durable lease. Called at most once. */
  dot(): Dot;
  /** A fresh time of this node's hybrid clock. */
  readonly time: HybridTime;
  /** The wall clock, for expiry. */
  readonly nowMs: number;
  /** Clock entries above which a write truncates, or warns where it may not: 2 to CLOCK_MAX; CLOCK_TRUNCATE by default. */
  readonly clockEntries?: number;
  /**
   * The coordinator's copy without its oldest clock entries, of which about `keep` stay: lent only where every current primary is known to hold exactly
   * this clock, and no fallback, hint or stream holds an undelivered write of the key (truncate.ts). Called for a clock that is too long.
   */
  readonly truncate?: ((local: KvObject, keep: number) => KvObject) | undefined;
}

/** The write is done, but the key's history grows: its siblings need resolving, or its clock cannot be truncated yet. */
export type WriteWarning = 'siblings-many' | 'clock-large';

export type Applied =
  | { readonly kind: 'applied'; readonly object: KvObject; readonly existed: boolean; readonly warnings: readonly WriteWarning[] }
  /** The operation id is known, with the same body: `object` holds the write, or what replaced it. Replicate it and answer as before. */
  | { readonly kind: 'repeated'; readonly object: KvObject; readonly existed: boolean }
  /** Nothing to do: no live value to expire (`existed` false), or no expiry to remove (`existed` true). */
  | { readonly kind: 'unchanged'; readonly object: KvObject; readonly existed: boolean }
  /** Codes: OPERATION_ID_REUSED, SIBLINGS_TOO_MANY, CLOCK_TOO_LARGE, CLOCK_SKEW, CONTEXT_BROKEN, EXPIRY_INVALID. Outcome `none`. */
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly message: string };

type Refused = Extract<Applied, { kind: 'refused' }>;

const NO_WARNINGS: readonly WriteWarning[] = [];
const NO_SIBLINGS: readonly Sibling[] = [];

function refused(code: ErrorCode, message: string): Refused {
  return { kind: 'refused', code, message };
}

function refuseExpiry(atMs: number): Refused | undefined {
  if (Number.isInteger(atMs) && atMs >= 0 && atMs <= MAX_MS) return undefined;
  return refused('EXPIRY_INVALID', `an expiry is a whole number of milliseconds from 0 to ${String(MAX_MS)}, not ${String(atMs)}`);
}

/** A context with times that no node can have given yet would bury writes to come: its clock, or this node's, is wrong. */
function refuseContext(context: Context, now: HybridTime): Refused | undefined {
  const most = now.ms + MAX_AHEAD_MS;
  const { clock, floorMs, blindFloor } = context;
  if (floorMs <= most && (blindFloor?.time.ms ?? 0) <= most && clock.every((entry) => entry.ms <= most)) return undefined;
  return refused('CLOCK_SKEW', `the context is more than ${String(MAX_AHEAD_MS)} ms ahead of this node's clock`);
}

function stampAfter(local: KvObject, context: Context | undefined, time: HybridTime): HybridTime {
  let newest = newestTime(local);
  if (context !== undefined) {
    const theirs = newestOf(context, context.blindFloor?.time ?? NO_TIME);
    if (compareTime(theirs, newest) > 0) newest = theirs;
  }
  return compareTime(time, newest) > 0 ? time : nextTime(newest);
}

/** `clock` with the entry of a new dot, whose counter is above any the clock has of its actor. */
function withDot(clock: readonly ClockEntry[], dot: Dot, ms: number): ClockEntry[] {
  let raised: ClockEntry[] | undefined;
  const entry = { actor: dot.actor, counter: dot.counter, ms };
  let placed = false;
  for (const other of clock) {
    if (!placed && other.actor >= dot.actor) {
      raised = append(raised, entry);
      placed = true;
    }
    if (other.actor !== dot.actor) raised = append(raised, other);
  }
  return placed && raised !== undefined ? raised : append(raised, entry);
}

function withOperation(
  operations: readonly OperationRecord[],
  operation: Operation | undefined,
  dot: Dot,
  ms: number,
  existed: boolean,
): readonly OperationRecord[] {
  if (operation === undefined) return operations;
  const { id, bodyHash } = operation;
  return mergeOperations([{ id, actor: dot.actor, counter: dot.counter, ms, bodyHash, existed, replaced: false }], operations);
}

/** A dot with its time, and the knowledge of the object that it makes. */
interface Minted {
  readonly dot: Dot;
  readonly time: HybridTime;
  readonly clock: readonly ClockEntry[];
}

function mint(base: KvObject, seen: Knowledge, context: Context | undefined, stamp: WriteStamp): Minted | Refused {
  const dot = stamp.dot();
  invariant(dot.counter > counterOf(base.clock, dot.actor), 'a new dot is above every counter that its own actor has on the key');
  if (dot.counter <= counterOf(seen.clock, dot.actor)) {
    return refused('CONTEXT_BROKEN', 'the context claims versions that this node has not made yet');
  }
  const time = stampAfter(base, context, stamp.time);
  const clock = withDot(seen.clock, dot, time.ms);
  if (clock.length > CLOCK_MAX) {
    return refused(
      'CLOCK_TOO_LARGE',
      `more than ${String(CLOCK_MAX)} writers in the key's history, and not all replicas have confirmed them`,
    );
  }
  return { dot, time, clock };
}

function warningsOf(object: KvObject, { clockEntries = CLOCK_TRUNCATE }: WriteStamp): readonly WriteWarning[] {
  const many = object.siblings.length >= SIBLINGS_WARN;
  const large = object.clock.length > clockEntries;
  if (!many && !large) return NO_WARNINGS;
  return [...(many ? (['siblings-many'] as const) : []), ...(large ? (['clock-large'] as const) : [])];
}

function applyExpire(local: KvObject, base: KvObject, write: Expire, stamp: WriteStamp): Applied {
  const { context, atMs } = write;
  const isTarget = (sibling: Sibling): boolean =>
    !isExpired(sibling.expireAtMs, stamp.nowMs) &&
    !isReplaced(base, sibling) &&
    (context === undefined || covers(context, sibling, sibling.time.ms));
  const targets = new Set(base.siblings.filter(isTarget));
  if (targets.size === 0) return { kind: 'unchanged', object: local, existed: false };
  if (atMs === 0 && ![...targets].some((sibling) => sibling.expireAtMs !== 0)) return { kind: 'unchanged', object: local, existed: true };
  // The context selects, it is not merged in: what it saw and this copy did not is not replaced by a new expiry.
  const minted = mint(base, base, context, stamp);
  if ('kind' in minted) return minted;
  const { dot, time, clock } = minted;
  const siblings = base.siblings
    .filter((sibling) => !isReplaced(base, sibling))
    .map((sibling) => (targets.has(sibling) ? { ...sibling, edit: time, expireAtMs: atMs } : sibling));
  const operations = withOperation(base.operations, write.operation, dot, time.ms, true);
  const object: KvObject = { clock, floorMs: base.floorMs, blindFloor: base.blindFloor, siblings, operations };
  return { kind: 'applied', object, existed: true, warnings: warningsOf(object, stamp) };
}

/** The siblings that a write with this context leaves. */
function survivorsOf(base: KvObject, context: Context, floor: WriteOrder | undefined): Sibling[] {
  return base.siblings.filter(
    (sibling) => !covers(context, sibling, sibling.time.ms) && !outranked(sibling, floor) && !isReplaced(base, sibling),
  );
}

function applyReplacing(local: KvObject, write: Put | Delete, stamp: WriteStamp): Applied {
  const { context } = write;
  const base = context === undefined ? local : { ...local, operations: replacedBy(local.operations, context) };
  const floor = context === undefined ? undefined : higherOrder(base.blindFloor, context.blindFloor);
  const survivors = context === undefined ? NO_SIBLINGS : survivorsOf(base, context, floor);
  if (write.kind === 'put' && survivors.length >= SIBLINGS_MAX) {
    return refused(
      'SIBLINGS_TOO_MANY',
      `the key has ${String(survivors.length)} siblings that the context has not seen; read and resolve them`,
    );
  }
  const seen = context === undefined ? base : mergeKnowledge(base, context);
  const minted = mint(base, seen, context, stamp);
  if ('kind' in minted) return minted;
  const { dot, time, clock } = minted;
  const visible = live(local, stamp.nowMs);
  const existed = visible.length > 0;
  const { actor, counter } = dot;
  let siblings = survivors;
  if (write.kind === 'put') {
    const expireAtMs = write.keepTtl ? (visible[0]?.expireAtMs ?? 0) : write.expireAtMs;
    const sibling: Sibling = { actor, counter, time, blind: context === undefined, edit: NO_TIME, expireAtMs, value: write.value };
    siblings = survivors.length === 0 ? [sibling] : [sibling, ...survivors];
  }
  const object: KvObject = {
    clock,
    floorMs: seen.floorMs,
    blindFloor: context === undefined ? { actor, counter, time } : floor,
    siblings,
    operations: withOperation(base.operations, write.operation, dot, time.ms, existed),
  };
  return { kind: 'applied', object, existed, warnings: warningsOf(object, stamp) };
}

/** Applies one write to the coordinator's copy. Values are borrowed, not copied: encode before the caller's buffer changes. */
export function applyWrite(local: KvObject, write: Mutation, stamp: WriteStamp): Applied {
  const { context, operation } = write;
  if (operation !== undefined) {
    const record = findOperation(local, operation.id, operation.bodyHash);
    if (record !== undefined) {
      if (record.bodyHash === operation.bodyHash) return { kind: 'repeated', object: local, existed: record.existed };
      return refused('OPERATION_ID_REUSED', 'the operation id was used for another write on this key');
    }
  }
  if (context !== undefined) {
    const refusal = refuseContext(context, stamp.time);
    if (refusal !== undefined) return refusal;
  }
  const { truncate, clockEntries = CLOCK_TRUNCATE } = stamp;
  // A tombstone keeps its whole clock, so only writes that leave a value truncate.
  const truncates = truncate !== undefined && write.kind !== 'delete' && local.clock.length > clockEntries;
  const base = truncates ? truncate(local, clockEntries - 1) : local;
  switch (write.kind) {
    case 'put':
      return refuseExpiry(write.expireAtMs) ?? applyReplacing(base, write, stamp);
    case 'delete':
      return applyReplacing(base, write, stamp);
    case 'expire':
      return refuseExpiry(write.atMs) ?? applyExpire(local, base, write, stamp);
    default:
      return unreachable(write);
  }
}
