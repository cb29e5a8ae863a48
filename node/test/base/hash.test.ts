import { describe, expect, test } from '@jest/globals';
import { crc32 as zlibCrc32 } from 'node:zlib';

import { fromByteString } from '../../src/base/bytes.ts';
import { crc32, halfSipHash64 } from '../../src/base/hash.ts';

/** HalfSipHash's reference key is the bytes 00 01 … 07; the input of length n is the bytes 00 01 … n-1. */
const KEY = { k0: 0x03020100, k1: 0x07060504 };

function hash(length: number): string {
  const input = Array.from({ length }, (_, i) => String.fromCharCode(i)).join('');
  const { hi, lo } = halfSipHash64(KEY, input, { hi: 0, lo: 0 });
  return hi.toString(16).padStart(8, '0') + lo.toString(16).padStart(8, '0');
}

describe('HalfSipHash-2-4 with 64 bits of output', () => {
  test('answers the reference vectors', () => {
    // The first four of `vectors_hsip64` of the reference implementation, read as little-endian words.
    expect([0, 1, 2, 3].map(hash)).toEqual(['c83cb8b9591f8d21', '157338f8122455be', '57eb507cef394f06', '790606f7451a0fce']);
  });
});

describe('CRC-32', () => {
  test('equals zlib’s, whole and continued', () => {
    const bytes = fromByteString(Array.from({ length: 1000 }, (_, i) => String.fromCharCode((i * 7919) & 255)).join(''));
    expect(crc32(bytes)).toBe(zlibCrc32(bytes));
    expect(crc32(bytes.subarray(10), crc32(bytes.subarray(0, 10)))).toBe(zlibCrc32(bytes));
    expect(crc32(new Uint8Array())).toBe(0);
  });
});
