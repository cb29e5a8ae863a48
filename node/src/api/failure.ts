/** What a failed operation means to a client: whose fault it is, and whether a failed write may have happened. */

import type { CoterieError, ErrorCode, Outcome } from '../base/errors.ts';

/**
 * - `request`: the request is wrong; the same one fails again
 * - `conflict`: the key's state or history refuses it
 * - `busy`: shed under load; later, or elsewhere, it works
 * - `unavailable`: the cluster cannot do it now
 * - `timeout`: no answer in time
 * - `full`: the disk has no room
 * - `access`: who asks may not
 * - `internal`: ours
 */
export type FailureKind = 'request' | 'conflict' | 'busy' | 'unavailable' | 'timeout' | 'full' | 'access' | 'internal';

export function failureKind(code: ErrorCode): FailureKind {
  switch (code) {
    case 'KEY_EMPTY':
    case 'KEY_TOO_LONG':
    case 'PAIR_TOO_LARGE':
    case 'QUORUM_INVALID':
    case 'TIMEOUT_INVALID':
    case 'EXPIRY_INVALID':
    case 'BUCKET_UNKNOWN':
    case 'CONTEXT_BROKEN':
    case 'CONTEXT_FOREIGN':
    case 'OPERATION_ID_INVALID':
    case 'ENCODING_INVALID':
    case 'REQUEST_INVALID':
    case 'UNSUPPORTED':
    case 'NOT_FOUND':
    case 'SETTING_UNKNOWN':
    case 'SETTING_INVALID':
    case 'CLUSTER_TOO_SMALL':
      return 'request';
    case 'OPERATION_ID_REUSED':
    case 'SIBLINGS_TOO_MANY':
    case 'CLOCK_TOO_LARGE':
      return 'conflict';
    case 'UNAUTHORIZED':
    case 'FORBIDDEN':
      return 'access';
    case 'BUSY':
    case 'CANCELLED':
    case 'CLOSED':
      return 'busy';
    case 'NO_QUORUM':
    case 'NOT_SYNCHRONISED':
    case 'CLOCK_SKEW':
    case 'DATA_DAMAGED':
    case 'PEER_FOREIGN':
    case 'PEER_INCOMPATIBLE':
    case 'PEER_REMOVED':
    case 'PEER_UNREACHABLE':
    case 'EPOCH_STALE':
    case 'GENERATION_STALE':
      return 'unavailable';
    case 'TIMEOUT':
      return 'timeout';
    case 'DISK_FULL':
      return 'full';
    case 'DISK_FAILED':
    case 'DATA_DIR_IN_USE':
    case 'DATA_DIR_FOREIGN':
    case 'DATA_DIR_NEWER':
    case 'PORT_IN_USE':
    case 'FRAME_INVALID':
    case 'FRAME_TOO_LARGE':
    case 'INTERNAL':
      return 'internal';
  }
}

/** Whether the failed write may have happened: what the error says, else what its code implies. */
export function writeOutcome(error: CoterieError): Outcome {
  if (error.outcome !== undefined) return error.outcome;
  switch (failureKind(error.code)) {
    case 'request':
    case 'conflict':
    case 'access':
    case 'full':
      return 'none';
    case 'busy':
    case 'unavailable':
      // Both are refusals before any effect by contract; the rest of these codes say `outcome` when it is otherwise.
      return error.code === 'BUSY' || error.code === 'NO_QUORUM' || error.code === 'NOT_SYNCHRONISED' ? 'none' : 'unknown';
    case 'timeout':
    case 'internal':
      return 'unknown';
  }
}
