import { describe, expect, test } from '@jest/globals';
import { Buffer } from 'node:buffer';
import { crc32 as zlibCrc32 } from 'node:zlib';

import { fromByteString } from '../../src/base/bytes.ts';
import { crc32, halfSipHash64, halfSipHash64Bytes, type HashKey } from '../../src/base/hash.ts';

/** HalfSipHash's reference key is the bytes 00 01 … 07; the input of length n is the bytes 00 01 … n-1. */
const KEY = { k0: 0x03020100, k1: 0x07060504 };

function hash(length: number): string {
  const input = Array.from({ length }, (_, i) => String.fromCharCode(i)).join('');
  const { hi, lo } = halfSipHash64(KEY, input, { hi: 0, lo: 0 });
  return hi.toString(16).padStart(8, '0') + lo.toString(16).padStart(8, '0');
}

/** The algorithm as its paper tells it, over words made beforehand, a round a call. */
function published({ k0, k1 }: HashKey, bytes: readonly number[]): { hi: number; lo: number } {
  const rotate = (word: number, by: number): number => (word << by) | (word >>> (32 - by));
  const v = [k0, k1 ^ 0xee, 0x6c796765 ^ k0, 0x74656462 ^ k1] as [number, number, number, number];
  const rounds = (count: number): void => {
    for (let round = 0; round < count; round += 1) {
      v[0] = (v[0] + v[1]) | 0;
      v[1] = rotate(v[1], 5) ^ v[0];
      v[0] = rotate(v[0], 16);
      v[2] = (v[2] + v[3]) | 0;
      v[3] = rotate(v[3], 8) ^ v[2];
      v[0] = (v[0] + v[3]) | 0;
      v[3] = rotate(v[3], 7) ^ v[0];
      v[2] = (v[2] + v[1]) | 0;
      v[1] = rotate(v[1], 13) ^ v[2];
      v[2] = rotate(v[2], 16);
    }
  };
  const padded = [...bytes, ...Array<number>(3 - (bytes.length % 4)).fill(0), bytes.length & 0xff];
  for (let at = 0; at < padded.length; at += 4) {
    const word = Buffer.from(padded.slice(at, at + 4)).readInt32LE();
    v[3] ^= word;
    rounds(2);
    v[0] ^= word;
  }
  v[2] ^= 0xee;
  rounds(4);
  const lo = (v[1] ^ v[3]) >>> 0;
  v[1] ^= 0xdd;
  rounds(4);
  return { hi: (v[1] ^ v[3]) >>> 0, lo };
}

describe('HalfSipHash-2-4 with 64 bits of output', () => {
  test('answers the reference vectors', () => {
    // The first four of `vectors_hsip64` of the reference implementation, read as little-endian words.
    expect([0, 1, 2, 3].map(hash)).toEqual(['c83cb8b9591f8d21', '157338f8122455be', '57eb507cef394f06', '790606f7451a0fce']);
  });

  test('is the published algorithm at every length, of text and of bytes anywhere in an array', () => {
    const bytes = Array.from({ length: 300 }, (_, i) => (i * 7919 + (i >>> 3) * 31) & 255);
    for (const key of [KEY, { k0: 1, k1: 0xffff_ffff }]) {
      for (let from = 0; from < 5; from += 1) {
        for (let to = from; to <= 270; to += 1) {
          const input = bytes.slice(from, to);
          const expected = published(key, input);
          expect(halfSipHash64(key, String.fromCharCode(...input), { hi: 0, lo: 0 })).toEqual(expected);
          expect(halfSipHash64Bytes(key, Uint8Array.from(bytes), from, to, { hi: 0, lo: 0 })).toEqual(expected);
        }
      }
    }
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
