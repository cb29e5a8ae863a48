/**
 * The generations on disk. All integers are big-endian.
 *
 *   file = magic "COTERGEN" | u32 version 1 | u32 crc (CRC-32 of all that follows) | u32 partitions | u32 runs | run*
 *   run  = u32 partitions that follow one another with the same numbers | u32 generation | u32 least generation | u32 floor generation (0: none)
 *        | u48 the floor's instant | u64 the store's last write before the floor
 *
 * Runs: partitions that are collected together have the same numbers. A store with 1,024 partitions has at most 30 KiB of them.
 */

import { CoterieError } from '../../base/errors.ts';
import { crc32 } from '../../base/hash.ts';
import type { PartitionId } from '../../base/ids.ts';
import { readU32, readU48, readU64, writeU32, writeU48, writeU64 } from '../versioning/fields.ts';
import { FIRST_GENERATION, GenerationTable } from './generation-table.ts';

const MAGIC = 'COTERGEN';
const VERSION = 1;
const AT_CRC = 12;
const AT_PARTITIONS = 16;
const HEAD_BYTES = 24;
const RUN_BYTES = 30;

interface Run {
  partitions: number;
  readonly generation: number;
  readonly least: number;
  readonly floor: number;
  readonly expiredByMs: number;
  readonly sequence: number;
}

function runsOf(table: GenerationTable): Run[] {
  const runs: Run[] = [];
  let last: Run | undefined;
  for (let partition = 0; partition < table.partitions; partition += 1) {
    const generation = table.generationOf(partition as PartitionId);
    const least = table.leastOf(partition as PartitionId);
    const { generation: floor, expiredByMs, sequence } = table.floorOf(partition as PartitionId);
    const same = last?.generation === generation && last.least === least && last.floor === floor;
    if (last !== undefined && same && last.expiredByMs === expiredByMs && last.sequence === sequence) last.partitions += 1;
    else runs.push((last = { partitions: 1, generation, least, floor, expiredByMs, sequence }));
  }
  return runs;
}

export function encodeTable(table: GenerationTable): Uint8Array {
  const runs = runsOf(table);
  const bytes = new Uint8Array(HEAD_BYTES + runs.length * RUN_BYTES);
  for (let i = 0; i < MAGIC.length; i += 1) bytes[i] = MAGIC.charCodeAt(i);
  writeU32(bytes, MAGIC.length, VERSION);
  let at = writeU32(bytes, AT_PARTITIONS, table.partitions);
  at = writeU32(bytes, at, runs.length);
  for (const run of runs) {
    at = writeU32(bytes, at, run.partitions);
    at = writeU32(bytes, at, run.generation);
    at = writeU32(bytes, at, run.least);
    at = writeU32(bytes, at, run.floor);
    at = writeU48(bytes, at, run.expiredByMs);
    at = writeU64(bytes, at, run.sequence);
  }
  writeU32(bytes, AT_CRC, crc32(bytes.subarray(AT_PARTITIONS)));
  return bytes;
}

/**
 * @param where the file's path, for the message
 * @throws CoterieError DATA_DIR_NEWER, DATA_DAMAGED, DATA_DIR_FOREIGN where it was written for another number of partitions
 */
export function decodeTable(bytes: Uint8Array, partitions: number, where: string): GenerationTable {
  if (bytes.length < HEAD_BYTES || String.fromCharCode(...bytes.subarray(0, MAGIC.length)) !== MAGIC) throw damaged(where, 'no head');
  const version = readU32(bytes, MAGIC.length);
  if (version > VERSION) {
    throw new CoterieError('DATA_DIR_NEWER', `${where} has version ${String(version)}, and this program knows up to ${String(VERSION)}`);
  }
  if (readU32(bytes, AT_CRC) !== crc32(bytes.subarray(AT_PARTITIONS))) throw damaged(where, 'its checksum does not match');
  const runs = readU32(bytes, AT_PARTITIONS + 4);
  if (bytes.length !== HEAD_BYTES + runs * RUN_BYTES) throw damaged(where, 'its length is wrong');
  const held = readU32(bytes, AT_PARTITIONS);
  if (held !== partitions) {
    throw new CoterieError('DATA_DIR_FOREIGN', `${where} is for ${String(held)} partitions; the topology has ${String(partitions)}`);
  }
  const table = new GenerationTable(partitions);
  let next = 0;
  for (let at = HEAD_BYTES; at < bytes.length; at += RUN_BYTES) {
    const count = readU32(bytes, at);
    const generation = readU32(bytes, at + 4);
    const least = readU32(bytes, at + 8);
    const floor = { generation: readU32(bytes, at + 12), expiredByMs: readU48(bytes, at + 16), sequence: readU64(bytes, at + 22) };
    const ordered = least >= FIRST_GENERATION && least <= generation && floor.generation <= least;
    if (!ordered || next + count > partitions) throw damaged(where, 'a run is wrong');
    for (const end = next + count; next < end; next += 1) {
      const partition = next as PartitionId;
      table.raise(partition, generation);
      table.seal(partition, least);
      table.collect(partition, floor);
    }
  }
  if (next !== partitions) throw damaged(where, 'runs are missing');
  return table;
}

function damaged(where: string, what: string): CoterieError {
  return new CoterieError('DATA_DAMAGED', `${where} is not a sound file of generations: ${what}`);
}
