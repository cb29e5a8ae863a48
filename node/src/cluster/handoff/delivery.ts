/**
 * Handing one hint off (the Dynamo paper, section 4.6): to the primary that it is kept for, and to as many other primaries as must confirm it.
 *
 * A primary *confirms* by merging the hint durably, or by having what it says already: its copy's clock then covers the hint's.
 *
 * Invariants:
 * - a hint may be dropped only once its own primary and W primaries in all have confirmed it, W being the most that any of its writes was promised;
 *   so it never takes an acknowledged write below its W. Nothing else drops a hint: no age, no refusal, no full disk.
 * - `drop` or `keep` is called once.
 */

import type { ErrorCode } from '../../base/errors.ts';
import { unreachable } from '../../base/errors.ts';
import { bits } from '../quorum/write.ts';

export type DeliveryEvent =
  /** `healthy`: the primaries that can be asked, as bits. */
  | { readonly kind: 'start'; readonly healthy: number }
  | { readonly kind: 'confirmed'; readonly replica: number }
  | { readonly kind: 'refused'; readonly replica: number; readonly code: ErrorCode };

export interface DeliveryOut {
  /** Make primary `replica` merge the hint durably. */
  send(replica: number): void;
  drop(): void;
  /**
   * The hint stays. `refusal`: why its own primary did not take it; undefined where it did, and too few confirmed it: because too few could be
   * asked, or, if `again`, because some of them failed, so that it is worth to ask again.
   */
  keep(refusal: ErrorCode | undefined, again: boolean): void;
}

export interface DeliveryState {
  /** The slot of the primary that it is kept for. */
  readonly slot: number;
  readonly w: number;
  left: number;
  underWay: number;
  confirmed: number;
  refusal: ErrorCode | undefined;
  /** Another primary has failed. */
  failed: boolean;
  ended: boolean;
}

export function newDelivery(slot: number, w: number): DeliveryState {
  return { slot, w, left: 0, underWay: 0, confirmed: 0, refusal: undefined, failed: false, ended: false };
}

export function deliveryStep(state: DeliveryState, event: DeliveryEvent, out: DeliveryOut): void {
  if (state.ended) return;
  const own = 1 << state.slot;
  switch (event.kind) {
    case 'start':
      state.left = event.healthy;
      if ((state.left & own) === 0) state.refusal = 'PEER_UNREACHABLE';
      else ask(state, state.slot, out);
      break;
    case 'confirmed':
      state.underWay &= ~(1 << event.replica);
      state.confirmed |= 1 << event.replica;
      break;
    case 'refused':
      state.underWay &= ~(1 << event.replica);
      if (event.replica === state.slot) state.refusal = event.code;
      else state.failed = true;
      break;
    default:
      unreachable(event);
  }
  // Without its own primary it stays in any case.
  if (state.refusal === undefined) {
    for (let replica = 0; state.left >>> replica !== 0 && bits(state.confirmed | state.underWay) < state.w; replica += 1) {
      if ((state.left & (1 << replica)) !== 0) ask(state, replica, out);
    }
  }
  if (state.underWay !== 0) return;
  state.ended = true;
  if (state.refusal === undefined && bits(state.confirmed) >= state.w) out.drop();
  else out.keep(state.refusal, state.failed);
}

function ask(state: DeliveryState, replica: number, out: DeliveryOut): void {
  state.left &= ~(1 << replica);
  state.underWay |= 1 << replica;
  out.send(replica);
}
