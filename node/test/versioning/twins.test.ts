/** Client operations that two coordinators made: what replicas show that know different records of them (cluster/versioning/visibility.ts). */

import { crc32 } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { storeId } from '../../src/base/ids.ts';
import { decodeObject, encodeObject, readDigest } from '../../src/cluster/versioning/codec.ts';
import { contextOf } from '../../src/cluster/versioning/context.ts';
import { sameDigest } from '../../src/cluster/versioning/digest.ts';
import { compare, merge } from '../../src/cluster/versioning/merge.ts';
import type { KvObject } from '../../src/cluster/versioning/object.ts';
import { actorOf, emptyObject } from '../../src/cluster/versioning/object.ts';
import { present } from '../../src/cluster/versioning/present.ts';
import type { Mutation, WriteStamp } from '../../src/cluster/versioning/update.ts';
import { applyWrite } from '../../src/cluster/versioning/update.ts';
import { anyStep, bytesOf, History, textOf } from './history.ts';

const NOW = 1_700_000_000_000;

let counter = 0;

function stamp(actorEpoch: number): WriteStamp {
  counter += 1;
  const dot = { actor: actorOf(storeId('ab'.repeat(16)), actorEpoch), counter };
  return { dot: () => dot, time: { ms: NOW + counter, logical: 0 }, nowMs: NOW };
}

/** `on`, once the store of that number has put `value` there as one who had seen `seen`. */
function put(on: KvObject, store: number, value: string, seen: KvObject, operation?: string): KvObject {
  const named = operation === undefined ? undefined : { id: operation.padEnd(16), bodyHash: 'bodyhash' };
  const write: Mutation = { kind: 'put', value: bytesOf(value), expireAtMs: 0, keepTtl: false, context: contextOf(seen), operation: named };
  const result = applyWrite(on, write, stamp(store));
  if (result.kind !== 'applied') throw new Error(result.kind);
  return result.object;
}

const texts = (object: KvObject): string[] => present(object, NOW).map(({ value }) => textOf(value));
const digestOf = (object: KvObject): Uint8Array => readDigest(encodeObject(object, crc32));
const nothing = emptyObject();

/** Two copies that hold the same, of which one knows fewer operations: their digests differ until they have met. */
function expectApart(knowing: KvObject, other: KvObject): void {
  expect(compare(knowing, other)).toBe('equal');
  expect(texts(knowing)).not.toEqual(texts(other));
  expect(sameDigest(digestOf(knowing), digestOf(other))).toBe(false);
  const met = merge(knowing, other);
  expect(encodeObject(merge(other, knowing), crc32)).toEqual(encodeObject(met, crc32));
  for (const object of [knowing, other, met]) expect(decodeObject(encodeObject(object, crc32), crc32)).toEqual(object);
}

describe('copies of one state show the same or have different digests', () => {
  test('where one knows only from a context that an operation was replaced in another of its dots', () => {
    const first = put(nothing, 1, 'a', nothing, 'operation');
    const second = put(nothing, 2, 'a', nothing, 'operation');
    const unnamed = merge(second, put(nothing, 3, 'b', first));
    const named = merge(unnamed, first);
    expect(texts(named)).toEqual(['b']);
    expect(texts(unnamed)).toEqual(['b', 'a']);
    expectApart(named, unnamed);
  });

  test('where one has forgotten that two values are of one operation, for newer ones that the other never heard of', () => {
    const twins = merge(put(nothing, 1, 'a', nothing, 'operation'), put(nothing, 2, 'a', nothing, 'operation'));
    let busy = nothing;
    for (let i = 0; i < 16; i += 1) busy = put(busy, 3, 'b', busy, String(i));
    const last = put(nothing, 4, 'c', busy);
    const remembering = merge(twins, last);
    const forgetful = merge(remembering, busy);
    expect(texts(remembering)).toEqual(['c', 'a']);
    expect(texts(forgetful)).toEqual(['c', 'a', 'a']);
    expectApart(remembering, forgetful);
  });

  test('in random histories of one operation', () => {
    const step = anyStep
      .filter(({ kind }) => kind !== 'converge' && kind !== 'truncate')
      .map((each) => (each.kind === 'write' && each.operation !== undefined ? { ...each, operation: 0 } : each));
    const counts = { equal: 0, apart: 0 };
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 60, size: 'max' }), (steps) => {
        const objects = new History().run(steps).objects();
        for (const a of objects) {
          for (const b of objects) {
            if (compare(a, b) !== 'equal') continue;
            const showSame = JSON.stringify(present(a, 0)) === JSON.stringify(present(b, 0));
            if (sameDigest(digestOf(a), digestOf(b))) expect(showSame).toBe(true);
            counts[showSame ? 'equal' : 'apart'] += 1;
          }
        }
      }),
      { seed: 5, numRuns: 3000 },
    );
    expect(counts.equal).toBeGreaterThan(10_000);
    expect(counts.apart).toBeGreaterThan(0);
  });
});
