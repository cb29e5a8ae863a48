import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fromByteString, toByteString, toHex } from '../../src/base/bytes.ts';
import { halfSipHash64 } from '../../src/base/hash.ts';
import { bucketId, partitionId } from '../../src/base/ids.ts';
import type { PlacedKey } from '../../src/cluster/ring/token.ts';
import { bucketOfDiskKey, keyOfDiskKey, partitionOfDiskKey, partitionRange, placeKey, tokenSpace } from '../../src/cluster/ring/token.ts';

const SEED = '0001020304050607';
const space = (Q: number): { tokenSpace: ReturnType<typeof tokenSpace> } => ({ tokenSpace: tokenSpace(SEED, Q) });

describe('tokens', () => {
  test('the seed becomes the key as in the reference code of SipHash, and the hash gives its first test vectors', () => {
    const { key } = tokenSpace(SEED, 1024);
    expect(key).toEqual({ k0: 0x03020100, k1: 0x07060504 });
    // vectors_hsip64 of the reference implementation (github.com/veorq/SipHash): inputs of length 0, 1, 2; low half first, little-endian.
    const reference = ['218d1f59b9b83cc8', 'be552412f8387315', '064f39ef7c50eb57'];
    for (const [length, expected] of reference.entries()) {
      const { hi, lo } = halfSipHash64(key, toByteString(Uint8Array.from({ length }, (_, at) => at)), { hi: 0, lo: 0 });
      const bytes = new DataView(new ArrayBuffer(8));
      bytes.setUint32(0, lo, true);
      bytes.setUint32(4, hi, true);
      expect(toHex(new Uint8Array(bytes.buffer))).toBe(expected);
    }
  });

  test('disk keys never change: golden vectors', () => {
    const vectors: readonly [number, string, number][] = [
      [0, '', 1024],
      [0, 'a', 1024],
      [1, 'a', 1024],
      [65535, 'user:1000', 1024],
      [0, '\u0000\u00ff', 1048576],
      [0, 'a', 1],
    ];
    const found = vectors.map(([bucket, key, Q]) => {
      const { diskKey, partition } = placeKey(space(Q), bucketId(bucket), key);
      return `${toHex(fromByteString(diskKey))} ${String(partition)}`;
    });
    expect(found).toEqual(GOLDEN);
  });

  test('a disk key tells its partition, bucket and key, and lies in its partition range only', () => {
    const anyKey = fc.uint8Array({ minLength: 1, maxLength: 40 }).map((bytes) => toByteString(bytes));
    fc.assert(
      fc.property(anyKey, fc.nat(0xffff), fc.nat(20), (key, bucket, bits) => {
        const topology = space(2 ** bits);
        const into: PlacedKey = { diskKey: 'used before', partition: partitionId(9) };
        const placed = placeKey(topology, bucketId(bucket), key, into);
        expect(placed).toBe(into);
        expect(placed).toEqual(placeKey(topology, bucketId(bucket), key));
        expect(keyOfDiskKey(placed.diskKey)).toBe(key);
        expect(bucketOfDiskKey(placed.diskKey)).toBe(bucket);
        expect(partitionOfDiskKey(topology, placed.diskKey)).toBe(placed.partition);
        const { from, to } = partitionRange(topology, placed.partition);
        expect(placed.diskKey >= from && (to === undefined || placed.diskKey < to)).toBe(true);
      }),
    );
  });

  test('partition ranges cover the token space without gaps', () => {
    const topology = space(16);
    expect(partitionRange(topology, partitionId(0)).from).toBe('\0'.repeat(8));
    for (let partition = 0; partition < 15; partition += 1) {
      expect(partitionRange(topology, partitionId(partition)).to).toBe(partitionRange(topology, partitionId(partition + 1)).from);
    }
    expect(partitionRange(topology, partitionId(15)).to).toBeUndefined();
    expect(partitionRange(space(1), partitionId(0))).toEqual({ from: '\0'.repeat(8), to: undefined });
  });

  test('keys spread evenly, also when they differ in one digit only', () => {
    const counts = new Array<number>(64).fill(0);
    for (let number = 0; number < 64_000; number += 1) {
      const { partition } = placeKey(space(64), bucketId(0), `user:${String(number)}`);
      counts[partition] = (counts[partition] ?? 0) + 1;
    }
    // 1000 each is expected; the standard deviation is 31.
    expect(Math.min(...counts)).toBeGreaterThan(850);
    expect(Math.max(...counts)).toBeLessThan(1150);
  });
});

const GOLDEN = [
  'dfa876019f8d49630000 894',
  '07026976fd07d84c000061 28',
  '3e2aee37232a9f4a000161 248',
  '9c8ed087a1a9b4e9ffff757365723a31303030 626',
  'e3d4183b4a7b9a0b000000ff 933185',
  '07026976fd07d84c000061 0',
];
