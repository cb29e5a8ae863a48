/** Range requests between replicas: listing the keys of a bucket, and copying partitions (proto/peer.proto). */

import { type ByteString, fromByteString, toByteString } from '../../base/bytes.ts';
import { type PartitionId, partitionId } from '../../base/ids.ts';
import { coterie, decodeWire } from '../wire.ts';
import { madeUnder } from './replica.ts';

const { ListRequest, ListReply, CopyRequest, CopyReply } = coterie.peer;

export interface ListQuestion {
  readonly bucket: number;
  /** Disk key, inclusive; `''` for the first. */
  readonly from: ByteString;
  /** Disk key, exclusive; `''` for no end. */
  readonly to: ByteString;
  readonly limit: number;
}

export interface ListedKey {
  /** Disk key. */
  readonly key: ByteString;
  readonly digest: ByteString;
  readonly live: boolean;
}

export interface ListAnswer {
  readonly entries: readonly ListedKey[];
  /** Complete up to here, exclusive; `''` for all that was asked. */
  readonly end: ByteString;
  readonly counts: boolean;
}

export function encodeListQuestion(question: ListQuestion): Uint8Array {
  const { bucket, limit } = question;
  return ListRequest.encode({ bucket, from: fromByteString(question.from), to: fromByteString(question.to), limit }).finish();
}

/** @throws CoterieError FRAME_INVALID */
export function decodeListQuestion(payload: Uint8Array): ListQuestion {
  const message = decodeWire(ListRequest, payload);
  return { bucket: message.bucket, from: toByteString(message.from), to: toByteString(message.to), limit: message.limit };
}

export function encodeListAnswer(answer: ListAnswer): Uint8Array {
  const entries = answer.entries.map(({ key, digest, live }) => ({ key: fromByteString(key), digest: fromByteString(digest), live }));
  return ListReply.encode({ entries, end: fromByteString(answer.end), counts: answer.counts }).finish();
}

/** @throws CoterieError FRAME_INVALID */
export function decodeListAnswer(payload: Uint8Array): ListAnswer {
  const message = decodeWire(ListReply, payload);
  const entries = message.entries.map((entry) => ({
    key: toByteString(entry.key ?? NOTHING),
    digest: toByteString(entry.digest ?? NOTHING),
    live: entry.live ?? false,
  }));
  return { entries, end: toByteString(message.end), counts: message.counts };
}

const NOTHING = new Uint8Array(0);

export interface CopyQuestion {
  /** Disk key, inclusive; `''` for the first. */
  readonly from: ByteString;
  readonly maxBytes: number;
  /** Disk key, exclusive; `''` for no end. */
  readonly to: ByteString;
}

export interface CopiedEntry {
  /** Disk key. */
  readonly key: ByteString;
  /** Decoded, it aliases the payload. */
  readonly object: Uint8Array;
}

/** A partition that a page reaches into. */
export interface CopiedPartition {
  readonly partition: PartitionId;
  /** At the source, when the page was begun. */
  readonly generation: number;
  /** The floor's, and the least that it admits, when the page was complete. */
  readonly floor: number;
  readonly least: number;
}

export interface CopyAnswer {
  readonly entries: readonly CopiedEntry[];
  /** Complete up to here, exclusive; undefined at the end. */
  readonly next: ByteString | undefined;
  readonly synchronised: boolean;
  readonly partitions: readonly CopiedPartition[];
}

export function encodeCopyQuestion(question: CopyQuestion): Uint8Array {
  return CopyRequest.encode({ from: fromByteString(question.from), maxBytes: question.maxBytes, to: fromByteString(question.to) }).finish();
}

/** @throws CoterieError FRAME_INVALID */
export function decodeCopyQuestion(payload: Uint8Array): CopyQuestion {
  const message = decodeWire(CopyRequest, payload);
  return { from: toByteString(message.from), maxBytes: message.maxBytes, to: toByteString(message.to) };
}

export function encodeCopyAnswer(answer: CopyAnswer): Uint8Array {
  const entries = answer.entries.map(({ key, object }) => ({ key: fromByteString(key), object }));
  const { synchronised } = answer;
  return CopyReply.encode({ entries, next: fromByteString(answer.next ?? ''), synchronised, partitions: [...answer.partitions] }).finish();
}

/** @throws CoterieError FRAME_INVALID */
export function decodeCopyAnswer(payload: Uint8Array): CopyAnswer {
  const message = decodeWire(CopyReply, payload);
  const entries = message.entries.map((entry) => ({ key: toByteString(entry.key ?? NOTHING), object: entry.object ?? NOTHING }));
  const partitions = message.partitions.map(({ partition, generation, floor, least }) => ({
    partition: partitionId(partition ?? 0),
    generation: madeUnder(generation ?? 0),
    floor: floor ?? 0,
    least: least ?? 0,
  }));
  const next = message.next.length === 0 ? undefined : toByteString(message.next);
  return { entries, next, synchronised: message.synchronised, partitions };
}
