/** The read machine against replicas that are plain sets, with answers, failures and repairs in any order. */

import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';

import type { CoterieError, ErrorCode } from '../../src/base/errors.ts';
import { quorumKind, type QuorumKind, readQuorum, writeQuorum } from '../../src/cluster/quorum/legality.ts';
import { expireRefusal, refuseWeakening, strongReadQuorum, strongWriteQuorum } from '../../src/cluster/quorum/strong-legality.ts';
import { type Content, NEVER_WRITTEN, newRead, type ReadEvent, type ReadOut, readStep } from '../../src/cluster/quorum/read.ts';
import { acknowledged, bits, newWrite, writeStep } from '../../src/cluster/quorum/write.ts';
import { bucketId } from '../../src/base/ids.ts';

function content(letters: string): Content {
  return letters === '' ? NEVER_WRITTEN : { digest: letters, bytes: Buffer.from(letters) };
}

function union(a: string, b: string): string {
  return [...new Set(a + b)].sort().join('');
}

interface World {
  readonly r: number;
  readonly copies: string[];
  /** Replicas that never answer. */
  readonly silent: number;
  /** Replicas that answer but take no repair. */
  readonly full: number;
  readonly order: readonly number[];
}

const WORLD: fc.Arbitrary<World> = fc.integer({ min: 1, max: 5 }).chain((n) =>
  fc.record({
    r: fc.integer({ min: 1, max: n }),
    copies: fc.array(
      fc.subarray(['a', 'b', 'c']).map((set) => set.join('')),
      { minLength: n, maxLength: n },
    ),
    silent: fc.integer({ min: 0, max: 2 ** n - 1 }),
    full: fc.integer({ min: 0, max: 2 ** n - 1 }),
    order: fc.array(fc.nat(1000), { minLength: 60, maxLength: 60 }),
  }),
);

interface Outcome {
  readonly answers: string[];
  readonly failures: string[];
  readonly settled: number;
  readonly copies: string[];
  /** Copies at the moment of the answer. */
  readonly held: string[];
}

function run({ r, copies: given, silent, full, order }: World): Outcome {
  const copies = [...given];
  const answers: string[] = [];
  const failures: string[] = [];
  const held: string[] = [];
  let settled = 0;
  const waiting: (() => ReadEvent)[] = [];
  const is = (mask: number, replica: number): boolean => (mask & (1 << replica)) !== 0;
  const out: ReadOut = {
    askValue: (replica) => {
      waiting.push(() =>
        is(silent, replica)
          ? { kind: 'valueFailed', replica, code: 'TIMEOUT' }
          : { kind: 'value', replica, content: content(copies[replica] ?? '') },
      );
    },
    askDigest: (replica) => {
      waiting.push(() =>
        is(silent, replica)
          ? { kind: 'digestFailed', replica, code: 'TIMEOUT' }
          : { kind: 'digest', replica, digest: copies[replica] ?? '' },
      );
    },
    repair: (replica, bytes) => {
      waiting.push(() => {
        if (is(full, replica)) return { kind: 'repairFailed', replica };
        copies[replica] = union(copies[replica] ?? '', Buffer.from(bytes).toString());
        return { kind: 'repaired', replica };
      });
    },
    answer: ({ digest }) => {
      answers.push(digest);
      held.push(...copies);
    },
    fail: (code) => {
      failures.push(code);
    },
    settle: () => {
      settled += 1;
    },
  };
  const state = newRead(copies.length, r, { merge: (a, b) => content(union(a.digest, b.digest)) });
  readStep(state, { kind: 'start', reachable: 2 ** copies.length - 1, source: (order[0] ?? 0) % copies.length }, out);
  for (let step = 1; waiting.length > 0; step += 1) {
    const [next] = waiting.splice((order[step % order.length] ?? 0) % waiting.length, 1);
    if (next !== undefined) readStep(state, next(), out);
    if (step === 500) throw new Error('it never ends');
  }
  return { answers, failures, settled, copies, held };
}

describe('the read machine', () => {
  test('ends once, answers from R replicas, and spreads what it answers', () => {
    fc.assert(
      fc.property(WORLD, (world) => {
        const { r, copies: given, silent, full } = world;
        const n = given.length;
        const { answers, failures, settled, copies, held } = run(world);
        expect(answers.length + failures.length).toBe(1);
        expect(settled).toBe(1);
        const talking = n - bits(silent & (2 ** n - 1));
        if (talking < r) expect(failures).toEqual(['NO_QUORUM']);
        if (talking >= r && full === 0) expect(failures).toEqual([]);
        const [answer] = answers;
        if (answer === undefined) return;
        // What is answered comes from the replicas, and R of them hold it when it is.
        for (const letter of answer) expect(given.join('')).toContain(letter);
        expect(held.filter((copy) => union(copy, answer) === copy).length).toBeGreaterThanOrEqual(r);
        // Nothing that R replicas agreed on from the start is missing from it.
        for (const letter of 'abc') {
          if (given.filter((copy) => copy.includes(letter)).length > n - r) expect(answer).toContain(letter);
        }
        // In the end all that talk and take repairs are equal.
        const well = copies.filter((_, i) => (silent & (1 << i)) === 0);
        if (full === 0) expect(new Set(well).size).toBeLessThanOrEqual(1);
      }),
      { numRuns: 3000, seed: 7 },
    );
  });
});

describe('the write machine', () => {
  test('acknowledges exactly when W distinct replicas have acknowledged', () => {
    const action = fc.record({ replica: fc.nat(6), good: fc.boolean() });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 7 }), fc.nat(6), fc.array(action, { maxLength: 30 }), (n, extra, actions) => {
        const w = 1 + (extra % n);
        const state = newWrite(n, w);
        const told: string[] = [];
        const good = new Set<number>();
        const bad = new Set<number>();
        for (const { replica: any, good: fine } of actions) {
          const replica = any % n;
          if (!good.has(replica) && !bad.has(replica)) (fine ? good : bad).add(replica);
          writeStep(state, fine ? acknowledged(replica) : { kind: 'failed', replica, code: 'TIMEOUT' }, {
            acknowledge: () => told.push('ok'),
            fail: (_, __, outcome) => told.push(outcome),
            settle: () => told.push('settled'),
          });
          const wanted = [
            ...(good.size >= w ? ['ok'] : n - bad.size < w ? ['unknown'] : []),
            ...(good.size + bad.size === n ? ['settled'] : []),
          ];
          expect(told).toEqual(wanted);
        }
      }),
      { numRuns: 500, seed: 7 },
    );
  });
});

describe('legality', () => {
  const bucket = (consistency: 'eventual' | 'strong'): Parameters<typeof readQuorum>[0] => ({
    id: bucketId(1),
    name: 'b',
    consistency,
    R: 2,
    W: 2,
    blindWrites: 'newest',
  });

  function code(call: () => number): ErrorCode | number {
    try {
      return call();
    } catch (error) {
      return (error as CoterieError).code;
    }
  }

  test('R and W from 1 to N; the bucket’s where none is asked for', () => {
    expect([undefined, 1, 2, 3].map((r) => readQuorum(bucket('eventual'), 3, r))).toEqual([2, 1, 2, 3]);
    expect([undefined, 1, 2, 3].map((w) => writeQuorum(bucket('eventual'), 3, w))).toEqual([2, 1, 2, 3]);
    for (const bad of [0, 4, -1, 0.5, Number.NaN, Infinity]) {
      expect(code(() => readQuorum(bucket('eventual'), 3, bad))).toBe('QUORUM_INVALID');
      expect(code(() => writeQuorum(bucket('eventual'), 3, bad))).toBe('QUORUM_INVALID');
    }
  });

  test('an eventual bucket is sloppy unless asked to be strict', () => {
    expect([undefined, 'sloppy', 'strict'].map((kind) => quorumKind(kind as QuorumKind | undefined))).toEqual([
      'sloppy',
      'sloppy',
      'strict',
    ]);
  });

  test('a strong bucket refuses less than its own, sloppy quorums, contexts and expiry, each by name', () => {
    const strong = bucket('strong');
    const below = (asked: number, least: number): boolean => asked < least;
    expect([undefined, 2, 3].map((r) => strongReadQuorum(strong, 3, r, undefined, below))).toEqual([2, 2, 3]);
    expect([undefined, 2, 3].map((w) => strongWriteQuorum(strong, 3, w, 'strict', below))).toEqual([2, 2, 3]);
    for (const bad of [0, 1, 4, 2.5, Number.NaN]) {
      expect(code(() => strongReadQuorum(strong, 3, bad, undefined, below))).toBe('QUORUM_INVALID');
      expect(code(() => strongWriteQuorum(strong, 3, bad, undefined, below))).toBe('QUORUM_INVALID');
    }
    expect(() => strongReadQuorum(strong, 3, 1, undefined, below)).toThrow(/strong: r may not be below the bucket's 2, and 1 is/);
    expect(() => strongReadQuorum(strong, 3, 2, 'sloppy', below)).toThrow(/strong: quorum=sloppy/);
    expect(() => strongWriteQuorum(strong, 3, 2, 'sloppy', below)).toThrow(/strong: quorum=sloppy/);
    expect(() => {
      refuseWeakening(strong, { context: true, expiry: false });
    }).toThrow(/strong: contexts/);
    expect(() => {
      refuseWeakening(strong, { context: false, expiry: true });
    }).toThrow(/strong: TTLs and KEEPTTL/);
    expect(expireRefusal(strong).message).toMatch(/strong: EXPIRE and its kin, and PERSIST/);
  });
});
