/**
 * The manifest: which tables make up the store, and from which log segment on writes must be replayed. It is written whole at every change.
 *
 *     file    = magic "COTERMAN" version{u32} crc{u32, of the payload, seeded with version} length{u32} payload
 *     payload = nextNumber{varint} flushedSequence{varint} logFloor{varint} levels{varint} level*
 *     level   = tables{varint} table*
 *     table   = number{varint} bytes{varint} properties masks{varint} mask* holes{varint} hole*
 *     mask    = from{text} end to?{text}          end = u8, 1: `to` follows, 0: the range has no end
 *     hole    = file{text} offset{varint} from{text} end to?{text}
 */

import { Buffer } from 'node:buffer';
import { crc32 } from 'node:zlib';
import { CoterieError } from '../../base/errors.ts';
import { MalformedError, Reader, Writer } from '../binary.ts';
import type { DamagedRange } from '../damage.ts';
import type { KeyRange } from '../key-range.ts';
import type { TableMeta } from '../sstable/table-meta.ts';
import { readProperties, writeProperties } from '../sstable/table-meta.ts';

export const MANIFEST_VERSION = 1;
const MAGIC = 'COTERMAN';
const HEAD_BYTES = 20;

export interface ManifestState {
  /** The next file's number. */
  readonly nextNumber: number;
  /** Every write up to this sequence is in a table. */
  readonly flushedSequence: number;
  /** Log segments below this number are not needed. */
  readonly logFloor: number;
  /** Level 0 newest first; deeper levels in key order. */
  readonly levels: readonly (readonly TableMeta[])[];
}

function writeRange(writer: Writer, range: KeyRange): void {
  writer.text(range.from);
  if (range.to === undefined) writer.byte(0);
  else writer.byte(1).text(range.to);
}

function readRange(reader: Reader): KeyRange {
  const from = reader.text();
  return { from, to: reader.byte() === 0 ? undefined : reader.text() };
}

function writeTable(writer: Writer, table: TableMeta): void {
  writer.varint(table.number).varint(table.bytes);
  writeProperties(writer, table);
  writer.varint(table.masks.length);
  for (const mask of table.masks) writeRange(writer, mask);
  writer.varint(table.holes.length);
  for (const hole of table.holes) {
    writer.text(hole.file).varint(hole.offset);
    writeRange(writer, hole);
  }
}

function readTable(reader: Reader): TableMeta {
  const number = reader.varint();
  const bytes = reader.varint();
  const properties = readProperties(reader);
  const masks: KeyRange[] = [];
  for (let left = reader.varint(); left > 0; left -= 1) masks.push(readRange(reader));
  const holes: DamagedRange[] = [];
  for (let left = reader.varint(); left > 0; left -= 1) {
    const file = reader.text();
    const offset = reader.varint();
    holes.push({ file, offset, ...readRange(reader) });
  }
  return { number, bytes, ...properties, masks, holes };
}

export function encodeManifest(state: ManifestState): Buffer {
  const writer = new Writer(4096);
  writer.varint(state.nextNumber).varint(state.flushedSequence).varint(state.logFloor).varint(state.levels.length);
  for (const level of state.levels) {
    writer.varint(level.length);
    for (const table of level) writeTable(writer, table);
  }
  const payload = writer.written();
  const head = Buffer.alloc(HEAD_BYTES);
  head.write(MAGIC, 0, 'latin1');
  head.writeUInt32LE(MANIFEST_VERSION, 8);
  head.writeUInt32LE(crc32(payload, MANIFEST_VERSION), 12);
  head.writeUInt32LE(payload.length, 16);
  return Buffer.concat([head, payload]);
}

/** @throws MalformedError; CoterieError DATA_DIR_NEWER */
export function decodeManifest(bytes: Buffer): ManifestState {
  if (bytes.length < HEAD_BYTES || bytes.toString('latin1', 0, 8) !== MAGIC) throw new MalformedError('not a manifest', 0);
  const version = bytes.readUInt32LE(8);
  const payload = bytes.subarray(HEAD_BYTES);
  if (payload.length !== bytes.readUInt32LE(16)) throw new MalformedError('length does not match', 16);
  if (crc32(payload, version) !== bytes.readUInt32LE(12)) throw new MalformedError('checksum does not match', 12);
  if (version > MANIFEST_VERSION) {
    throw new CoterieError('DATA_DIR_NEWER', `manifest format ${String(version)} is newer than this program's ${String(MANIFEST_VERSION)}`);
  }
  const reader = new Reader(payload);
  const nextNumber = reader.varint();
  const flushedSequence = reader.varint();
  const logFloor = reader.varint();
  const levels: TableMeta[][] = [];
  for (let left = reader.varint(); left > 0; left -= 1) {
    const level: TableMeta[] = [];
    for (let tables = reader.varint(); tables > 0; tables -= 1) level.push(readTable(reader));
    levels.push(level);
  }
  if (reader.at !== reader.end) throw new MalformedError('bytes left over', reader.at);
  return { nextNumber, flushedSequence, logFloor, levels };
}
