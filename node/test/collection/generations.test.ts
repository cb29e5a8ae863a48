import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';

import type { PartitionId } from '../../src/base/ids.ts';
import {
  addCandidate,
  countCandidates,
  differingKeys,
  differingSlices,
  newSlices,
  sliceOf,
} from '../../src/cluster/collection/candidates.ts';
import { GenerationTable, isCandidate } from '../../src/cluster/collection/generation-table.ts';
import { Pending } from '../../src/cluster/collection/pending.ts';
import { type Candidate, SLICES } from '../../src/cluster/collection/round-messages.ts';
import { decodeTable, encodeTable } from '../../src/cluster/collection/table-codec.ts';

const partition = (number: number): PartitionId => number as PartitionId;

const CHANGE = fc.record({
  partition: fc.integer({ min: 0, max: 7 }),
  generation: fc.integer({ min: 1, max: 9 }),
  seal: fc.boolean(),
  floor: fc.option(
    fc.record({ generation: fc.integer({ min: 0, max: 9 }), expiredByMs: fc.integer({ min: 0, max: 2 ** 47 }), sequence: fc.nat() }),
  ),
});

function tableOf(changes: readonly (typeof CHANGE extends fc.Arbitrary<infer T> ? T : never)[]): GenerationTable {
  const table = new GenerationTable(8);
  for (const { partition: number, generation, seal, floor } of changes) {
    table.raise(partition(number), generation);
    if (seal) table.seal(partition(number), generation);
    if (floor !== null) table.collect(partition(number), floor);
  }
  return table;
}

function codeOf(call: () => unknown): string | undefined {
  try {
    call();
    return undefined;
  } catch (error) {
    return (error as { code?: string }).code;
  }
}

describe('a table of generations', () => {
  test('comes back from its bytes', () => {
    fc.assert(
      fc.property(fc.array(CHANGE), (changes) => {
        const table = tableOf(changes);
        const again = decodeTable(encodeTable(table), 8, 'file');
        for (let i = 0; i < 8; i += 1) {
          expect(again.generationOf(partition(i))).toBe(table.generationOf(partition(i)));
          expect(again.floorOf(partition(i))).toEqual(table.floorOf(partition(i)));
          expect(again.leastOf(partition(i))).toBe(table.leastOf(partition(i)));
        }
      }),
      { numRuns: 200, seed: 5 },
    );
  });

  test('never goes back, and has no floor above what it refuses', () => {
    fc.assert(
      fc.property(fc.array(CHANGE), CHANGE, (changes, last) => {
        const before = tableOf(changes);
        const after = tableOf([...changes, last]);
        for (let i = 0; i < 8; i += 1) {
          const p = partition(i);
          expect(after.generationOf(p)).toBeGreaterThanOrEqual(before.generationOf(p));
          expect(after.leastOf(p)).toBeGreaterThanOrEqual(before.leastOf(p));
          expect(after.leastOf(p)).toBeLessThanOrEqual(after.generationOf(p));
          expect(after.floorOf(p).generation).toBeGreaterThanOrEqual(before.floorOf(p).generation);
          expect(after.floorOf(p).expiredByMs).toBeGreaterThanOrEqual(before.floorOf(p).expiredByMs);
          expect(after.floorOf(p).generation).toBeLessThanOrEqual(after.leastOf(p));
        }
      }),
      { numRuns: 200, seed: 6 },
    );
  });

  test('what is collected stays so, and what is taken now is not collected', () => {
    const entry = fc.record({
      kind: fc.constantFrom('value', 'tombstone'),
      expireAtMs: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 2 ** 47 })),
      gcTag: fc.integer({ min: 0, max: 10 }),
    });
    fc.assert(
      fc.property(fc.array(CHANGE), fc.array(CHANGE), entry, (changes, later, each) => {
        for (let i = 0; i < 8; i += 1) {
          const table = tableOf(changes);
          if (table.isCollected(partition(i), each)) expect(tableOf([...changes, ...later]).isCollected(partition(i), each)).toBe(true);
          expect(table.isCollected(partition(i), { ...each, gcTag: table.generationOf(partition(i)) })).toBe(false);
        }
      }),
      { numRuns: 300, seed: 7 },
    );
  });

  test('an old disk shows by what others refuse, or by taking what is below their floor; a round broken off while its members sealed does not', () => {
    const p = partition(0);
    const table = new GenerationTable(8);
    table.raise(p, 5);
    table.seal(p, 4);
    table.raise(p, 6);
    expect(table.settledOf(p)).toEqual({ least: 4, floor: 0 });
    expect(table.isBehind(p, { least: 6, floor: 4 })).toBe(false);
    expect(table.isBehind(p, { least: 7, floor: 4 })).toBe(true);
    expect(table.isBehind(p, { least: 6, floor: 6 })).toBe(true);
  });

  test('a value that never expires is no candidate, a tombstone is unless retries need it', () => {
    const old = { gcTag: 3, expireAtMs: 0 };
    expect(isCandidate({ ...old, kind: 'value' }, 5, 1000)).toBe(false);
    expect(isCandidate({ ...old, kind: 'tombstone' }, 5, 1000)).toBe(true);
    expect(isCandidate({ ...old, kind: 'tombstone' }, 4, 1000)).toBe(false);
    expect(isCandidate({ ...old, kind: 'tombstone', expireAtMs: 1001 }, 5, 1000)).toBe(false);
    expect(isCandidate({ ...old, kind: 'value', expireAtMs: 1000 }, 5, 1000)).toBe(true);
  });

  test('bytes that are damaged, newer, or of another ring are refused by name', () => {
    const bytes = encodeTable(new GenerationTable(8));
    expect(codeOf(() => decodeTable(bytes, 16, 'file'))).toBe('DATA_DIR_FOREIGN');
    expect(codeOf(() => decodeTable(bytes.subarray(0, 20), 8, 'file'))).toBe('DATA_DAMAGED');
    for (let at = 0; at < bytes.length; at += 1) {
      const broken = Uint8Array.from(bytes);
      broken[at] = (broken[at] ?? 0) ^ 0x40;
      expect(['DATA_DAMAGED', 'DATA_DIR_NEWER']).toContain(codeOf(() => decodeTable(broken, 8, 'file')));
    }
  });

  test('its bytes have not changed', () => {
    const table = tableOf([{ partition: 2, generation: 3, seal: true, floor: { generation: 2, expiredByMs: 0x123456789, sequence: 77 } }]);
    expect(Buffer.from(encodeTable(table)).toString('hex')).toBe(GOLDEN);
  });
});

const GOLDEN =
  '434f54455247454e0000000177d4827c00000008000000030000000200000001000000010000000000000000000000000000' +
  '0000000000000001000000030000000300000002000123456789000000000000004d000000050000000100000001000000000000000000000000000000000000';

describe('what is pending', () => {
  test('is due after the generation rose, once, and again when it expires', () => {
    const pending = new Pending(1);
    const p = partition(0);
    const sweep = (candidates: number, nextMs: number): void => {
      pending.scanned(p, candidates, nextMs);
    };
    // At a start everything may be there.
    expect([pending.isDue(p, 0), pending.youngOf(p)]).toEqual([true, 1]);
    sweep(0, 0);
    pending.raised(p);
    sweep(0, 0);
    expect([pending.isDue(p, 0), pending.youngOf(p)]).toEqual([false, 0]);
    pending.took(p);
    expect([pending.isDue(p, 0), pending.youngOf(p)]).toEqual([false, 1]);
    pending.raised(p);
    expect([pending.isDue(p, 0), pending.youngOf(p)]).toEqual([true, 0]);
    pending.took(p);
    sweep(1, 500);
    pending.raised(p);
    pending.collected(p);
    // What was young at the rise is old now.
    expect(pending.isDue(p, 0)).toBe(true);
    sweep(0, 500);
    expect([pending.isDue(p, 499), pending.isDue(p, 500)]).toEqual([false, true]);
  });
});

const CANDIDATES = fc.uniqueArray(
  fc.record({
    key: fc.string({ unit: fc.constantFrom('\0', 'a', '\x80', '\xff'), minLength: 11, maxLength: 13 }),
    digest: fc.constantFrom('12345678', '87654321'),
  }),
  { selector: ({ key }) => key, maxLength: 40 },
);

describe('candidates', () => {
  const slicesOf = (candidates: readonly Candidate[]): number[] => {
    const slices = newSlices();
    for (const candidate of candidates) addCandidate(slices, sliceOf(candidate.key, 4), candidate);
    return slices;
  };

  test('are equal exactly where their slices are, in whatever order', () => {
    fc.assert(
      fc.property(CANDIDATES, CANDIDATES, (a, b) => {
        expect(slicesOf([...a].reverse())).toEqual(slicesOf(a));
        expect(countCandidates(slicesOf(a))).toBe(a.length);
        const differing = new Set(differingSlices([slicesOf(a), slicesOf(b), slicesOf(a)]));
        const sorted = (list: readonly Candidate[]): Candidate[] => [...list].sort((x, y) => (x.key < y.key ? -1 : 1));
        const keys = differingKeys([a, b, a].map((list) => ({ candidates: sorted(list), more: false })));
        expect(new Set(keys.map((key) => sliceOf(key, 4)))).toEqual(differing);
        const both = (key: string): boolean => a.find((each) => each.key === key)?.digest === b.find((each) => each.key === key)?.digest;
        for (const { key } of [...a, ...b]) expect(keys.includes(key)).toBe(!both(key));
        for (const { key } of a) expect(sliceOf(key, 4)).toBeLessThan(SLICES);
      }),
      { numRuns: 300, seed: 8 },
    );
  });

  test('a list that is cut off says nothing of what lies behind', () => {
    const each = (key: string): Candidate => ({ key, digest: 'd' });
    expect(
      differingKeys([
        { candidates: [each('a')], more: true },
        { candidates: [each('a'), each('b'), each('c')], more: false },
      ]),
    ).toEqual([]);
    expect(
      differingKeys([
        { candidates: [each('b')], more: true },
        { candidates: [each('a'), each('b'), each('c')], more: false },
      ]),
    ).toEqual(['a']);
    expect(
      differingKeys([
        { candidates: [], more: true },
        { candidates: [each('a')], more: false },
      ]),
    ).toEqual([]);
  });
});
