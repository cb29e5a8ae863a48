/** Object v1: golden bytes, damage, limits. */

import { execFileSync } from 'node:child_process';
import { crc32 } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import { toHex } from '../../src/base/bytes.ts';
import { crc32 as plainCrc32, halfSipHash64 } from '../../src/base/hash.ts';
import { storeId } from '../../src/base/ids.ts';
import { operationOfAttempt } from '../../src/cluster/versioning/attempt.ts';
import { decodeObject, decodeReplaced, encodeObject, readDigest, readHeader } from '../../src/cluster/versioning/codec.ts';
import { writeDigest } from '../../src/cluster/versioning/digest.ts';
import { writeU32 } from '../../src/cluster/versioning/fields.ts';
import {
  AT_CHECKED,
  AT_CRC,
  ENTRY_BYTES,
  FLAG_BLIND,
  HEADER_BYTES,
  ORDER_BYTES,
  readLayout,
  SIBLING_BYTES,
} from '../../src/cluster/versioning/layout.ts';
import type { KvObject } from '../../src/cluster/versioning/object.ts';
import { actorOf, emptyObject } from '../../src/cluster/versioning/object.ts';
import { peekVersion } from '../../src/cluster/versioning/peek.ts';
import { present } from '../../src/cluster/versioning/present.ts';
import { reconcileEncoded } from '../../src/cluster/versioning/reconcile.ts';
import { bytesOf, textOf } from './history.ts';

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
  operations: [{ id: '0123456789abcdef', actor: C, counter: 5, ms: T + 2, bodyHash: 'bodyhash', existed: true, replaced: true }],
};

const BLIND: KvObject = {
  clock: [{ actor: A, counter: 1, ms: T }],
  floorMs: 0,
  blindFloor: { actor: A, counter: 1, time: { ms: T, logical: 3 } },
  siblings: [{ actor: A, counter: 1, time: { ms: T, logical: 3 }, blind: true, edit: NONE, expireAtMs: T + 5, value: bytesOf('v') }],
  operations: [],
};

/** Operation x minted two dots that live, operation y one that lives and one that is dead. */
const TWINS: KvObject = {
  clock: [
    { actor: A, counter: 3, ms: T + 3 },
    { actor: B, counter: 9, ms: T + 9 },
    { actor: C, counter: 1, ms: T + 5 },
  ],
  floorMs: 0,
  blindFloor: undefined,
  siblings: [
    { actor: B, counter: 9, time: { ms: T + 9, logical: 0 }, blind: false, edit: NONE, expireAtMs: 0, value: bytesOf('x') },
    { actor: C, counter: 1, time: { ms: T + 5, logical: 0 }, blind: false, edit: NONE, expireAtMs: 0, value: bytesOf('x') },
    { actor: A, counter: 3, time: { ms: T + 3, logical: 0 }, blind: false, edit: NONE, expireAtMs: 0, value: bytesOf('y') },
  ],
  operations: [
    { id: 'x'.repeat(16), actor: B, counter: 9, ms: T + 9, bodyHash: 'bodyhash', existed: false, replaced: false },
    { id: 'x'.repeat(16), actor: C, counter: 1, ms: T + 5, bodyHash: 'bodyhash', existed: false, replaced: false },
    { id: 'y'.repeat(16), actor: A, counter: 3, ms: T + 3, bodyHash: 'bodyhash', existed: false, replaced: false },
    { id: 'y'.repeat(16), actor: A, counter: 1, ms: T + 1, bodyHash: 'bodyhash', existed: false, replaced: false },
  ],
};

function digestOf(state: string): string {
  const text = state.replace(/../g, (pair) => String.fromCharCode(Number.parseInt(pair, 16)));
  const { hi, lo } = halfSipHash64({ k0: 0x636f7465, k1: 0x7269652d }, text, { hi: 0, lo: 0 });
  return hi.toString(16).padStart(8, '0') + lo.toString(16).padStart(8, '0');
}

function codeOf(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return (error as { code?: unknown }).code;
  }
  return undefined;
}

/** `bytes` with its digest and checksum made right again. */
function resealed(bytes: Uint8Array): Uint8Array {
  writeDigest(bytes, readLayout(bytes)?.extrasAt ?? 0);
  writeU32(bytes, AT_CRC, crc32(bytes.subarray(AT_CHECKED)));
  return bytes;
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
    const operation = `${toHex(bytesOf('0123456789abcdef'))}${toHex(bytesOf('bodyhash'))}018bcfe5680200000000000000050002` + '03';
    const bytes = toHex(encodeObject(FULL, crc32));
    expect(bytes).toBe(golden('01010000', state, `${HEX_C}${operation}${toHex(bytesOf('newolder'))}`));
    expect(bytes.slice(0, 32)).toBe('016b766f06a9757d0b3c952edfa02dc9');
    const unmarked = { ...FULL, operations: FULL.operations.map((record) => ({ ...record, replaced: false })) };
    expect(toHex(encodeObject(unmarked, crc32)).slice(0, 32)).toBe('016b766f285f5dfb0b3c952edfa02dc9');
  });

  test('of values that are not shown: one whose operation was replaced in another dot, and the older of two of one operation', () => {
    const state =
      `000000030003000000000000` +
      `018bcfe568090000000000000000` +
      `${HEX_A}0000000000000003018bcfe56803` +
      `${HEX_B}0000000000000009018bcfe56809` +
      `${HEX_C}0000000000000001018bcfe56805` +
      `018bcfe56809000000000000000000090001` +
      `00000000000000000000000000000000000001` +
      `018bcfe56805000000000000000000010002` +
      `04000000000000000000000000000000000001` +
      `018bcfe56803000000000000000000030000` +
      `02000000000000000000000000000000000001`;
    const name = (id: string): string => toHex(bytesOf(id.repeat(16))) + toHex(bytesOf('bodyhash'));
    const operations =
      `${name('x')}018bcfe568090000000000000009000100` +
      `${name('x')}018bcfe568050000000000000001000200` +
      `${name('y')}018bcfe568030000000000000003000000` +
      `${name('y')}018bcfe568010000000000000001000000`;
    const bytes = encodeObject(TWINS, crc32);
    expect(toHex(bytes)).toBe(golden('04000000', state, `${operations}${toHex(bytesOf('xxy'))}`));
    expect(decodeObject(bytes, crc32)).toEqual(TWINS);
    expect(present(TWINS, T).map(({ value }) => textOf(value))).toEqual(['x']);
    // No other marks are taken. (Without bit 0: a blind sibling may be another object.)
    const layout = readLayout(bytes);
    for (let i = 0; i < 3; i += 1) {
      for (let flags = 0; flags < 256; flags += 2) {
        const at = (layout?.siblingsAt ?? 0) + i * SIBLING_BYTES + ORDER_BYTES;
        if (flags === bytes[at]) continue;
        const other = Uint8Array.from(bytes);
        other[at] = flags;
        expect(codeOf(() => decodeObject(resealed(other), crc32))).toBe('DATA_DAMAGED');
      }
    }
  });

  test('decode again, and the injected checksum may be any CRC-32', () => {
    for (const object of [emptyObject(), BLIND, FULL]) {
      const bytes = encodeObject(object, crc32);
      expect(decodeObject(bytes, crc32)).toEqual(object);
      expect(encodeObject(object, plainCrc32)).toEqual(bytes);
      // Every byte is written: what a pool gives may be dirty.
      expect(encodeObject(object, crc32, (size) => new Uint8Array(size).fill(0xff))).toEqual(bytes);
    }
  });
});

describe('the header', () => {
  test('is read without decoding', () => {
    expect(readHeader(encodeObject(BLIND, crc32))).toMatchObject({ siblings: 1, expireAtMs: T + 5, newest: { ms: T, logical: 3 } });
    expect(readHeader(encodeObject(FULL, crc32))).toMatchObject({ siblings: 2, expireAtMs: 0, newest: { ms: T + 9, logical: 5 } });
  });

  test('is refused where the parts that it counts are not there', () => {
    const bytes = encodeObject(FULL, crc32);
    const valuesAt = bytes.length - 'newolder'.length;
    expect(codeOf(() => readHeader(bytes.subarray(0, valuesAt)))).toBeUndefined();
    for (let length = 0; length < valuesAt; length += 1) {
      expect(codeOf(() => readHeader(bytes.subarray(0, length)))).toBe('DATA_DAMAGED');
      expect(codeOf(() => peekVersion(bytes.subarray(0, length)))).toBe('DATA_DAMAGED');
    }
    const single = encodeObject(BLIND, crc32);
    expect(codeOf(() => peekVersion(single.subarray(0, single.length - 1)))).toBe('DATA_DAMAGED');
  });

  test('digests the state: not the operation records, but everything else', () => {
    const digest = (object: KvObject): string => toHex(readDigest(encodeObject(object, crc32)));
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

test('an object in the same state that brings an operation record is stored; one without leaves the record', () => {
  const bare = encodeObject({ ...FULL, operations: [] }, crc32);
  const full = encodeObject(FULL, crc32);
  expect(reconcileEncoded(bare, full, crc32)).toMatchObject({ kind: 'store', bytes: full });
  expect(reconcileEncoded(full, bare, crc32)).toEqual({ kind: 'keep' });
  expect(reconcileEncoded(undefined, full, crc32)).toMatchObject({ kind: 'store', bytes: full });
  const damaged = Uint8Array.from(full);
  damaged[damaged.length - 1] = 0;
  for (const [local, incoming] of [
    [undefined, damaged],
    [bare, damaged],
    [damaged, full],
  ] as const) {
    expect(codeOf(() => reconcileEncoded(local, incoming, crc32))).toBe('DATA_DAMAGED');
  }
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

  test('of a value that is replaced does not matter, of anything that is kept it does', () => {
    const written = (counter: number, value: string): KvObject => {
      const order = { actor: B, counter, time: { ms: T + counter, logical: 0 } };
      const sibling = { ...order, blind: true, edit: NONE, expireAtMs: 0, value: bytesOf(value) };
      return { clock: [{ actor: B, counter, ms: T + counter }], floorMs: 0, blindFloor: order, siblings: [sibling], operations: [] };
    };
    const flipped = (bytes: Uint8Array, at: number): Uint8Array =>
      bytes.map((byte, index) => (index === (at + bytes.length) % bytes.length ? byte ^ 1 : byte));
    const older = encodeObject(written(1, 'older'), crc32);
    const newer = encodeObject(written(2, 'newer'), crc32);
    const blotted = flipped(older, -1);
    expect(reconcileEncoded(blotted, newer, crc32)).toMatchObject({ kind: 'store', bytes: newer });
    expect(decodeReplaced(blotted, crc32).clock).toEqual(decodeObject(older, crc32).clock);
    expect(codeOf(() => reconcileEncoded(flipped(newer, -1), older, crc32))).toBe('DATA_DAMAGED');
    expect(codeOf(() => reconcileEncoded(older, flipped(newer, -1), crc32))).toBe('DATA_DAMAGED');
    expect(codeOf(() => decodeReplaced(flipped(encodeObject(FULL, crc32), -1), crc32))).toBe('DATA_DAMAGED');
    const record = { ...operationOfAttempt(7), actor: B, counter: 1, ms: T + 1, existed: false, replaced: false };
    const attempted = encodeObject({ ...written(1, 'older'), operations: [record] }, crc32);
    expect(decodeReplaced(flipped(attempted, -1), crc32)).toMatchObject({ operations: [record] });
    // The clock, and all else that a write looks at; the checksum itself is all that nobody asks for.
    for (let at = 0; at < HEADER_BYTES + ENTRY_BYTES + ORDER_BYTES; at += 1) {
      if (at >= AT_CRC && at < AT_CRC + 4) continue;
      expect([at, codeOf(() => reconcileEncoded(flipped(older, at), newer, crc32))]).toEqual([at, 'DATA_DAMAGED']);
      expect([at, codeOf(() => decodeReplaced(flipped(older, at), crc32))]).toEqual([at, 'DATA_DAMAGED']);
    }
  });

  test('is also what breaks an invariant of objects, however sound its checksum and digest', () => {
    const [first, second] = FULL.siblings;
    const [record] = FULL.operations;
    const [entry] = FULL.clock;
    if (first === undefined || second === undefined || record === undefined || entry === undefined) throw new Error('incomplete');
    const older = { ...record, counter: 4, ms: T + 1 };
    const bad: Record<string, KvObject> = {
      'clock entry under the floor': { ...FULL, clock: [{ ...entry, ms: T + 2 }] },
      'clock out of order': { ...FULL, clock: [entry, { actor: A, counter: 1, ms: T + 9 }] },
      'actor twice': { ...FULL, clock: [entry, entry] },
      'unseen sibling': { ...FULL, siblings: [{ ...first, counter: 10 }, second] },
      'siblings out of order': { ...FULL, siblings: [second, first] },
      'sibling twice': { ...FULL, siblings: [first, first] },
      'unseen blind floor': { ...FULL, blindFloor: { actor: B, counter: 10, time: { ms: T + 3, logical: 0 } } },
      'counter 0': { ...FULL, siblings: [{ ...first, counter: 0 }, second] },
      'operations out of order': { ...FULL, operations: [older, record] },
      'operation twice': { ...FULL, operations: [record, record] },
      'operation out of the window': { ...FULL, floorMs: T + 600_004, clock: [], operations: [{ ...record, ms: T + 600_003 }, record] },
      'unseen operation': { ...FULL, operations: [{ ...record, ms: T + 3 }] },
    };
    for (const [what, object] of Object.entries(bad)) {
      const bytes = encodeObject(object, crc32);
      expect([what, codeOf(() => decodeObject(bytes, crc32))]).toEqual([what, 'DATA_DAMAGED']);
    }
    expect(() => encodeObject({ ...FULL, siblings: [{ ...first, blind: true }, second] }, crc32)).toThrow(/broken invariant/);
  });

  test('is an actor that nothing refers to, or a blind sibling beside a floor', () => {
    const bytes = encodeObject({ ...BLIND, clock: [...BLIND.clock, { actor: B, counter: 1, ms: T }] }, crc32);
    expect(codeOf(() => decodeObject(bytes, crc32))).toBeUndefined();
    // The second actor's entry, 20 bytes after its start: no counter and no time.
    bytes.fill(0, HEADER_BYTES + ENTRY_BYTES + 20, HEADER_BYTES + 2 * ENTRY_BYTES);
    expect(codeOf(() => decodeObject(resealed(bytes), crc32))).toBe('DATA_DAMAGED');
    const [first, second] = FULL.siblings;
    if (first === undefined || second === undefined) throw new Error('incomplete');
    const floored = encodeObject({ ...FULL, siblings: [first], operations: [] }, crc32);
    floored[HEADER_BYTES + ENTRY_BYTES + 2 * ORDER_BYTES] = FLAG_BLIND;
    expect(codeOf(() => decodeObject(resealed(floored), crc32))).toBe('DATA_DAMAGED');
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
