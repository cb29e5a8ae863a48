/** Object v1: golden bytes, damage, limits. */

import { execFileSync } from 'node:child_process';
import { crc32 } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import { toHex } from '../../src/base/bytes.ts';
import { crc32 as plainCrc32, halfSipHash64, halfSipHash64Bytes } from '../../src/base/hash.ts';
import { storeId } from '../../src/base/ids.ts';
import { decodeObject, encodeObject, readHeader } from '../../src/cluster/versioning/codec.ts';
import type { KvObject } from '../../src/cluster/versioning/object.ts';
import { actorOf, emptyObject } from '../../src/cluster/versioning/object.ts';
import { bytesOf } from './history.ts';

const A = actorOf(storeId('0a'.repeat(16)), 1);
const B = actorOf(storeId('0b'.repeat(16)), 2);
const C = actorOf(storeId('0c'.repeat(16)), 3);
const HEX_A = `${'0a'.repeat(16)}00000001`;
const HEX_B = `${'0b'.repeat(16)}00000002`;
const HEX_C = `${'0c'.repeat(16)}00000003`;
const T = 0x018b_cfe5_6800;
const NONE = { ms: 0, logical: 0 };

/** Everything at once: a floor, an actor under it with a live sibling, a blind floor, an edit, operations of a forgotten actor. */
const FULL: KvObject = {
  clock: [{ actor: B, counter: 9, ms: T + 9 }],
  floorMs: T + 2,
  blindFloor: { actor: B, counter: 4, time: { ms: T + 3, logical: 1 } },
  siblings: [
    { actor: B, counter: 8, time: { ms: T + 8, logical: 0 }, blind: false, edit: NONE, expireAtMs: 0, value: bytesOf('new') },
    {
      actor: A,
      counter: 1,
      time: { ms: T + 1, logical: 7 },
      blind: false,
      edit: { ms: T + 9, logical: 5 },
      expireAtMs: T + 99,
      value: bytesOf('older'),
    },
  ],
  operations: [{ id: '0123456789abcdef', actor: C, counter: 5, ms: T + 2, bodyHash: 'bodyhash', existed: true }],
};

const BLIND: KvObject = {
  clock: [{ actor: A, counter: 1, ms: T }],
  floorMs: 0,
  blindFloor: { actor: A, counter: 1, time: { ms: T, logical: 3 } },
  siblings: [{ actor: A, counter: 1, time: { ms: T, logical: 3 }, blind: true, edit: NONE, expireAtMs: T + 5, value: bytesOf('v') }],
  operations: [],
};

function digestOf(state: string): string {
  const text = state.replace(/../g, (pair) => String.fromCharCode(Number.parseInt(pair, 16)));
  const { hi, lo } = halfSipHash64({ k0: 0x636f7465, k1: 0x7269652d }, text, { hi: 0, lo: 0 });
  return hi.toString(16).padStart(8, '0') + lo.toString(16).padStart(8, '0');
}

function golden(operations: string, state: string, tail: string): string {
  const checked = digestOf(state) + operations + state + tail;
  const crc = crc32(Uint8Array.from(checked.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16)));
  return `016b766f${crc.toString(16).padStart(8, '0')}${checked}`;
}

describe('golden bytes', () => {
  test('of the empty object', () => {
    const bytes = toHex(encodeObject(emptyObject(), crc32));
    expect(bytes).toBe(golden('00000000', `0000000000000000000000000000000000000000000000000000`, ''));
    expect(bytes.slice(0, 32)).toBe('016b766f9355ab0a6b309ca5989dc807');
  });

  test('of one blind value', () => {
    const state =
      `000000010001018bcfe56805` +
      `018bcfe568000003000000000000` +
      `${HEX_A}0000000000000001018bcfe56800` +
      `018bcfe56800000300000000000000010000` +
      `010000000000000000018bcfe5680500000001`;
    const bytes = toHex(encodeObject(BLIND, crc32));
    expect(bytes).toBe(golden('00000000', state, '76'));
    expect(bytes.slice(0, 32)).toBe('016b766f60f25dd6d3405b8e28c4f532');
  });

  test('of an object with everything', () => {
    const state =
      `010000020002000000000000` +
      `018bcfe568090005018bcfe56802` +
      `${HEX_A}0000000000000000000000000000` +
      `${HEX_B}0000000000000009018bcfe56809` +
      `018bcfe56803000100000000000000040001` +
      `018bcfe56808000000000000000000080001` +
      `00000000000000000000000000000000000003` +
      `018bcfe56801000700000000000000010000` +
      `00018bcfe568090005018bcfe5686300000005`;
    const operation = `${toHex(bytesOf('0123456789abcdef'))}${toHex(bytesOf('bodyhash'))}018bcfe5680200000000000000050002` + '01';
    const bytes = toHex(encodeObject(FULL, crc32));
    expect(bytes).toBe(golden('01010000', state, `${HEX_C}${operation}${toHex(bytesOf('newolder'))}`));
    expect(bytes.slice(0, 32)).toBe('016b766f285f5dfb0b3c952edfa02dc9');
  });

  test('decode again, and the injected checksum may be any CRC-32', () => {
    for (const object of [emptyObject(), BLIND, FULL]) {
      const bytes = encodeObject(object, crc32);
      expect(decodeObject(bytes, crc32)).toEqual(object);
      expect(encodeObject(object, plainCrc32)).toEqual(bytes);
    }
  });
});

test('the digest hashes bytes in place as it would the same byte string, of every length', () => {
  const key = { k0: 1, k1: 0xffff_ffff };
  const bytes = Uint8Array.from({ length: 70 }, (_, at) => (at * 37) & 0xff);
  for (let from = 0; from < 5; from += 1) {
    for (let to = from; to <= bytes.length; to += 1) {
      const text = String.fromCharCode(...bytes.subarray(from, to));
      expect(halfSipHash64Bytes(key, bytes, from, to, { hi: 0, lo: 0 })).toEqual(halfSipHash64(key, text, { hi: 0, lo: 0 }));
    }
  }
});

describe('the header', () => {
  test('is read without decoding', () => {
    expect(readHeader(encodeObject(BLIND, crc32))).toMatchObject({ siblings: 1, expireAtMs: T + 5, newest: { ms: T, logical: 3 } });
    expect(readHeader(encodeObject(FULL, crc32))).toMatchObject({ siblings: 2, expireAtMs: 0, newest: { ms: T + 9, logical: 5 } });
  });

  test('digests the state: not the operation records, but everything else', () => {
    const digest = (object: KvObject): string => toHex(readHeader(encodeObject(object, crc32)).digest);
    expect(digest({ ...FULL, operations: [] })).toBe(digest(FULL));
    const [first, second] = FULL.siblings;
    if (first === undefined || second === undefined) throw new Error('two siblings');
    for (const other of [
      { ...FULL, clock: [{ actor: B, counter: 10, ms: T + 9 }] },
      { ...FULL, floorMs: T + 1 },
      { ...FULL, blindFloor: undefined },
      { ...FULL, siblings: [first] },
      { ...FULL, siblings: [first, { ...second, expireAtMs: T + 98 }] },
    ]) {
      expect(digest(other)).not.toBe(digest(FULL));
    }
  });
});

describe('damage', () => {
  test('of any single byte, any cut and any addition is DATA_DAMAGED', () => {
    const bytes = encodeObject(FULL, crc32);
    for (let at = 0; at < bytes.length; at += 1) {
      const changed = Uint8Array.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ 0x04;
      expect(() => decodeObject(changed, crc32)).toThrow(expect.objectContaining({ code: 'DATA_DAMAGED' }));
      expect(() => decodeObject(bytes.subarray(0, at), crc32)).toThrow(expect.objectContaining({ code: 'DATA_DAMAGED' }));
    }
    expect(() => decodeObject(Uint8Array.from([...bytes, 0]), crc32)).toThrow(expect.objectContaining({ code: 'DATA_DAMAGED' }));
  });

  test('mutated encodings never crash the decoder, nor pass for what they are not', () => {
    const program = new URL('fuzz.ts', import.meta.url).pathname;
    const out = execFileSync(process.execPath, [program, '60000', '3'], { encoding: 'utf8' });
    const result = JSON.parse(out) as Record<string, unknown>;
    expect(result).toMatchObject({ iterations: 60_000, failures: [] });
    // Both outcomes were exercised: refusals, and deep mutations that are objects of their own.
    expect(result['damaged']).toBeGreaterThan(20_000);
    expect(result['accepted']).toBeGreaterThan(1000);
    expect(result['contextsAccepted']).toBeGreaterThan(1000);
  });
});
