/**
 * A gather: before a write, a coordinator collects the copies of the other primaries into its own. Three reasons:
 * - an operation id that its own copy does not know: an acknowledged attempt is on W replicas, so N-W+1 copies (its own counts) show it; an
 *   attempt that was not acknowledged may be on any one, so all that can be asked are waited for, with patience;
 * - `blindWrites: quorum`: R copies are merged before a blind write replaces what is there;
 * - truncation of a long clock: allowed only where every primary confirms exactly this clock.
 *
 * In a sloppy quorum replica `n + i` is the fallback of primary `i`: it is asked for its hinted copy too, and counts in that primary's stead.
 *
 * Invariants: `done` or `fail` is called once; what answers count is bounded by the replicas asked; a primary and its fallback count once between
 * them; late answers are ignored.
 */

import type { ErrorCode } from '../../base/errors.ts';
import { unreachable } from '../../base/errors.ts';
import { type Content, NEVER_WRITTEN } from './read.ts';
import { bits } from './write.ts';

export type GatherEvent =
  /** `reachable`: the other primaries, and the fallbacks, that can be asked, as bits. */
  | { readonly kind: 'start'; readonly reachable: number }
  | { readonly kind: 'value'; readonly replica: number; readonly content: Content }
  | { readonly kind: 'failed'; readonly replica: number; readonly code: ErrorCode }
  /** What is needed was waited for long enough; the rest is not waited for any more. */
  | { readonly kind: 'patience' }
  | { readonly kind: 'deadline' };

export interface GatherOut {
  askValue(replica: number): void;
  /** @param unanimous every other primary answered, each with the digest that was expected */
  done(merged: Content, unanimous: boolean): void;
  fail(code: ErrorCode, message: string): void;
}

export interface GatherState {
  readonly n: number;
  /** Answers without which there is no going on. */
  readonly need: number;
  /** Wait for all that were asked, until `patience`. */
  thorough: boolean;
  /** But for these, as bits: they are asked, and answer nobody. */
  readonly silent: number;
  /** All the other primaries, as bits; with `n` of a primary's fallback. */
  readonly others: number;
  readonly merge: (a: Content, b: Content) => Content;
  /** The digest of the coordinator's own copy, for `unanimous`. */
  readonly expected: string;
  merged: Content;
  asked: number;
  got: number;
  equal: number;
  gone: number;
  code: ErrorCode | undefined;
  ended: boolean;
}

export function newGather(rules: {
  readonly n: number;
  readonly need: number;
  readonly thorough: boolean;
  readonly silent: number;
  readonly others: number;
  readonly expected: string;
  readonly merge: (a: Content, b: Content) => Content;
}): GatherState {
  return { ...rules, merged: NEVER_WRITTEN, asked: 0, got: 0, equal: 0, gone: 0, code: undefined, ended: false };
}

export function gatherStep(state: GatherState, event: GatherEvent, out: GatherOut): void {
  if (state.ended) return;
  switch (event.kind) {
    case 'start':
      state.gone = (state.others | (state.others << state.n)) & ~event.reachable;
      if ((state.gone & state.others) !== 0) state.code = 'PEER_UNREACHABLE';
      if ((state.need > 0 || state.thorough) && enough(state)) {
        // Also whoever would not count: it may know of the write.
        state.asked = event.reachable;
        const { asked } = state;
        for (let replica = 0; asked >>> replica !== 0; replica += 1) if ((asked & (1 << replica)) !== 0) out.askValue(replica);
      }
      break;
    case 'value':
      state.got |= 1 << event.replica;
      if (event.content.digest === state.expected) state.equal |= 1 << event.replica;
      if (event.content.digest !== state.merged.digest) {
        state.merged =
          state.merged.digest === ''
            ? event.content
            : event.content.digest === ''
              ? state.merged
              : state.merge(state.merged, event.content);
      }
      break;
    case 'failed':
      state.gone |= 1 << event.replica;
      state.code = event.code;
      break;
    case 'patience':
      state.thorough = false;
      break;
    case 'deadline':
      state.ended = true;
      out.fail(
        'TIMEOUT',
        `${String(bits(primariesIn(state, state.got)))} of the ${String(state.need)} copies needed before the write were had in time`,
      );
      return;
    default:
      unreachable(event);
  }
  const heard = (state.asked & ~(state.got | state.gone | state.silent)) === 0;
  if (bits(primariesIn(state, state.got)) >= state.need && (heard || !state.thorough)) {
    state.ended = true;
    out.done(state.merged, (state.equal & state.others) === state.others);
  } else if (!enough(state)) {
    state.ended = true;
    out.fail('NO_QUORUM', `${String(state.need)} other replicas must answer before the write, and too few can (${state.code ?? ''})`);
  }
}

/** Whether the answers needed can still come. */
function enough(state: GatherState): boolean {
  return bits(primariesIn(state, ~state.gone)) >= state.need;
}

/** The other primaries that are in `replicas`, themselves or by their fallback. */
function primariesIn({ others, n }: GatherState, replicas: number): number {
  return (replicas | (replicas >>> n)) & others;
}
