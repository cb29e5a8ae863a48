import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';

import { fromByteString } from '../../src/base/bytes.ts';
import { partitionId, storeId } from '../../src/base/ids.ts';
import {
  decodeCoordinate,
  decodeCoordinateAnswer,
  encodeCoordinate,
  encodeCoordinateAnswer,
} from '../../src/transport/messages/coordinate.ts';
import { decodeGossip, encodeGossip, type GossipMessage } from '../../src/transport/messages/gossip.ts';
import { HotEncoder } from '../../src/transport/messages/hot-encoder.ts';
import { decodeHint, encodeHint } from '../../src/transport/messages/hint.ts';
import { decodeNotice, encodeNotice } from '../../src/transport/messages/notice.ts';
import {
  decodeCopyAnswer,
  decodeCopyQuestion,
  decodeListAnswer,
  decodeListQuestion,
  encodeCopyAnswer,
  encodeCopyQuestion,
  encodeListAnswer,
  encodeListQuestion,
} from '../../src/transport/messages/ranges.ts';
import { decodeDigestReply, decodeReadRequest, decodeValueReply, decodeWriteRequest } from '../../src/transport/messages/replica.ts';
import { coterie } from '../../src/transport/wire.ts';

const { ReadRequest, ValueReply, DigestReply, WriteRequest } = coterie.peer;

const KEY = fc.uint8Array({ minLength: 11, maxLength: 1100 }).map((bytes) => Buffer.from(bytes).toString('latin1'));
const OBJECT = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 300 }),
  fc.integer({ min: 1, max: 70_000 }).map((length) => new Uint8Array(length).fill(7)),
);

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

describe('the encodings written by hand', () => {
  const encoder = new HotEncoder();

  test('are those of protobufjs, byte for byte, and come back', () => {
    fc.assert(
      fc.property(KEY, OBJECT, fc.boolean(), fc.integer({ min: 1, max: 0xffff_ffff }), (key, object, counts, generation) => {
        const bytes = fromByteString(key);
        expect(hex(encoder.readRequest(key))).toBe(hex(ReadRequest.encode({ key: bytes }).finish()));
        expect(decodeReadRequest(encoder.readRequest(key))).toBe(key);
        expect(hex(encoder.writeRequest(key, object, generation))).toBe(
          hex(WriteRequest.encode({ key: bytes, object, generation }).finish()),
        );
        const write = decodeWriteRequest(encoder.writeRequest(key, object, generation));
        expect([write.key, hex(write.object), write.generation]).toEqual([key, hex(object), generation]);
        const flag = counts ? { counts } : {};
        expect(hex(encoder.valueReply(object, counts))).toBe(hex(ValueReply.encode({ found: true, ...flag, object }).finish()));
        const value = decodeValueReply(encoder.valueReply(object, counts));
        expect([hex(value.object ?? new Uint8Array(0)), value.counts]).toEqual([hex(object), counts]);
        expect(hex(encoder.valueReply(undefined, counts))).toBe(hex(ValueReply.encode(flag).finish()));
        expect(decodeValueReply(encoder.valueReply(undefined, counts))).toEqual({ object: undefined, counts });
        const digest = fromByteString(key.slice(0, 8));
        expect(hex(encoder.digestReply(digest, counts))).toBe(hex(DigestReply.encode({ digest, ...flag }).finish()));
        expect(decodeDigestReply(encoder.digestReply(digest, counts))).toEqual({ digest: key.slice(0, 8), counts });
        expect(decodeDigestReply(encoder.digestReply(undefined, counts))).toEqual({ digest: '', counts });
      }),
      { numRuns: 200, seed: 3 },
    );
  });

  test('a short key, a digest of another length, and nonsense are refused', () => {
    const code = (call: () => unknown): string | undefined => {
      try {
        call();
        return undefined;
      } catch (error) {
        return (error as { code?: string }).code;
      }
    };
    expect(code(() => decodeReadRequest(encoder.readRequest('0123456789')))).toBe('FRAME_INVALID');
    expect(code(() => decodeDigestReply(encoder.digestReply(new Uint8Array(7), true)))).toBe('FRAME_INVALID');
    expect(code(() => decodeWriteRequest(new Uint8Array([0x0a, 0xff])))).toBe('FRAME_INVALID');
    expect(code(() => decodeNotice(new Uint8Array(0)))).toBe('FRAME_INVALID');
  });
});

describe('the other messages', () => {
  test('come back as they were', () => {
    const command = {
      bucket: 3,
      key: 'k\xff',
      kind: 'put' as const,
      value: Buffer.from('value'),
      expireAtMs: 2 ** 48 - 1,
      keepTtl: true,
      w: 2,
      context: Buffer.from('context'),
      operationId: '0123456789abcdef',
      sloppy: true,
      attempt: 2 ** 53 - 1,
      beginWithinMs: 25,
      second: true,
      latestMs: 1_700_000_000_000,
      silent: 0b101,
    };
    expect(decodeCoordinate(encodeCoordinate(command))).toEqual(command);
    const bare = {
      ...command,
      kind: 'delete' as const,
      context: undefined,
      operationId: undefined,
      keepTtl: false,
      expireAtMs: 0,
      sloppy: false,
      attempt: 0,
      beginWithinMs: 0,
      second: false,
      latestMs: 0,
      silent: 0,
    };
    expect(decodeCoordinate(encodeCoordinate(bare))).toEqual(bare);
    for (const flag of [true, false]) {
      const answer = { context: Buffer.from('c'), existed: flag, siblings: flag ? 2 : 0, changed: flag, fallbacks: flag ? 1 : 0 };
      expect({ ...decodeCoordinateAnswer(encodeCoordinateAnswer(answer)) }).toEqual(answer);
    }
    const list = { bucket: 1, from: '\0'.repeat(8), to: '', limit: 10 };
    expect(decodeListQuestion(encodeListQuestion(list))).toEqual(list);
    const listed = { entries: [{ key: 'key', digest: '12345678', live: false }], end: 'end', counts: true };
    expect(decodeListAnswer(encodeListAnswer(listed))).toEqual(listed);
    expect(decodeListAnswer(encodeListAnswer({ entries: [], end: '', counts: false }))).toEqual({ entries: [], end: '', counts: false });
    expect(decodeCopyQuestion(encodeCopyQuestion({ from: 'x', maxBytes: 5, to: 'y' }))).toEqual({ from: 'x', maxBytes: 5, to: 'y' });
    const copied = { entries: [{ key: 'key', object: Buffer.from('o') }], next: undefined, synchronised: true, partitions: [] };
    expect(decodeCopyAnswer(encodeCopyAnswer(copied))).toEqual(copied);
    const page = {
      entries: [],
      next: 'more',
      synchronised: false,
      partitions: [{ partition: partitionId(3), generation: 7, floor: 5, least: 2 }],
    };
    expect(decodeCopyAnswer(encodeCopyAnswer(page))).toEqual(page);
    const notice = {
      storeId: storeId('a'.repeat(32)),
      boot: 2 ** 52,
      lease: 7,
      actorEpoch: 0xffff_ffff,
      synchronised: true,
      removed: [storeId('b'.repeat(32))],
      hints: [{ member: 'node-2', hints: 2 ** 40, bytes: 2 ** 50, debt: 1 }],
      hintsFull: true,
    };
    expect(decodeNotice(encodeNotice(notice))).toEqual(notice);
    const plain = { ...notice, hints: [], hintsFull: false };
    expect(decodeNotice(encodeNotice(plain))).toEqual(plain);
    const hint = { slot: 2, key: '0123456789key', object: Buffer.from('object'), w: 3, generation: 4_000_000_000 };
    expect(decodeHint(encodeHint(hint))).toEqual(hint);
  });
});

describe('gossip', () => {
  const U53 = fc.maxSafeNat();
  const LIFE = fc.nat({ max: 2 ** 30 }).map((life) => life * 2 ** 18);
  const STORE = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => storeId(hex(bytes)));
  const MESSAGE: fc.Arbitrary<GossipMessage> = fc.record({
    incarnation: LIFE,
    heartbeat: U53,
    load: fc.nat(),
    epoch: U53,
    store: fc.option(STORE, { nil: undefined }),
    exchange: fc.boolean(),
    rows: fc.array(fc.tuple(fc.nat(1000), LIFE, U53, fc.nat(), U53), { maxLength: 40 }).map((rows) => rows.flat()),
    introductions: fc.array(fc.record({ member: fc.nat(1000), incarnation: LIFE, store: STORE }), { maxLength: 8 }),
    accusations: fc.array(fc.record({ member: fc.nat(1000), incarnation: LIFE, observer: fc.nat(1000), observerIncarnation: LIFE }), {
      maxLength: 8,
    }),
  });

  test('comes back as it was', () => {
    fc.assert(
      fc.property(MESSAGE, (message) => {
        expect(decodeGossip(encodeGossip(message))).toEqual(message);
      }),
    );
  });

  test('is refused where it is too long, its columns differ, or a store id is none', () => {
    const { Gossip } = coterie.peer;
    const code = (message: object): string => {
      try {
        decodeGossip(Gossip.encode(message).finish());
        return 'taken';
      } catch (error) {
        return (error as { code: string }).code;
      }
    };
    const columns = (length: number): object =>
      Object.fromEntries(['members', 'incarnations', 'heartbeats', 'loads', 'epochs'].map((name) => [name, new Array(length).fill(1)]));
    expect(code(columns(1024))).toBe('taken');
    expect(code(columns(1025))).toBe('FRAME_INVALID');
    expect(code({ ...columns(2), loads: [1] })).toBe('FRAME_INVALID');
    expect(code({ storeId: new Uint8Array(15) })).toBe('FRAME_INVALID');
    expect(code({ introductions: [{ member: 1 }] })).toBe('FRAME_INVALID');
    expect(code({ accusations: new Array(257).fill({ member: 1 }) })).toBe('FRAME_INVALID');
    expect(code({ incarnation: 2 ** 48 })).toBe('taken');
    expect(code({ incarnation: 2 ** 48 + 1 })).toBe('FRAME_INVALID');
    expect(code({ accusations: [{ member: 1, incarnation: 2 ** 52 }] })).toBe('FRAME_INVALID');
    expect(code({ ...columns(1), heartbeats: [2 ** 60] })).toBe('FRAME_INVALID');
  });
});
