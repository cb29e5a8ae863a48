/**
 * How the bytes of a block become the bytes on disk: compressed, if that saves at least an eighth, and followed by a trailer of
 * one byte that names the codec and a CRC-32. All codecs are synchronous and hand their output back in memory that the garbage collector owns.
 *
 * The checksum is seeded with the table's number and the block's offset, so that a block read from the wrong place does not pass.
 */

import { Buffer } from 'node:buffer';
import { constants, crc32, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import lz4 from 'lz4-napi';
import snappy from 'snappy';
import { MalformedError } from '../binary.ts';
import type { Compression } from '../options.ts';

export const TRAILER_BYTES = 5;

const CODE: Readonly<Record<Compression, number>> = { none: 0, snappy: 1, lz4: 2, zstd: 3 };

const COPY = { copyOutputData: true };
const ZSTD_FAST = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };

function compress(raw: Buffer, compression: Compression): Buffer {
  switch (compression) {
    case 'none':
      return raw;
    case 'snappy':
      return snappy.compressSync(raw, COPY);
    case 'lz4':
      return lz4.compressSync(raw);
    case 'zstd':
      return zstdCompressSync(raw, ZSTD_FAST);
  }
}

function seedOf(table: number, offset: number): number {
  return (Math.imul(table, 0x9e3779b1) ^ offset ^ Math.floor(offset / 2 ** 32)) >>> 0;
}

/** Writes the block at `at` of `target`, which has room for `raw.length + TRAILER_BYTES`; answers the stored length without the trailer. */
export function sealBlock(raw: Buffer, compression: Compression, table: number, offset: number, target: Buffer, at: number): number {
  let code = CODE[compression];
  let stored = code === 0 ? raw : compress(raw, compression);
  if (code !== 0 && stored.length > raw.length - (raw.length >>> 3)) {
    stored = raw;
    code = 0;
  }
  target.set(stored, at);
  const end = at + stored.length;
  target[end] = code;
  target.writeUInt32LE(crc32(target.subarray(at, end + 1), seedOf(table, offset)), end + 1);
  return stored.length;
}

/**
 * The block's bytes from its stored form (with trailer).
 *
 * @param keep the result may alias `stored`; otherwise it is always memory of its own
 * @throws MalformedError when the checksum does not match
 */
export function openBlock(stored: Buffer, table: number, offset: number, keep: boolean): Buffer {
  const end = stored.length - TRAILER_BYTES;
  if (end < 0) throw new MalformedError('block cut short', 0);
  if (stored.readUInt32LE(end + 1) !== crc32(stored.subarray(0, end + 1), seedOf(table, offset))) {
    throw new MalformedError('checksum does not match', 0);
  }
  const body = stored.subarray(0, end);
  try {
    switch (stored[end]) {
      case 0:
        return keep ? body : Buffer.from(body);
      case 1: {
        const raw = snappy.uncompressSync(body, COPY);
        return typeof raw === 'string' ? Buffer.from(raw, 'latin1') : raw;
      }
      case 2:
        return lz4.uncompressSync(body);
      case 3:
        return zstdDecompressSync(body);
      default:
        throw new MalformedError(`unknown codec ${String(stored[end])}`, end);
    }
  } catch (error) {
    throw new MalformedError(error instanceof Error ? error.message : 'block does not decode', 0);
  }
}
