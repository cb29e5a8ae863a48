/** What coordinators ask of the replicas of a strong key, and the answers (proto/peer.proto). Tags and ballots are 36 bytes; `''` is no tag. */

import { type ByteString, fromByteString, toByteString } from '../../base/bytes.ts';
import { CoterieError } from '../../base/errors.ts';
import { coterie, decodeWire, u53 } from '../wire.ts';
import { diskKey } from './replica.ts';

const { StrongReadRequest, StrongReadReply, StrongPrepareRequest, StrongPrepareReply, StrongAcceptRequest, StrongAcceptReply } =
  coterie.peer;

const TAG_BYTES = 36;
const ID_BYTES = 16;
const HASH_BYTES = 8;

export interface StrongReadQuestion {
  /** Disk key. */
  readonly key: ByteString;
  /** The whole copy, not only its tag. */
  readonly value: boolean;
  /** Only what is durable. */
  readonly durable: boolean;
}

export interface StrongReadAnswer {
  readonly tag: ByteString;
  readonly counts: boolean;
  readonly live: boolean;
  /** Decoded, it aliases the payload. Undefined where it was not asked for, or there is none. */
  readonly object: Uint8Array | undefined;
}

/** What an acceptor keeps of a client operation. */
export interface WireRecord {
  readonly id: ByteString;
  readonly bodyHash: ByteString;
  readonly ballot: ByteString;
  readonly tag: ByteString;
  readonly rank: number;
  readonly existed: boolean;
}

export interface StrongPrepareQuestion {
  readonly key: ByteString;
  readonly id: ByteString;
  readonly ballot: ByteString;
}

export interface StrongPrepareAnswer {
  readonly tag: ByteString;
  readonly counts: boolean;
  readonly live: boolean;
  /** 0: promised. */
  readonly outvotedBy: number;
  readonly record: WireRecord | undefined;
}

export interface StrongAcceptQuestion {
  readonly key: ByteString;
  readonly record: WireRecord;
}

export interface StrongAcceptAnswer {
  readonly counts: boolean;
  /** 0: accepted. */
  readonly outvotedBy: number;
}

const NOTHING = new Uint8Array(0);

export function encodeStrongRead({ key, value, durable }: StrongReadQuestion): Uint8Array {
  return StrongReadRequest.encode({ key: fromByteString(key), value, durable }).finish();
}

/** @throws CoterieError FRAME_INVALID */
export function decodeStrongRead(payload: Uint8Array): StrongReadQuestion {
  const { key, value, durable } = decodeWire(StrongReadRequest, payload);
  return { key: diskKey(key), value, durable };
}

export function encodeStrongReadAnswer({ tag, counts, live, object }: StrongReadAnswer): Uint8Array {
  return StrongReadReply.encode({ tag: fromByteString(tag), counts, live, object: object ?? NOTHING }).finish();
}

/** @throws CoterieError FRAME_INVALID */
export function decodeStrongReadAnswer(payload: Uint8Array): StrongReadAnswer {
  const { tag, counts, live, object } = decodeWire(StrongReadReply, payload);
  return { tag: tagOrNone(tag), counts, live, object: object.length === 0 ? undefined : object };
}

export function encodeStrongPrepare({ key, id, ballot }: StrongPrepareQuestion): Uint8Array {
  return StrongPrepareRequest.encode({
    key: fromByteString(key),
    operationId: fromByteString(id),
    ballot: fromByteString(ballot),
  }).finish();
}

/** @throws CoterieError FRAME_INVALID */
export function decodeStrongPrepare(payload: Uint8Array): StrongPrepareQuestion {
  const { key, operationId, ballot } = decodeWire(StrongPrepareRequest, payload);
  return { key: diskKey(key), id: fixed(operationId, ID_BYTES), ballot: fixed(ballot, TAG_BYTES) };
}

export function encodeStrongPrepareAnswer({ tag, counts, live, outvotedBy, record }: StrongPrepareAnswer): Uint8Array {
  return StrongPrepareReply.encode({
    tag: fromByteString(tag),
    counts,
    live,
    outvotedBy,
    record: record === undefined ? null : wireRecord(record),
  }).finish();
}

/** @throws CoterieError FRAME_INVALID */
export function decodeStrongPrepareAnswer(payload: Uint8Array): StrongPrepareAnswer {
  const { tag, counts, live, outvotedBy, record } = decodeWire(StrongPrepareReply, payload);
  return {
    tag: tagOrNone(tag),
    counts,
    live,
    outvotedBy: u53(outvotedBy, 'outvoted_by'),
    record: record === null || record === undefined ? undefined : recordIn(record),
  };
}

export function encodeStrongAccept({ key, record }: StrongAcceptQuestion): Uint8Array {
  return StrongAcceptRequest.encode({ key: fromByteString(key), record: wireRecord(record) }).finish();
}

/** @throws CoterieError FRAME_INVALID */
export function decodeStrongAccept(payload: Uint8Array): StrongAcceptQuestion {
  const { key, record } = decodeWire(StrongAcceptRequest, payload);
  return { key: diskKey(key), record: recordIn(record ?? {}) };
}

export function encodeStrongAcceptAnswer({ counts, outvotedBy }: StrongAcceptAnswer): Uint8Array {
  return StrongAcceptReply.encode({ counts, outvotedBy }).finish();
}

/** @throws CoterieError FRAME_INVALID */
export function decodeStrongAcceptAnswer(payload: Uint8Array): StrongAcceptAnswer {
  const { counts, outvotedBy } = decodeWire(StrongAcceptReply, payload);
  return { counts, outvotedBy: u53(outvotedBy, 'outvoted_by') };
}

function wireRecord({ id, bodyHash, ballot, tag, rank, existed }: WireRecord): coterie.peer.StrongRecord.$Properties {
  return {
    operationId: fromByteString(id),
    bodyHash: fromByteString(bodyHash),
    ballot: fromByteString(ballot),
    tag: fromByteString(tag),
    rank,
    existed,
  };
}

function recordIn(record: coterie.peer.StrongRecord.$Properties): WireRecord {
  const rank = u53(record.rank ?? 0, 'rank');
  if (rank === 0) throw new CoterieError('FRAME_INVALID', 'rank is out of range');
  return {
    id: fixed(record.operationId ?? NOTHING, ID_BYTES),
    bodyHash: fixed(record.bodyHash ?? NOTHING, HASH_BYTES),
    ballot: fixed(record.ballot ?? NOTHING, TAG_BYTES),
    tag: fixed(record.tag ?? NOTHING, TAG_BYTES),
    rank,
    existed: record.existed ?? false,
  };
}

function fixed(bytes: Uint8Array, length: number): ByteString {
  if (bytes.length !== length) throw new CoterieError('FRAME_INVALID', `a field of ${String(length)} bytes has ${String(bytes.length)}`);
  return toByteString(bytes);
}

function tagOrNone(bytes: Uint8Array): ByteString {
  return bytes.length === 0 ? '' : fixed(bytes, TAG_BYTES);
}
