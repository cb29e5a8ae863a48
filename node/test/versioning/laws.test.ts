/** The laws of merging, over the states that random histories reach; and the same laws on the encoded objects. */

import { crc32 } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { toHex } from '../../src/base/bytes.ts';
import { decodeObject, encodeObject, headerOf, readDigest, readHeader } from '../../src/cluster/versioning/codec.ts';
import { sameDigest } from '../../src/cluster/versioning/digest.ts';
import { compare, merge } from '../../src/cluster/versioning/merge.ts';
import type { KvObject, OperationRecord } from '../../src/cluster/versioning/object.ts';
import { emptyObject } from '../../src/cluster/versioning/object.ts';
import { containsOperations, mergeOperations } from '../../src/cluster/versioning/operation.ts';
import { peekVersion } from '../../src/cluster/versioning/peek.ts';
import { present } from '../../src/cluster/versioning/present.ts';
import { reconcileEncoded } from '../../src/cluster/versioning/reconcile.ts';
import { History, anyStep } from './history.ts';

const SEED = 20_260_102;

const reached = fc.array(anyStep, { minLength: 5, maxLength: 60, size: 'max' }).map((steps) => new History().run(steps).objects());

function encoded(object: KvObject): string {
  return toHex(encodeObject(object, crc32));
}

function forPairs(objects: readonly KvObject[], check: (a: KvObject, b: KvObject) => void): void {
  for (const a of objects) for (const b of objects) check(a, b);
}

describe('merge', () => {
  test('commutes, associates, is idempotent and has the empty object as its unit', () => {
    fc.assert(
      fc.property(reached, (objects) => {
        forPairs(objects, (a, b) => {
          const ab = merge(a, b);
          expect(encoded(ab)).toBe(encoded(merge(b, a)));
          expect(encoded(merge(ab, b))).toBe(encoded(ab));
          for (const c of objects) expect(encoded(merge(ab, c))).toBe(encoded(merge(a, merge(b, c))));
        });
        for (const a of objects) {
          expect(encoded(merge(a, a))).toBe(encoded(a));
          expect(encoded(merge(a, emptyObject()))).toBe(encoded(a));
        }
      }),
      { seed: SEED, numRuns: 60 },
    );
  });

  test('is the least upper bound of the order that compare gives', () => {
    fc.assert(
      fc.property(reached, (objects) => {
        forPairs(objects, (a, b) => {
          const order = compare(a, b);
          const ab = merge(a, b);
          expect(['dominates', 'equal']).toContain(compare(ab, a));
          expect(['dominates', 'equal']).toContain(compare(ab, b));
          expect(compare(ab, a) === 'equal').toBe(order === 'dominates' || order === 'equal');
          expect(compare(ab, b) === 'equal').toBe(order === 'dominated' || order === 'equal');
          const mirrored = { equal: 'equal', dominates: 'dominated', dominated: 'dominates', concurrent: 'concurrent' } as const;
          expect(compare(b, a)).toBe(mirrored[order]);
        });
      }),
      { seed: SEED, numRuns: 200 },
    );
  });
});

test('compare sees every part of the state, also where no history would set it alone', () => {
  const actor = 'a'.repeat(20);
  const base: KvObject = { ...emptyObject(), clock: [{ actor, counter: 2, ms: 9 }] };
  const floored: KvObject = { ...base, blindFloor: { actor, counter: 1, time: { ms: 8, logical: 0 } } };
  expect(compare(floored, base)).toBe('dominates');
  expect(compare(base, floored)).toBe('dominated');
  expect(compare({ ...base, floorMs: 3 }, base)).toBe('dominates');
  expect(compare({ ...base, floorMs: 3 }, floored)).toBe('concurrent');
  expect(compare(base, { ...base })).toBe('equal');
});

const drawn = fc.record({ writer: fc.nat(3), counter: fc.integer({ min: 1, max: 40 }), replaced: fc.boolean() });
const record = drawn.map(({ writer, counter, replaced }): OperationRecord => {
  // Everything else about a record follows from its dot; times lie both inside and outside one window.
  const ms = 1_000_000 + counter * 20_000 + writer;
  const id = String.fromCharCode(counter % 7).repeat(16);
  return { id, actor: String(writer), counter, ms, bodyHash: '12345678', existed: false, replaced };
});

const records = fc
  .array(record, { maxLength: 24 })
  .map((all) => all.reduce<readonly OperationRecord[]>((kept, one) => mergeOperations(kept, [one]), []));

test('keeping the newest operation records of a union commutes, associates and is idempotent', () => {
  let evicted = 0;
  fc.assert(
    fc.property(records, records, records, (a, b, c) => {
      const ab = mergeOperations(a, b);
      expect(ab).toEqual(mergeOperations(b, a));
      expect(mergeOperations(ab, c)).toEqual(mergeOperations(a, mergeOperations(b, c)));
      expect(mergeOperations(ab, a)).toEqual(ab);
      expect(containsOperations(ab, a) && containsOperations(ab, b)).toBe(true);
      expect(containsOperations(a, b)).toBe(JSON.stringify(ab) === JSON.stringify(a));
      const distinct = new Set([...a, ...b].map((each) => `${each.actor} ${String(each.counter)}`)).size;
      if (ab.length < distinct) evicted += 1;
      expect(ab.length).toBeLessThanOrEqual(16);
    }),
    { seed: SEED, numRuns: 2000 },
  );
  expect(evicted).toBeGreaterThan(500);
});

describe('encoded objects', () => {
  test('decode to what was encoded, equal digests exactly for equal states', () => {
    fc.assert(
      fc.property(reached, (objects) => {
        for (const object of objects) expect(decodeObject(encodeObject(object, crc32), crc32)).toEqual(object);
        forPairs(objects, (a, b) => {
          const same = sameDigest(readDigest(encodeObject(a, crc32)), readDigest(encodeObject(b, crc32)));
          expect(same).toBe(compare(a, b) === 'equal');
        });
      }),
      { seed: SEED, numRuns: 300 },
    );
  });

  test('reconcile to the bytes of the merge, verbatim where one side holds everything', () => {
    const kinds = { keep: 0, verbatim: 0, merged: 0 };
    fc.assert(
      fc.property(reached, (objects) => {
        forPairs(objects, (a, b) => {
          const local = encodeObject(a, crc32);
          const incoming = encodeObject(b, crc32);
          const expected = encoded(merge(a, b));
          const result = reconcileEncoded(local, incoming, crc32);
          expect(toHex(result.kind === 'keep' ? local : result.bytes)).toBe(expected);
          if (result.kind === 'keep') kinds.keep += 1;
          else if (result.bytes === incoming) kinds.verbatim += 1;
          else kinds.merged += 1;
          if (result.kind === 'store') expect(result.header).toEqual(readHeader(result.bytes));
          // Nothing is encoded anew without need.
          if (toHex(incoming) === expected && result.kind === 'store') expect(result.bytes).toBe(incoming);
          if (toHex(local) === expected) expect(result.kind).toBe('keep');
        });
      }),
      { seed: SEED, numRuns: 150 },
    );
    for (const count of Object.values(kinds)) expect(count).toBeGreaterThan(50);
  });

  test('have the header that their encoding says', () => {
    fc.assert(
      fc.property(reached, (objects) => {
        for (const object of objects) expect(headerOf(object)).toEqual(readHeader(encodeObject(object, crc32)));
      }),
      { seed: SEED, numRuns: 300 },
    );
  });

  test('give their single value without being decoded', () => {
    let single = 0;
    fc.assert(
      fc.property(reached, (objects) => {
        for (const object of objects) {
          const peeked = peekVersion(encodeObject(object, crc32));
          const shown = present(object, 0);
          if (peeked.kind === 'none') expect(shown).toEqual([]);
          if (peeked.kind !== 'one') continue;
          expect(shown).toEqual([peeked.version]);
          single += 1;
        }
      }),
      { seed: SEED, numRuns: 300 },
    );
    expect(single).toBeGreaterThan(100);
  });
});
