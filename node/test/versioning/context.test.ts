/** Context tokens: bound to their place, refused when broken. Their fuzzing is in fuzz.ts. */

import { crc32 } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import { toHex } from '../../src/base/bytes.ts';
import { clusterId, storeId } from '../../src/base/ids.ts';
import type { Context } from '../../src/cluster/versioning/context.ts';
import { decodeContext, encodeContext } from '../../src/cluster/versioning/context.ts';
import { actorOf } from '../../src/cluster/versioning/object.ts';

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
