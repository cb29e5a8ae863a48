import { crc32 } from 'node:zlib';

import { expect, test } from '@jest/globals';

import { Attempts, operationOfAttempt, SETS } from '../../src/cluster/quorum/attempts.ts';
import { encodeObject } from '../../src/cluster/versioning/codec.ts';
import { merge } from '../../src/cluster/versioning/merge.ts';
import { emptyObject, type KvObject } from '../../src/cluster/versioning/object.ts';
import { peekNewestDot } from '../../src/cluster/versioning/peek.ts';
import { present } from '../../src/cluster/versioning/present.ts';
import { contextOf } from '../../src/cluster/versioning/context.ts';
import { applyWrite, type Mutation } from '../../src/cluster/versioning/update.ts';

test('attempts of late are known, with what they answered, and older ones forgotten', () => {
  const attempts = new Attempts(0xffff_ffff, 0xffff_ffff);
  const ids = Array.from({ length: 6 * SETS }, () => attempts.name());
  expect(ids.every((id) => Number.isSafeInteger(id) && id > 0)).toBe(true);
  expect(new Set(ids).size).toBe(ids.length);
  expect(attempts.find(ids[0] ?? 0)).toBeUndefined();
  for (const [at, id] of ids.entries()) attempts.note(id, at % 3 === 0, undefined);
  const known = ids.filter((id) => attempts.find(id) !== undefined);
  expect(known).toEqual(ids.slice(-4 * SETS));
  const wrong = ids.filter((id, at) => at >= 2 * SETS && attempts.find(id) !== (at % 3 === 0));
  expect(wrong).toEqual([]);
});

test('what a second coordinator writes once more is replaced where a context had seen what the first wrote', () => {
  const attempts = new Attempts(1, 1);
  const id = attempts.name();
  const write = (local: KvObject, mutation: Mutation, actor: string, ms: number): KvObject => {
    const stamp = { dot: () => ({ actor: actor.repeat(20), counter: 7 }), time: { ms, logical: 0 }, nowMs: ms };
    const applied = applyWrite(local, mutation, stamp);
    if (applied.kind !== 'applied') throw new Error(applied.kind);
    return applied.object;
  };
  const put = { kind: 'put', value: new Uint8Array([1]), expireAtMs: 0, keepTtl: false } as const;
  const first = write(emptyObject(), put, 'a', 1000);
  const dot = peekNewestDot(encodeObject(first, crc32));
  expect(dot).toEqual({ actor: 'a'.repeat(20), counter: 7 });
  expect(peekNewestDot(encodeObject(write(first, { kind: 'delete' }, 'b', 1001), crc32))).toBeUndefined();
  attempts.note(id, false, dot);
  // Of another dot with the same end nothing is known.
  const stranger = write(emptyObject(), put, 'c', 1000);
  expect(attempts.recorded(stranger)).toBe(stranger);
  const second = write(emptyObject(), { ...put, operation: operationOfAttempt(id) }, 'd', 1100);
  const context = contextOf(first);
  const over = (local: KvObject): KvObject => write(local, { ...put, value: new Uint8Array([2]), context }, 'e', 1050);
  const shown = (object: KvObject): number[] => present(object, 2000).map(({ value }) => value[0] ?? 0);
  expect(shown(merge(over(first), second))).toEqual([1, 2]);
  expect(shown(merge(over(attempts.recorded(first)), second))).toEqual([2]);
  // Without such a context the last to be written stands, once.
  expect(shown(merge(first, second))).toEqual([1]);
});
