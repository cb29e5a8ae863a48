/** Every bound of the transport, in one place. Bytes and milliseconds. */

export interface TransportLimits {
  /** Largest payload of one request or reply, chunks joined. */
  readonly maxMessageBytes: number;
  /** Bytes of unfinished chunked messages that one connection may hold. */
  readonly maxAssemblyBytes: number;
  /** Bytes waiting to be sent to one peer; above it requests fail with BUSY. */
  readonly maxQueueBytes: number;
  /** Requests under way to one peer; above it they fail with BUSY. */
  readonly maxRequests: number;
  /** Unanswered requests of one incoming connection; at it the connection is not read until one is answered. */
  readonly maxIncoming: number;
  /** Incoming connections at a time; above it the newest is closed. */
  readonly maxConnections: number;
  readonly connectTimeoutMs: number;
  /** From the connection's first moment to the end of the handshake. */
  readonly handshakeTimeoutMs: number;
  /** A connection silent for so long is probed, */
  readonly probeMs: number;
  /** and silent for so long is given up. */
  readonly silenceMs: number;
  /** A prompt request that ran out of time after so long counts as not answered; one that was given less time tells nothing. */
  readonly promptMs: number;
  /** Delays before the next attempt to connect: doubled from the first to the last, each cut by up to half at random. */
  readonly reconnectFirstMs: number;
  readonly reconnectLastMs: number;
}

const MIB = 1024 * 1024;

export const DEFAULT_LIMITS: TransportLimits = {
  maxMessageBytes: 16 * MIB,
  maxAssemblyBytes: 64 * MIB,
  maxQueueBytes: 32 * MIB,
  maxRequests: 16_384,
  maxIncoming: 4096,
  maxConnections: 4096,
  connectTimeoutMs: 2000,
  handshakeTimeoutMs: 5000,
  probeMs: 1500,
  silenceMs: 5000,
  promptMs: 500,
  reconnectFirstMs: 50,
  reconnectLastMs: 3000,
};

/** What all peers together may make this node hold, in bytes: of messages that wait to be sent, and of unfinished ones. */
const QUEUES_BYTES = 256 * MIB;
const ASSEMBLIES_BYTES = 512 * MIB;

/** The limits with which the peers of a node, so many, share what they may hold together; each has room for one message of the largest size. */
export function limitsForPeers(peers: number): Pick<TransportLimits, 'maxQueueBytes' | 'maxAssemblyBytes'> {
  const { maxMessageBytes, maxQueueBytes, maxAssemblyBytes } = DEFAULT_LIMITS;
  const share = (most: number, all: number): number => Math.max(maxMessageBytes, Math.min(most, Math.floor(all / Math.max(1, peers))));
  return { maxQueueBytes: share(maxQueueBytes, QUEUES_BYTES), maxAssemblyBytes: share(maxAssemblyBytes, ASSEMBLIES_BYTES) };
}
