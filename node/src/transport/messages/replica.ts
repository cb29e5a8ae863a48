/** Decoding of the messages to and from one replica: reads of a value or a digest, and writes (proto/peer.proto). */

import { type ByteString, toByteString } from '../../base/bytes.ts';
import { CoterieError } from '../../base/errors.ts';
import { coterie, decodeWire } from '../wire.ts';

const { ReadRequest, ValueReply, DigestReply, WriteRequest } = coterie.peer;

const DIGEST_BYTES = 8;

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
}

/** @throws CoterieError FRAME_INVALID */
export function decodeWriteRequest(payload: Uint8Array): ReplicaWrite {
  const message = decodeWire(WriteRequest, payload);
  return { key: diskKey(message.key), object: message.object, generation: madeUnder(message.generation) };
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
