/** What the transport tells about its peers and its work. */

import type { ErrorCode } from '../base/errors.ts';
import type { Address } from '../env/network.ts';
import type { Hello } from './handshake.ts';

/** `waiting`: the last attempt failed, the next one is scheduled. Requests pass only while `connected`. */
export type PeerState = 'connecting' | 'handshaking' | 'connected' | 'waiting';

export interface PeerStatus {
  readonly name: string;
  readonly address: Address;
  readonly state: PeerState;
  /** What the peer said of itself in the last handshake that succeeded. */
  readonly hello: Hello | undefined;
  /** Why the last attempt or connection ended. */
  readonly failure: { readonly code: ErrorCode; readonly message: string } | undefined;
  /** Requests under way to it. */
  readonly requests: number;
  /** Bytes waiting to be sent to it. */
  readonly queuedBytes: number;
}

/** Something worth a line in the log. */
export type TransportEvent =
  | { readonly kind: 'connected'; readonly peer: string; readonly direction: 'out' | 'in'; readonly remote: string }
  | {
      readonly kind: 'disconnected';
      readonly peer: string | undefined;
      readonly direction: 'out' | 'in';
      readonly remote: string;
      readonly code: ErrorCode;
      readonly message: string;
    }
  | { readonly kind: 'unreachable'; readonly peer: string; readonly message: string };

/** Counts that only grow, updated in place. */
export interface TransportCounters {
  requestsSent: number;
  requestsReceived: number;
  repliesReceived: number;
  requestsFailed: number;
  /** Requests refused here because a queue was full. */
  requestsShed: number;
  /** Requests dropped on arrival because their deadline had passed, or their epoch was stale. */
  requestsLate: number;
  requestsStale: number;
  bytesSent: number;
  bytesReceived: number;
  /** Connections closed because of what came over them. */
  framesInvalid: number;
}

export function zeroCounters(): TransportCounters {
  return {
    requestsSent: 0,
    requestsReceived: 0,
    repliesReceived: 0,
    requestsFailed: 0,
    requestsShed: 0,
    requestsLate: 0,
    requestsStale: 0,
    bytesSent: 0,
    bytesReceived: 0,
    framesInvalid: 0,
  };
}
