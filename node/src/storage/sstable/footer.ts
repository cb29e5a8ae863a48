/**
 * The last 64 bytes of a table:
 *
 *     footer = filterOffset{u64} filterLength{u32} indexOffset{u64} indexLength{u32} propertiesOffset{u64} propertiesLength{u32}
 *              table number{u64} zero{4 bytes} version{u32} crc{u32, of all before} magic "COTERSST"
 *
 * Lengths are stored lengths without trailers; a filter of length 0 is none.
 */

import { Buffer } from 'node:buffer';
import { crc32 } from 'node:zlib';
import { CoterieError } from '../../base/errors.ts';
import { MalformedError, readU64, writeU64 } from '../binary.ts';

export const FOOTER_BYTES = 64;
export const TABLE_VERSION = 1;
const MAGIC = 'COTERSST';

export interface BlockPlace {
  readonly offset: number;
  readonly length: number;
}

export interface Footer {
  readonly number: number;
  readonly filter: BlockPlace;
  readonly index: BlockPlace;
  readonly properties: BlockPlace;
}

export function encodeFooter(footer: Footer): Buffer {
  const bytes = Buffer.alloc(FOOTER_BYTES);
  let at = 0;
  for (const place of [footer.filter, footer.index, footer.properties]) {
    at = writeU64(bytes, at, place.offset);
    at = bytes.writeUInt32LE(place.length, at);
  }
  at = writeU64(bytes, at, footer.number);
  at = bytes.writeUInt32LE(0, at);
  at = bytes.writeUInt32LE(TABLE_VERSION, at);
  at = bytes.writeUInt32LE(crc32(bytes.subarray(0, at)), at);
  bytes.write(MAGIC, at, 'latin1');
  return bytes;
}

/** @throws MalformedError; CoterieError DATA_DIR_NEWER for a whole footer of a later version */
export function decodeFooter(bytes: Buffer): Footer {
  if (bytes.length !== FOOTER_BYTES) throw new MalformedError('footer cut short', 0);
  if (bytes.toString('latin1', 56, 64) !== MAGIC) throw new MalformedError('not a table', 56);
  if (bytes.readUInt32LE(52) !== crc32(bytes.subarray(0, 52))) throw new MalformedError('footer checksum does not match', 52);
  const version = bytes.readUInt32LE(48);
  if (version > TABLE_VERSION) {
    throw new CoterieError('DATA_DIR_NEWER', `table format ${String(version)} is newer than this program's ${String(TABLE_VERSION)}`);
  }
  const place = (at: number): BlockPlace => ({ offset: readU64(bytes, at), length: bytes.readUInt32LE(at + 8) });
  return { filter: place(0), index: place(12), properties: place(24), number: readU64(bytes, 36) };
}
