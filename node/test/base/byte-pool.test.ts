import { expect, test } from '@jest/globals';

import { BytePool } from '../../src/base/byte-pool.ts';

test('pieces are as long as asked for, of zeros, and apart', () => {
  const pool = new BytePool();
  const pieces = Array.from({ length: 3000 }, (_, index) => {
    const size = (index * 37) % 1500;
    const piece = pool.take(size);
    expect(piece.length).toBe(size);
    expect(piece.every((byte) => byte === 0)).toBe(true);
    return piece.fill(index % 255);
  });
  for (const [index, piece] of pieces.entries()) expect(piece.every((byte) => byte === index % 255)).toBe(true);
});
