/** Decoding of the messages to and from one replica: reads of a value or a digest, and writes (proto/peer.proto). */

import { type ByteString, fromByteString, toByteString } from '../../base/bytes.ts';
import { CoterieError } from '../../base/errors.ts';
import { coterie, decodeWire, u53 } from '../wire.ts';

const { AttemptedRequest, ReadRequest, ValueReply, DigestReply, WriteRequest } = coterie.peer;

const DIGEST_BYTES = 8;
const NOTHING = new Uint8Array(0);

/** The disk key asked for. @throws CoterieError FRAME_INVALID */
export function decodeReadRequest(payload: Uint8Array): ByteString {
  return diskKey(decodeWire(ReadRequest, payload).key);
}

export interface ReplicaValue {
  /** Aliases the payload; undefined where the key was never written. */
  readonly object: Uint8Array | undefined;
  readonly counts: boolean;
}

/** @throws CoterieError FRAME_INVALID */
export function decodeValueReply(payload: Uint8Array): ReplicaValue {
  const message = decodeWire(ValueReply, payload);
  return { object: message.found ? message.object : undefined, counts: message.counts };
}

export function encodeAttemptedRequest(key: ByteString, attempt: number): Uint8Array {
  return AttemptedRequest.encode({ key: fromByteString(key), attempt }).finish();
}

/** @throws CoterieError FRAME_INVALID */
export function decodeAttemptedRequest(payload: Uint8Array): { readonly key: ByteString; readonly attempt: number } {
  const message = decodeWire(AttemptedRequest, payload);
  return { key: diskKey(message.key), attempt: u53(message.attempt, 'attempt') };
}

/** @param existed of a write that was begun: whether the key existed before; undefined where the replica does not know of it */
export function encodeAttemptedReply(object: Uint8Array | undefined, counts: boolean, existed: boolean | undefined): Uint8Array {
  const found = object !== undefined;
  return ValueReply.encode({ found, counts, object: object ?? NOTHING, begun: existed !== undefined, existed: existed === true }).finish();
}

/** Whether the key existed before the write that was asked for; undefined where the replica does not know of it. @throws CoterieError FRAME_INVALID */
export function decodeAttempted(payload: Uint8Array): boolean | undefined {
  const { begun, existed } = decodeWire(ValueReply, payload);
  return begun ? existed : undefined;
}

export interface ReplicaDigest {
  /** `''` where the key was never written. */
  readonly digest: ByteString;
  readonly counts: boolean;
}

/** @throws CoterieError FRAME_INVALID */
export function decodeDigestReply(payload: Uint8Array): ReplicaDigest {
  const message = decodeWire(DigestReply, payload);
  const { length } = message.digest;
  if (length !== 0 && length !== DIGEST_BYTES) throw new CoterieError('FRAME_INVALID', 'a digest has 8 bytes');
  return { digest: toByteString(message.digest), counts: message.counts };
}

export interface ReplicaWrite {
  readonly key: ByteString;
  /** Aliases the payload. */
  readonly object: Uint8Array;
  /** Of the partition at the sender, when its operation began. */
  readonly generation: number;
  /** The attempt at a client's write that made it, and whether the key existed before; 0 where no second coordinator is asked. */
  readonly attempt: number;
  readonly existed: boolean;
}

/** @throws CoterieError FRAME_INVALID */
export function decodeWriteRequest(payload: Uint8Array): ReplicaWrite {
  const message = decodeWire(WriteRequest, payload);
  const { key, object, generation, attempt, existed } = message;
  return { key: diskKey(key), object, generation: madeUnder(generation), attempt: u53(attempt, 'attempt'), existed };
}

/** The generation that a message names. One that names none is of a sender that knows of none, which is there only while all are at the first. */
export function madeUnder(generation: number): number {
  return Math.max(1, generation);
}

/** Token and bucket take 10 bytes; a key has at least one. */
const LEAST_DISK_KEY = 11;

/** @throws CoterieError FRAME_INVALID */
export function diskKey(bytes: Uint8Array): ByteString {
  if (bytes.length < LEAST_DISK_KEY) throw new CoterieError('FRAME_INVALID', 'a disk key has at least 11 bytes');
  return toByteString(bytes);
}
