import { describe, expect, test } from '@jest/globals';
import { crc32 } from 'node:zlib';

import { FrameParser } from '../../src/transport/frame-parser.ts';
import { type Frame, frameCrc, HEADER_BYTES, writeFrame } from '../../src/transport/frame.ts';

/** A request of type 20 and id 0x01020304 with 1,500 ms left, at epoch 2^52 + 5, payload "coterie". */
const GOLDEN = '0000001d' + '14' + '00' + '01020304' + '000005dc' + '0010000000000005' + '6e62dfc2' + '636f7465726965';
const GOLDEN_EPOCH = 2 ** 52 + 5;

function frames(bytes: Uint8Array): Frame[] {
  const seen: Frame[] = [];
  new FrameParser({
    frame: (frame) => {
      seen.push({ ...frame, payload: Uint8Array.from(frame.payload) });
      return true;
    },
  }).push(bytes);
  return seen;
}

describe('a frame', () => {
  test('is these bytes, whatever the version', () => {
    const target = new Uint8Array(64);
    const payload = Buffer.from('...coterie...');
    const end = writeFrame(target, 3, 20, 0, 0x01020304, 1500, GOLDEN_EPOCH, payload, 3, 10);
    expect(Buffer.from(target.subarray(3, end)).toString('hex')).toBe(GOLDEN);
  });

  test('reads back from those bytes', () => {
    expect(frames(Buffer.from(GOLDEN, 'hex'))).toEqual([
      { type: 20, flags: 0, id: 0x01020304, remainingMs: 1500, epoch: GOLDEN_EPOCH, payload: Uint8Array.from(Buffer.from('coterie')) },
    ]);
  });

  test('has a checksum over all but itself, for short and long payloads', () => {
    for (const size of [0, 1, 160, 161, 65_536]) {
      const target = Buffer.alloc(10 + HEADER_BYTES + size);
      const payload = Buffer.alloc(size, 'payload');
      writeFrame(target, 10, 16, 0, 1, 2, 3, payload, 0, size);
      const frame = target.subarray(10);
      expect(frame.readUInt32BE(22)).toBe(crc32(Buffer.concat([frame.subarray(0, 22), payload])));
      expect(frameCrc(target, 10, size)).toBe(frame.readUInt32BE(22));
    }
  });

  test('is refused if any one of its bits is flipped', () => {
    const golden = Buffer.from(GOLDEN, 'hex');
    for (let bit = 0; bit < golden.length * 8; bit += 1) {
      const flipped = Buffer.from(golden);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      let accepted = 0;
      try {
        accepted = frames(flipped).length;
      } catch (error) {
        expect(error).toMatchObject({ name: 'CoterieError', code: expect.stringMatching(/^FRAME_(INVALID|TOO_LARGE)$/) });
      }
      // A longer length waits for bytes that never come; nothing is handed on either way.
      expect(accepted).toBe(0);
    }
  });
});
