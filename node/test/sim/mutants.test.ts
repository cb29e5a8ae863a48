/** The parts that mutants are made of, where they are more than one line. */

import { crc32 } from 'node:zlib';
import { expect, test } from '@jest/globals';
import { acceptTornFrames } from '../../sim/mutants/accept-torn-tail.ts';

function frame(fill: number): Buffer {
  const bytes = Buffer.alloc(64, fill);
  bytes.writeUInt32LE(64, 4);
  bytes.writeUInt32LE(0xc07e1001, 8);
  bytes.writeUInt32LE(crc32(bytes.subarray(4)), 0);
  return bytes;
}

test('a torn frame is given the checksum of what is left of it, up to where there is none', () => {
  const torn = frame(2).fill(0, 40);
  const log = Buffer.concat([Buffer.alloc(56), frame(1), torn, frame(3), Buffer.alloc(64)]);
  const before = Buffer.from(log);
  expect(acceptTornFrames(log, 56)).toBe(1);
  expect(log.readUInt32LE(56 + 64)).toBe(crc32(torn.subarray(4)));
  before.set(log.subarray(56 + 64, 56 + 68), 56 + 64);
  expect(log.equals(before)).toBe(true);
});
