/**
 * The first 48 bytes of a log segment:
 *
 *     header = magic "COTERLOG" version{u32} zero{u32} number{u64} replaces{u64} base{u64} zero{u32} crc{u32, of all before}
 *
 * `replaces`: the segment whose write or fsync failed and that this one was rewritten for (0: none). `base`: the sequence before the first.
 */

import { Buffer } from 'node:buffer';
import { crc32 } from 'node:zlib';
import { CoterieError } from '../../base/errors.ts';
import { readU64, writeU64 } from '../binary.ts';

export const SEGMENT_HEAD_BYTES = 48;
export const LOG_VERSION = 1;
const MAGIC = 'COTERLOG';

export interface SegmentHeader {
  readonly number: number;
  readonly replaces: number;
  readonly base: number;
}

export function encodeSegmentHeader(header: SegmentHeader): Buffer {
  const bytes = Buffer.alloc(SEGMENT_HEAD_BYTES);
  bytes.write(MAGIC, 0, 'latin1');
  bytes.writeUInt32LE(LOG_VERSION, 8);
  let at = writeU64(bytes, 16, header.number);
  at = writeU64(bytes, at, header.replaces);
  writeU64(bytes, at, header.base);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, SEGMENT_HEAD_BYTES - 4)), SEGMENT_HEAD_BYTES - 4);
  return bytes;
}

/** `undefined` where the bytes are no whole header. @throws CoterieError DATA_DIR_NEWER */
export function decodeSegmentHeader(bytes: Buffer): SegmentHeader | undefined {
  if (bytes.length < SEGMENT_HEAD_BYTES || bytes.toString('latin1', 0, 8) !== MAGIC) return undefined;
  if (bytes.readUInt32LE(SEGMENT_HEAD_BYTES - 4) !== crc32(bytes.subarray(0, SEGMENT_HEAD_BYTES - 4))) return undefined;
  const version = bytes.readUInt32LE(8);
  if (version > LOG_VERSION) {
    throw new CoterieError('DATA_DIR_NEWER', `log format ${String(version)} is newer than this program's ${String(LOG_VERSION)}`);
  }
  return { number: readU64(bytes, 16), replaces: readU64(bytes, 24), base: readU64(bytes, 32) };
}
