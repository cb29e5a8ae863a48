/** Context tokens: bound to their place, refused when broken. Their fuzzing is in fuzz.ts. */

import { crc32 } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import { toHex } from '../../src/base/bytes.ts';
import { clusterId, storeId } from '../../src/base/ids.ts';
import { encodeObject } from '../../src/cluster/versioning/codec.ts';
import type { Context } from '../../src/cluster/versioning/context.ts';
import { contextOf, decodeContext, encodeContext, tokenOf } from '../../src/cluster/versioning/context.ts';
import type { KvObject } from '../../src/cluster/versioning/object.ts';
import { actorOf, emptyObject } from '../../src/cluster/versioning/object.ts';

const place = { clusterId: clusterId('c'.repeat(32)), bucketId: 3, key: 'user:1' };
const actor = actorOf(storeId('0102030405060708090a0b0c0d0e0f10'), 5);
const context: Context = {
  clock: [{ actor, counter: 7, ms: 0x0189_0000_0001 }],
  floorMs: 0x0188_0000_0000,
  blindFloor: { actor, counter: 6, time: { ms: 0x0189_0000_0000, logical: 2 } },
};
const token = encodeContext(context, place, crc32);

function codeOf(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return (error as { code?: unknown }).code;
  }
  return undefined;
}

describe('a context token', () => {
  test('has these bytes', () => {
    const binding = toHex(token.subarray(1, 9));
    const crc = toHex(token.subarray(token.length - 4));
    const who = '0102030405060708090a0b0c0d0e0f1000000005';
    expect(toHex(token)).toBe(
      `01${binding}018800000000` + `01890000000000020000000000000006${who}` + `0001${who}0000000000000007018900000001${crc}`,
    );
    expect(binding).toBe('87b5aea84354e6ef');
  });

  test('decodes to what was encoded, also the empty one', () => {
    expect(decodeContext(token, place, crc32)).toEqual(context);
    const none: Context = { clock: [], floorMs: 0, blindFloor: undefined };
    expect(decodeContext(encodeContext(none, place, crc32), place, crc32)).toEqual(none);
  });

  test('is foreign at another key, bucket or cluster', () => {
    for (const other of [
      { ...place, key: 'user:2' },
      { ...place, bucketId: 4 },
      { ...place, clusterId: clusterId('d'.repeat(32)) },
    ]) {
      expect(codeOf(() => decodeContext(token, other, crc32))).toBe('CONTEXT_FOREIGN');
    }
  });

  test('is broken when any byte changes, or any is missing or added', () => {
    for (let at = 0; at < token.length; at += 1) {
      const changed = Uint8Array.from(token);
      changed[at] = (changed[at] ?? 0) ^ 0x10;
      expect(codeOf(() => decodeContext(changed, place, crc32))).toBe('CONTEXT_BROKEN');
      expect(codeOf(() => decodeContext(token.subarray(0, at), place, crc32))).toBe('CONTEXT_BROKEN');
    }
    expect(codeOf(() => decodeContext(Uint8Array.from([...token, 0]), place, crc32))).toBe('CONTEXT_BROKEN');
  });
});

describe('the token of an encoded object', () => {
  const other = actorOf(storeId('f'.repeat(32)), 1);
  const time = { ms: 0x0189_0000_0000, logical: 2 };
  const value = new Uint8Array([1, 2, 3]);
  const sibling = { actor, counter: 6, time, blind: true, edit: { ms: 0, logical: 0 }, expireAtMs: 0, value };
  const clock = [
    { actor, counter: 7, ms: 0x0189_0000_0001 },
    { actor: other, counter: 2, ms: 0x0189_0000_0001 },
  ];
  const blindFloor = { actor, counter: 6, time };
  const objects: Record<string, KvObject> = {
    'one blind value': { clock, floorMs: 0x0188_0000_0000, blindFloor, siblings: [sibling], operations: [] },
    'a blind value whose actor has no clock entry': {
      clock: [{ actor: other, counter: 2, ms: 0x018a_0000_0001 }],
      floorMs: 0x0189_0000_0001,
      blindFloor,
      siblings: [sibling],
      operations: [],
    },
    'one value with a context': { clock, floorMs: 0, blindFloor: undefined, siblings: [{ ...sibling, blind: false }], operations: [] },
    'a value with a context over a blind floor': {
      clock,
      floorMs: 0,
      blindFloor: { ...blindFloor, counter: 1, time: { ms: 5, logical: 0 } },
      siblings: [{ ...sibling, blind: false }],
      operations: [],
    },
    'no value': { clock, floorMs: 0, blindFloor, siblings: [], operations: [] },
    'two values': {
      clock,
      floorMs: 0,
      blindFloor,
      siblings: [sibling, { ...sibling, actor: other, counter: 2, blind: false, time: { ms: 7, logical: 0 } }],
      operations: [],
    },
  };

  test.each(Object.keys(objects))('is the one of the object: %s', (name) => {
    const object = objects[name] ?? emptyObject();
    const direct = tokenOf(encodeObject(object, crc32), place, crc32);
    expect(toHex(direct)).toBe(toHex(encodeContext(contextOf(object), place, crc32)));
  });
});
