/** Object v2, the register of a strong key: tags, the laws of merging, golden bytes, damage. */

import { crc32 } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { toHex } from '../../src/base/bytes.ts';
import { storeId } from '../../src/base/ids.ts';
import { decodeObject, encodeObject, readDigest, readHeader } from '../../src/cluster/versioning/codec.ts';
import { sameDigest } from '../../src/cluster/versioning/digest.ts';
import { actorOf, emptyObject } from '../../src/cluster/versioning/object.ts';
import { peekVersion } from '../../src/cluster/versioning/peek.ts';
import { reconcileEncoded } from '../../src/cluster/versioning/reconcile.ts';
import { EMPTY_REGISTER, holds, latestRecord, MAX_RECORDS, mergeRegisters, type Register } from '../../src/cluster/versioning/register.ts';
import { decodeRegister, encodeRegister, readTag, readValue, registerIn } from '../../src/cluster/versioning/register-codec.ts';
import { counterOf, isTag, makeTag, NO_TAG, type Tag } from '../../src/cluster/versioning/tag.ts';
import { bytesOf } from './history.ts';

const A = actorOf(storeId('0a'.repeat(16)), 1);
const B = actorOf(storeId('0b'.repeat(16)), 2);
const SEED = 20_261_125;

const ID = '0123456789abcdef';
const HASH = 'bodyhash';

function valueOf(tag: Tag): Uint8Array | undefined {
  // A function of the tag, as in life: one in four is a delete.
  const sum = Array.from(tag).reduce((total, byte) => total + byte.charCodeAt(0), 0);
  return tag === NO_TAG || sum % 4 === 0 ? undefined : bytesOf(`value ${String(sum)}`);
}

const anyTag = fc
  .record({ counter: fc.integer({ min: 1, max: 4 }), actor: fc.constantFrom(A, B), number: fc.integer({ min: 1, max: 4 }) })
  .map(({ counter, actor, number }) => makeTag(counter, { actor, counter: number }));
const anyRecord = fc
  .record({ id: fc.integer({ min: 0, max: 9 }), ballot: anyTag, rank: fc.integer({ min: 1, max: 30 }) })
  // What a record says is a function of the operation and the ballot.
  .map(({ id, ballot, rank }) => ({
    id: `${ID.slice(1)}${String(id)}`,
    bodyHash: HASH,
    ballot,
    tag: makeTag(rank, { actor: A, counter: id + 1 }),
    rank,
    existed: id % 2 === 0,
  }));
const anyRegister = fc
  .record({ tag: fc.option(anyTag, { nil: NO_TAG }), records: fc.array(anyRecord, { maxLength: MAX_RECORDS + 8 }) })
  .map(({ tag, records }) =>
    records.reduce<Register>((register, record) => mergeRegisters(register, { ...EMPTY_REGISTER, records: [record] }), {
      tag,
      value: valueOf(tag),
      records: [],
    }),
  );

function encoded(register: Register): string {
  return toHex(encodeRegister(register, crc32));
}

describe('tags', () => {
  test('are ordered by counter, then actor, then number; no tag is below all', () => {
    const ordered = [
      NO_TAG,
      makeTag(1, { actor: A, counter: 1 }),
      makeTag(1, { actor: A, counter: 2 ** 40 }),
      makeTag(1, { actor: B, counter: 1 }),
      makeTag(2, { actor: A, counter: 1 }),
      makeTag(256, { actor: A, counter: 1 }),
      makeTag(2 ** 53 - 1, { actor: A, counter: 1 }),
    ];
    for (const [at, tag] of ordered.entries()) {
      expect(isTag(tag)).toBe(true);
      expect(ordered.filter((other) => other < tag)).toEqual(ordered.slice(0, at));
    }
    expect(ordered.map(counterOf)).toEqual([0, 1, 1, 1, 2, 256, 2 ** 53 - 1]);
    expect(isTag('short')).toBe(false);
    expect(isTag('\0'.repeat(36))).toBe(false);
    expect(isTag('\xff'.repeat(36))).toBe(false);
  });
});

describe('merging registers', () => {
  test('commutes, associates, is idempotent, has the empty register as its unit, and keeps the highest tag', () => {
    fc.assert(
      fc.property(anyRegister, anyRegister, anyRegister, (a, b, c) => {
        const ab = mergeRegisters(a, b);
        expect(encoded(ab)).toBe(encoded(mergeRegisters(b, a)));
        expect(encoded(mergeRegisters(ab, b))).toBe(encoded(ab));
        expect(encoded(mergeRegisters(a, a))).toBe(encoded(a));
        expect(encoded(mergeRegisters(ab, c))).toBe(encoded(mergeRegisters(a, mergeRegisters(b, c))));
        expect(encoded(mergeRegisters(a, EMPTY_REGISTER))).toBe(encoded(a));
        expect(ab.tag).toBe(a.tag > b.tag ? a.tag : b.tag);
        expect(ab.records.length).toBeLessThanOrEqual(MAX_RECORDS);
        expect(holds(a, b)).toBe(encoded(ab) === encoded(a));
        expect(holds(ab, a) && holds(ab, b)).toBe(true);
      }),
      { seed: SEED, numRuns: 1000 },
    );
  });

  test('a tombstone keeps its tag: an older value does not pass it, a newer one does', () => {
    const deleted: Register = { tag: makeTag(5, { actor: A, counter: 1 }), value: undefined, records: [] };
    const older: Register = { tag: makeTag(4, { actor: B, counter: 9 }), value: bytesOf('old'), records: [] };
    const newer: Register = { tag: makeTag(6, { actor: A, counter: 2 }), value: bytesOf('new'), records: [] };
    expect(mergeRegisters(older, deleted)).toEqual(deleted);
    expect(mergeRegisters(deleted, older)).toEqual(deleted);
    expect(mergeRegisters(deleted, newer)).toEqual(newer);
  });

  test('the latest record of an operation is the one with the highest ballot', () => {
    const record = { id: ID, bodyHash: HASH, tag: makeTag(3, { actor: A, counter: 1 }), existed: false };
    const first = { ...record, ballot: makeTag(1, { actor: B, counter: 1 }), rank: 9 };
    const second = { ...record, ballot: makeTag(2, { actor: A, counter: 1 }), rank: 4 };
    const register = mergeRegisters({ ...EMPTY_REGISTER, records: [first] }, { ...EMPTY_REGISTER, records: [second] });
    expect(register.records).toEqual([first, second]);
    expect(latestRecord(register, ID)).toBe(second);
    expect(latestRecord(register, 'another id 16 by')).toBeUndefined();
  });
});

describe('the encoding', () => {
  const TAG = makeTag(7, { actor: A, counter: 9 });
  const HEX_TAG = `0000000000000007${'0a'.repeat(16)}000000010000000000000009`;
  const FULL: Register = {
    tag: TAG,
    value: bytesOf('v'),
    records: [{ id: ID, bodyHash: HASH, ballot: makeTag(1, { actor: B, counter: 3 }), tag: TAG, rank: 7, existed: true }],
  };

  test('is what the grammar says', () => {
    const bytes = encodeRegister(FULL, crc32);
    const hex = toHex(bytes);
    expect(hex.slice(0, 8)).toBe('026b766f');
    expect(hex.slice(8, 16)).toBe(crc32(bytes.subarray(8)).toString(16).padStart(8, '0'));
    expect(hex.slice(32)).toBe(
      `010000000100${HEX_TAG}00000001` +
        `${toHex(bytesOf(ID))}${toHex(bytesOf(HASH))}0000000000000001${'0b'.repeat(16)}000000020000000000000003${HEX_TAG}000000000000000701` +
        toHex(bytesOf('v')),
    );
    expect(toHex(encodeRegister({ tag: TAG, value: undefined, records: [] }, crc32)).slice(32)).toBe(`000000000200${HEX_TAG}00000000`);
    expect(toHex(encodeRegister(EMPTY_REGISTER, crc32)).slice(32)).toBe(`000000000000${'00'.repeat(36)}00000000`);
  });

  test('gives the register back; header, digest, tag and value are read in place', () => {
    fc.assert(
      fc.property(anyRegister, (register) => {
        const bytes = encodeRegister(register, crc32);
        expect(decodeRegister(bytes, crc32)).toEqual(register);
        expect(encoded(decodeRegister(bytes, crc32))).toBe(toHex(bytes));
        expect(readTag(bytes)).toBe(register.tag);
        expect(readValue(bytes)).toEqual(register.value);
        const live = register.value !== undefined;
        expect(readHeader(bytes)).toEqual({ siblings: live ? 1 : 0, expireAtMs: 0, newest: { ms: 0, logical: 0 }, register: true });
        expect(peekVersion(bytes)).toEqual(
          live ? { kind: 'one', version: { value: register.value, expireAtMs: 0, time: { ms: 0, logical: 0 } } } : { kind: 'none' },
        );
      }),
      { seed: SEED, numRuns: 300 },
    );
  });

  test('digests are equal exactly where tags are; records do not count', () => {
    fc.assert(
      fc.property(anyRegister, anyRegister, (a, b) => {
        const digests = [a, b].map((register) => readDigest(encodeRegister(register, crc32)));
        expect(sameDigest(digests[0] ?? bytesOf(''), digests[1] ?? bytesOf(''))).toBe(a.tag === b.tag);
      }),
      { seed: SEED, numRuns: 300 },
    );
  });

  test('a replica keeps, stores what came, or stores the merge of both', () => {
    fc.assert(
      fc.property(fc.option(anyRegister, { nil: undefined }), anyRegister, (local, incoming) => {
        const before = local === undefined ? undefined : encodeRegister(local, crc32);
        const came = encodeRegister(incoming, crc32);
        const result = reconcileEncoded(before, came, crc32);
        const after = result.kind === 'keep' ? before : result.bytes;
        expect(encoded(registerIn(after, crc32))).toBe(encoded(mergeRegisters(local ?? EMPTY_REGISTER, incoming)));
        if (local !== undefined && holds(local, incoming)) expect(result.kind).toBe('keep');
        else if (local === undefined || holds(incoming, local)) expect(result).toMatchObject({ kind: 'store', bytes: came });
      }),
      { seed: SEED, numRuns: 500 },
    );
  });

  test('every flipped bit and every cut is damage, and nothing else is thrown', () => {
    const bytes = encodeRegister(FULL, crc32);
    for (let at = 0; at < bytes.length * 8; at += 1) {
      const broken = Uint8Array.from(bytes);
      broken[at >> 3] = (broken[at >> 3] ?? 0) ^ (1 << (at & 7));
      expect(() => decodeRegister(broken, crc32)).toThrow(expect.objectContaining({ code: 'DATA_DAMAGED' }));
      // Even where the checksum was made to hold.
      const crc = crc32(broken.subarray(8));
      broken.set([crc >>> 24, (crc >>> 16) & 255, (crc >>> 8) & 255, crc & 255], 4);
      try {
        expect(encoded(decodeRegister(broken, crc32))).toBe(toHex(broken));
      } catch (error) {
        expect(error).toMatchObject({ code: 'DATA_DAMAGED' });
      }
    }
    for (let length = 0; length < bytes.length; length += 1) {
      expect(() => decodeRegister(bytes.subarray(0, length), crc32)).toThrow(expect.objectContaining({ code: 'DATA_DAMAGED' }));
      expect(() => readTag(bytes.subarray(0, Math.min(length, 61)))).toThrow(expect.objectContaining({ code: 'DATA_DAMAGED' }));
    }
  });

  test('a register and an object of an eventual bucket are never taken for each other', () => {
    const register = encodeRegister(FULL, crc32);
    const object = encodeObject(emptyObject(), crc32);
    expect(() => decodeObject(register, crc32)).toThrow(expect.objectContaining({ code: 'DATA_DAMAGED' }));
    expect(() => decodeRegister(object, crc32)).toThrow(expect.objectContaining({ code: 'DATA_DAMAGED' }));
    expect(() => reconcileEncoded(register, object, crc32)).toThrow(expect.objectContaining({ code: 'DATA_DAMAGED' }));
    expect(() => reconcileEncoded(object, register, crc32)).toThrow(expect.objectContaining({ code: 'DATA_DAMAGED' }));
  });
});
