/**
 * Coded errors: every expected failure that reaches a client, an operator or another node carries one of these codes.
 * The codes are a public contract (docs/API.md): append, never rename.
 */

/** Whether a failed write may have taken effect: `none` it certainly did not, `unknown` it may have. */
export type Outcome = 'none' | 'unknown';

export const ERROR_CODES = [
  // What the caller asked for is wrong.
  'KEY_EMPTY',
  'KEY_TOO_LONG',
  'PAIR_TOO_LARGE',
  'QUORUM_INVALID',
  'TIMEOUT_INVALID',
  'EXPIRY_INVALID',
  'BUCKET_UNKNOWN',
  'CONTEXT_BROKEN',
  'CONTEXT_FOREIGN',
  'OPERATION_ID_INVALID',
  'OPERATION_ID_REUSED',
  'ENCODING_INVALID',
  'REQUEST_INVALID',
  'UNSUPPORTED',
  'NOT_FOUND',
  'UNAUTHORIZED',
  'FORBIDDEN',
  // The key's history has outgrown its bounds.
  'SIBLINGS_TOO_MANY',
  'CLOCK_TOO_LARGE',
  // The cluster cannot do it now.
  'TIMEOUT',
  'NO_QUORUM',
  'BUSY',
  'NOT_SYNCHRONISED',
  'CLOCK_SKEW',
  'CANCELLED',
  'CLOSED',
  // The disk.
  'DISK_FULL',
  'DISK_FAILED',
  'DATA_DAMAGED',
  'DATA_DIR_IN_USE',
  'DATA_DIR_FOREIGN',
  'DATA_DIR_NEWER',
  // Configuration and start.
  'SETTING_UNKNOWN',
  'SETTING_INVALID',
  'CLUSTER_TOO_SMALL',
  'PORT_IN_USE',
  // Between nodes.
  'FRAME_INVALID',
  'FRAME_TOO_LARGE',
  'PEER_FOREIGN',
  'PEER_INCOMPATIBLE',
  'PEER_REMOVED',
  'PEER_UNREACHABLE',
  'EPOCH_STALE',
  'GENERATION_STALE',
  // A bug in Coterie itself.
  'INTERNAL',
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

const KNOWN_CODES: ReadonlySet<string> = new Set(ERROR_CODES);

/** Whether a code that came from elsewhere is one that this version knows. */
export function isErrorCode(code: string): code is ErrorCode {
  return KNOWN_CODES.has(code);
}

export interface ErrorDetails {
  /** For writes: whether the failed write may have happened. */
  readonly outcome?: Outcome;
  /** For refusals under load: when to try again, in milliseconds. */
  readonly retryAfterMs?: number;
  /** The failure underneath; it goes to logs only, never to a client. */
  readonly cause?: unknown;
}

/** An expected failure. `message` names what was wrong and what is allowed, and is safe to show to a client. */
export class CoterieError extends Error {
  override readonly name = 'CoterieError';
  readonly code: ErrorCode;
  readonly outcome: Outcome | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.outcome = details.outcome;
    this.retryAfterMs = details.retryAfterMs;
  }
}

/** Tells coded errors apart by their shape: `instanceof` fails across realms (jest's vm, workers). */
export function isCoterieError(error: unknown): error is CoterieError {
  return typeof error === 'object' && error !== null && 'name' in error && error.name === 'CoterieError' && 'code' in error;
}

/** The error as a coded one; anything unexpected becomes `INTERNAL` with a text that tells a client nothing. */
export function asCoterieError(error: unknown): CoterieError {
  if (isCoterieError(error)) return error;
  return new CoterieError('INTERNAL', 'internal error; the node log has the details', { cause: error });
}

/** Crashes on a broken invariant: the state is wrong, going on could lose data. */
export function invariant(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`broken invariant: ${message}`);
}

/** Closes an exhaustive switch. */
export function unreachable(value: never): never {
  throw new Error(`broken invariant: unexpected ${JSON.stringify(value)}`);
}
