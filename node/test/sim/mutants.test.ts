/** The parts that mutants are made of, where they are more than one line. */

import { crc32 } from 'node:zlib';
import { expect, test } from '@jest/globals';
import { withTornFramesPassing } from '../../sim/mutants/accept-torn-tail.ts';

function frame(fill: number): Buffer {
  const bytes = Buffer.alloc(64, fill);
  bytes.writeUInt32LE(64, 4);
  bytes.writeUInt32LE(0xc07e1001, 8);
  bytes.writeUInt32LE(crc32(bytes.subarray(4)), 0);
  return bytes;
}

function passes(log: Buffer, at: number): boolean {
  return log.readUInt32LE(at) === crc32(log.subarray(at + 4, at + 64));
}

const HEAD = Buffer.alloc(56);

test('a log that passes stays as it is', () => {
  expect(withTornFramesPassing(Buffer.concat([HEAD, frame(1), frame(2)]), 56)).toBeUndefined();
  expect(withTornFramesPassing(Buffer.concat([HEAD, frame(1), Buffer.alloc(100)]), 56)).toBeUndefined();
});

test('a torn frame is given the checksum of what is left of it, in the middle and at the end', () => {
  const torn = frame(2).fill(0, 40);
  const cut = frame(4).subarray(0, 50);
  const log = Buffer.concat([HEAD, frame(1), torn, frame(3), cut]);
  const made = withTornFramesPassing(log, 56) ?? Buffer.alloc(0);
  expect(made.length).toBe(56 + 4 * 64);
  expect([0, 1, 2, 3].map((nth) => passes(made, 56 + nth * 64))).toEqual([true, true, true, true]);
  expect(made.subarray(56 + 64 + 4, 56 + 3 * 64).equals(Buffer.concat([torn, frame(3)]).subarray(4))).toBe(true);
});
