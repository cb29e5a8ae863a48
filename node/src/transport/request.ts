/** Requests between nodes as the rooms above see them. */

import type { ErrorCode, Outcome } from '../base/errors.ts';

/**
 * How a request ended.
 *
 * `payload` is borrowed until the callback returns. `outcome: 'none'` says that the request certainly had no effect: it never left this
 * node in full, or the peer refused it before any effect. Everything doubtful is `unknown`.
 */
export type Reply =
  | { readonly kind: 'reply'; readonly payload: Uint8Array; /** The peer's topology epoch. */ readonly epoch: number }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly message: string; readonly outcome: Outcome };

/** A request that is under way. */
export interface RequestHandle {
  /** The callback does not run after it. What was sent is followed by a CANCEL. Idempotent; no effect on a request that ended. */
  cancel(): void;
}

/** A request from a peer, to be answered once, by `reply` or `fail`, now or later. Answers after the first are ignored. */
export interface IncomingRequest {
  /** The peer's member name, as its handshake proved. */
  readonly peer: string;
  readonly type: number;
  /** Borrowed until the handler returns. */
  readonly payload: Uint8Array;
  /** Milliseconds the peer still waits, measured from the arrival of the request: it does not count down. At least 1. */
  readonly remainingMs: number;
  /**
   * When the request was sent, on this node's monotonic clock, or later by what `Transport.unseenMs` says at the peer at most; -Infinity while this
   * node cannot tell.
   */
  readonly sentMs: number;
  /** The peer's topology epoch when it sent the request. */
  readonly epoch: number;
  /** Runs once if the peer cancels, its deadline passes, or its connection is lost, before the answer. */
  onCancel: (() => void) | undefined;
  /** `payload` is borrowed until the call returns. */
  reply(payload: Uint8Array): void;
  fail(code: ErrorCode, message: string, outcome: Outcome): void;
}
