import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';

import { FrameParser } from '../../src/transport/frame-parser.ts';
import type { Frame } from '../../src/transport/frame.ts';
import { type RawFrame, rawFrame } from './raw-peer.ts';

const frameArbitrary: fc.Arbitrary<RawFrame> = fc.record({
  type: fc.integer({ min: 1, max: 255 }),
  flags: fc.integer({ min: 0, max: 7 }),
  id: fc.integer({ min: 0, max: 0xffff_ffff }),
  remainingMs: fc.integer({ min: 0, max: 0xffff_ffff }),
  epoch: fc.bigInt({ min: 0n, max: 2n ** 53n - 1n }),
  payload: fc
    .oneof({ weight: 9, arbitrary: fc.integer({ min: 0, max: 300 }) }, { weight: 1, arbitrary: fc.integer({ min: 60_000, max: 65_536 }) })
    .map((size) => Buffer.alloc(size, size & 0xff)),
});

function copyOf(frame: Frame): RawFrame {
  return { ...frame, epoch: BigInt(frame.epoch), payload: Buffer.from(frame.payload) };
}

/** The bytes of frames, to compare by: jest compares large arrays element by element. */
function bytesOf(frames: RawFrame[]): Buffer {
  return Buffer.concat(frames.map(rawFrame));
}

/** Gives the parser `bytes` in pieces that are overwritten as soon as it returns. */
function feed(parser: FrameParser, bytes: Uint8Array): void {
  const chunk = Buffer.from(bytes);
  parser.push(chunk);
  chunk.fill(0xdb);
}

describe('FrameParser', () => {
  test('hands on the same frames however the stream is cut and whenever the sink stops it', () => {
    fc.assert(
      fc.property(
        fc.array(frameArbitrary, { minLength: 1, maxLength: 12 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 70_000 })),
        fc.boolean(),
        fc.infiniteStream(fc.boolean()),
        (sent, cuts, fine, stops) => {
          const received: RawFrame[] = [];
          const parser = new FrameParser({
            frame: (frame) => {
              received.push(copyOf(frame));
              return !(stops.next().value ?? false);
            },
          });
          let rest: Buffer = bytesOf(sent);
          const finely = fine && rest.length < 4000;
          while (rest.length > 0) {
            const next: unknown = cuts.next().value;
            const size = typeof next === 'number' ? next : 1;
            const cut = finely ? 1 + (size % 40) : size;
            feed(parser, rest.subarray(0, cut));
            rest = rest.subarray(cut);
            if (stops.next().value !== true) parser.resume();
          }
          while (parser.stopped) parser.resume();
          expect(received.length).toBe(sent.length);
          expect(bytesOf(received).equals(bytesOf(sent))).toBe(true);
          expect(parser.heldBytes).toBe(0);
        },
      ),
      { numRuns: 150, seed: 1 },
    );
  });

  test('copies nothing of a frame that lies whole in a chunk', () => {
    const chunk = Buffer.concat([rawFrame({ type: 16, payload: Buffer.from('one') }), rawFrame({ type: 16, payload: Buffer.from('two') })]);
    let within = 0;
    const parser = new FrameParser({
      frame: ({ payload }) => {
        if (payload.buffer === chunk.buffer) within += 1;
        return true;
      },
    });
    parser.push(chunk);
    expect(within).toBe(2);
    expect(parser.heldBytes).toBe(0);
  });

  test.each([
    ['a length below the header', Buffer.from('00000015', 'hex'), 'FRAME_INVALID'],
    ['a length above one chunk', Buffer.from('00010017', 'hex'), 'FRAME_TOO_LARGE'],
    ['the largest length there is', Buffer.from('ffffffff', 'hex'), 'FRAME_TOO_LARGE'],
    ['type 0', rawFrame({ type: 0 }), 'FRAME_INVALID'],
    ['an unknown flag', rawFrame({ type: 16, flags: 8 }), 'FRAME_INVALID'],
    ['an epoch of 2^53', rawFrame({ type: 16, epoch: 2n ** 53n }), 'FRAME_INVALID'],
    ['an epoch of 2^64 - 1', rawFrame({ type: 16, epoch: 2n ** 64n - 1n }), 'FRAME_INVALID'],
  ])('refuses %s as soon as it is there, whole or byte by byte', (_, bytes, code) => {
    const sink = {
      frame: (): boolean => {
        throw new Error('it was handed on');
      },
    };
    const whole = new FrameParser(sink);
    expect(() => whole.push(bytes)).toThrow(expect.objectContaining({ code }));
    const slow = new FrameParser(sink);
    expect(() => {
      for (const byte of bytes) slow.push(Uint8Array.of(byte));
    }).toThrow(expect.objectContaining({ code }));
    expect(slow.heldBytes).toBeLessThanOrEqual(bytes.length);
  });

  test('never waits for more than one frame', () => {
    const parser = new FrameParser({ frame: () => true });
    const stream = Buffer.concat(Array.from({ length: 20 }, (_, i) => rawFrame({ type: 16, payload: Buffer.alloc(65_536, i) })));
    let most = 0;
    for (let at = 0; at < stream.length; at += 10_007) {
      parser.push(stream.subarray(at, at + 10_007));
      most = Math.max(most, parser.heldBytes);
    }
    expect(most).toBeGreaterThan(50_000);
    expect(most).toBeLessThanOrEqual(26 + 65_536);
  });
});
