/**
 * How the bytes of a block become the bytes on disk: compressed, if that saves at least an eighth, and followed by a trailer of
 * one byte that names the codec and a CRC-32. All codecs are synchronous.
 *
 *     stored = body codec{u8: 0 none, 1 snappy, 2 lz4, 3 zstd} crc{u32, of body and codec}
 *     body   = bytes | snappy | decodedLength{u32} lz4 | decodedLength{u32} zstd
 *
 * The checksum is seeded with the table's number and the block's offset, so that a block read from the wrong place does not pass.
 */

import { Buffer } from 'node:buffer';
import { constants, crc32, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import lz4 from 'lz4-napi';
import snappy from 'snappy';
import { MalformedError, Reader } from '../binary.ts';
import type { Compression } from '../options.ts';
import { decodeLz4 } from './lz4.ts';

export const TRAILER_BYTES = 5;
/** In front of what lz4 and zstd made: the decoded length as u32. */
const LENGTH_BYTES = 4;

const CODE = { none: 0, snappy: 1, lz4: 2, zstd: 3 } as const satisfies Readonly<Record<Compression, number>>;

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
    case 'zstd': {
      const length = Buffer.allocUnsafe(LENGTH_BYTES);
      length.writeUInt32LE(raw.length, 0);
      return Buffer.concat([length, zstdCompressSync(raw, ZSTD_FAST)]);
    }
  }
}

function seedOf(table: number, offset: number): number {
  return (Math.imul(table, 0x9e3779b1) ^ offset ^ Math.floor(offset / 2 ** 32)) >>> 0;
}

/** Writes the block at `at` of `target`, which has room for `raw.length + TRAILER_BYTES`; answers the stored length without the trailer. */
export function sealBlock(raw: Buffer, compression: Compression, table: number, offset: number, target: Buffer, at: number): number {
  let code: number = CODE[compression];
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

/** How long the block is once decoded. @throws MalformedError when the checksum does not match, or the codec is not known */
export function openedLength(stored: Buffer, table: number, offset: number): number {
  const end = stored.length - TRAILER_BYTES;
  if (end < 0) throw new MalformedError('block cut short', 0);
  if (stored.readUInt32LE(end + 1) !== crc32(stored.subarray(0, end + 1), seedOf(table, offset))) {
    throw new MalformedError('checksum does not match', 0);
  }
  switch (stored[end]) {
    case CODE.none:
      return end;
    case CODE.snappy:
      return new Reader(stored, 0, end).varint();
    case CODE.lz4:
    case CODE.zstd:
      if (end < LENGTH_BYTES) throw new MalformedError('block cut short', 0);
      return stored.readUInt32LE(0);
    default:
      throw new MalformedError(`unknown codec ${String(stored[end])}`, end);
  }
}

/** Decodes a block that `openedLength` passed into the first `length` bytes of `into`. @throws MalformedError */
export function openBlockInto(stored: Buffer, into: Buffer, length: number): void {
  const end = stored.length - TRAILER_BYTES;
  let decoded: Buffer;
  try {
    switch (stored[end]) {
      case CODE.lz4:
        decodeLz4(stored, LENGTH_BYTES, end, into, length);
        return;
      case CODE.snappy: {
        const raw = snappy.uncompressSync(stored.subarray(0, end), COPY);
        decoded = typeof raw === 'string' ? Buffer.from(raw, 'latin1') : raw;
        break;
      }
      case CODE.zstd:
        decoded = zstdDecompressSync(stored.subarray(LENGTH_BYTES, end), { chunkSize: Math.max(64, length) });
        break;
      default:
        decoded = stored.subarray(0, end);
    }
  } catch (error) {
    throw new MalformedError(Error.isError(error) ? error.message : 'block does not decode', 0);
  }
  if (decoded.length !== length) throw new MalformedError('decoded length does not match', 0);
  into.set(decoded);
}

/** The block's bytes, in memory of their own. @throws MalformedError */
export function openBlock(stored: Buffer, table: number, offset: number): Buffer {
  const length = openedLength(stored, table, offset);
  const into = Buffer.allocUnsafeSlow(length);
  openBlockInto(stored, into, length);
  return into;
}
