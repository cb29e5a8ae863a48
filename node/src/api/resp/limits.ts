/** The bounds of one RESP server: every buffer, queue and count below is bounded by one of these. */

export interface RespLimits {
  /** Sessions at a time; one more is told so and closed. */
  readonly connections: number;
  /** Arguments of one request, its name included. */
  readonly arguments: number;
  /** Bytes of one request; a longer one is read past without being kept, and refused. */
  readonly requestBytes: number;
  /** Bytes of one reply to a command of many keys. */
  readonly replyBytes: number;
  /** Bytes of the results of such commands, over all sessions. */
  readonly resultBytes: number;
  /** Requests of one session under way at a time; the session is not read from while there are as many. */
  readonly pipeline: number;
  /** Requests under way, over all sessions, above which a session has only one at a time. */
  readonly requests: number;
  /** Keys of one request under way at a time. */
  readonly fanOut: number;
  /** Bytes of requests not yet complete, over all sessions. */
  readonly receiveBytes: number;
  /** Bytes of replies that clients do not take, over all sessions; the session that comes above it is closed. */
  readonly sendBytes: number;
}

export const RESP_LIMITS: RespLimits = {
  connections: 10_000,
  arguments: 65_536,
  requestBytes: 4 * 1024 * 1024,
  replyBytes: 32 * 1024 * 1024,
  resultBytes: 128 * 1024 * 1024,
  pipeline: 256,
  requests: 16_384,
  fanOut: 64,
  receiveBytes: 64 * 1024 * 1024,
  sendBytes: 256 * 1024 * 1024,
};

/** What Redis allows a client that has not shown who it is. */
export const STRANGER_ARGUMENTS = 10;
export const STRANGER_BULK_BYTES = 16_384;
