/** The checker of strong buckets: on hand-made histories, and against trying every order on thousands of small random ones. */

import { describe, expect, test } from '@jest/globals';
import { linearize, type RegisterOperation } from '../../sim/checkers/linearizability.ts';
import { RegisterHistory } from '../../sim/clients/register-history.ts';
import { Dice } from '../../sim/world/dice.ts';

type Told = readonly [kind: 'w' | 'r', value: number, from: number, to?: number | undefined];

function operations(told: readonly Told[]): RegisterOperation[] {
  return told.map(([kind, value, startUs, endUs = Infinity], at) => ({
    name: `${kind}${String(at)}`,
    kind: kind === 'w' ? 'write' : 'read',
    value,
    startUs,
    endUs,
  }));
}

function verdict(...told: readonly Told[]): string {
  return linearize(operations(told)).kind;
}

describe('hand-made histories', () => {
  test('one after the other', () => {
    expect(verdict()).toBe('linearizable');
    expect(verdict(['r', 0, 0, 1])).toBe('linearizable');
    expect(verdict(['w', 1, 0, 1], ['r', 1, 2, 3], ['w', 2, 4, 5], ['r', 2, 6, 7], ['w', 0, 8, 9], ['r', 0, 10, 11])).toBe('linearizable');
    expect(verdict(['w', 1, 0, 1], ['r', 0, 2, 3])).toBe('violation');
    expect(verdict(['w', 1, 0, 1], ['w', 2, 2, 3], ['r', 1, 4, 5])).toBe('violation');
    expect(verdict(['w', 1, 0, 1], ['w', 0, 2, 3], ['r', 1, 4, 5])).toBe('violation');
  });

  test('what nobody wrote, and what is read before it was written', () => {
    expect(verdict(['r', 7, 0, 1])).toBe('violation');
    expect(verdict(['r', 1, 0, 1], ['w', 1, 2, 3])).toBe('violation');
  });

  test('a write and reads at the same time: the new value may be seen or not, but not unseen again', () => {
    expect(verdict(['w', 1, 0, 10], ['r', 0, 1, 2], ['r', 1, 3, 4])).toBe('linearizable');
    expect(verdict(['w', 1, 0, 10], ['r', 1, 1, 2], ['r', 0, 3, 4])).toBe('violation');
    // Two reads that overlap may be in either order.
    expect(verdict(['w', 1, 0, 10], ['r', 1, 1, 4], ['r', 0, 3, 6])).toBe('linearizable');
  });

  test('writes at the same time are in one order for all', () => {
    expect(verdict(['w', 1, 0, 10], ['w', 2, 0, 10], ['r', 2, 11, 12], ['r', 2, 13, 14])).toBe('linearizable');
    expect(verdict(['w', 1, 0, 10], ['w', 2, 0, 10], ['r', 2, 11, 12], ['r', 1, 13, 14])).toBe('violation');
    expect(verdict(['w', 1, 0, 10], ['w', 2, 0, 10], ['r', 1, 5, 6], ['r', 2, 7, 8], ['r', 2, 11, 12])).toBe('linearizable');
    expect(verdict(['w', 1, 0, 10], ['w', 2, 0, 10], ['r', 1, 5, 6], ['r', 2, 7, 8], ['r', 1, 11, 12])).toBe('violation');
  });

  test('a write that was never answered may happen at any time, once, or never', () => {
    expect(verdict(['w', 1, 0], ['r', 0, 5, 6])).toBe('linearizable');
    expect(verdict(['w', 1, 0], ['r', 0, 5, 6], ['r', 1, 100, 101])).toBe('linearizable');
    expect(verdict(['w', 1, 0], ['r', 1, 5, 6], ['r', 0, 7, 8])).toBe('violation');
    expect(verdict(['w', 1, 0], ['w', 2, 1, 2], ['r', 1, 3, 4], ['r', 2, 5, 6])).toBe('violation');
    expect(verdict(['r', 1, 3, 4], ['w', 1, 5])).toBe('violation');
    // The retry of an operation that comes back over what another client wrote since.
    expect(verdict(['w', 1, 0, 10], ['r', 1, 1, 2], ['w', 2, 3, 4], ['r', 2, 5, 6], ['r', 1, 11, 12])).toBe('violation');
    // As two writes of one value, either try may be the one that is read.
    expect(verdict(['w', 1, 0], ['w', 1, 3, 10], ['r', 1, 1, 2], ['w', 2, 3, 4], ['r', 2, 5, 6], ['r', 1, 11, 12])).toBe('linearizable');
  });

  test('deletes that were never answered', () => {
    expect(verdict(['w', 1, 0, 1], ['w', 0, 2], ['r', 1, 3, 4], ['r', 0, 5, 6], ['w', 2, 7, 8], ['r', 0, 9, 10])).toBe('violation');
    expect(verdict(['w', 1, 0, 1], ['w', 0, 2], ['w', 0, 3], ['r', 0, 5, 6], ['w', 2, 7, 8], ['r', 0, 9, 10])).toBe('linearizable');
  });

  test('a violation says where it is', () => {
    const result = linearize(
      operations([
        ['w', 1, 0, 1],
        ['w', 2, 2, 3],
        ['r', 1, 4, 5],
      ]),
    );
    expect(result).toEqual({ kind: 'violation', why: '2 of 3 operations fit; then r2 does not, where 2 was written last' });
  });

  test('a long history with many at once and many unanswered is judged quickly', () => {
    const told: Told[] = [];
    for (let at = 1; at <= 400; at += 1) {
      told.push(['w', at % 7 === 0 ? 0 : at, at * 10, at % 5 === 0 ? undefined : at * 10 + 35]);
      if (at % 3 === 0) told.push(['r', at % 7 === 0 ? 0 : at, at * 10 + 5, at * 10 + 40]);
    }
    expect(['linearizable', 'violation']).toContain(linearize(operations(told)).kind);
  });
});

/** Tries every order, and every choice of the unanswered writes that happened. */
function bruteForce(all: readonly RegisterOperation[]): boolean {
  const relevant = all.filter(({ kind, endUs }) => kind === 'write' || endUs !== Infinity);
  const search = (left: readonly RegisterOperation[], value: number): boolean => {
    if (left.every(({ endUs }) => endUs === Infinity)) return true;
    return left.some((operation) => {
      if (left.some((other) => other.endUs < operation.startUs)) return false;
      if (operation.kind === 'read' && operation.value !== value) return false;
      return search(
        left.filter((other) => other !== operation),
        operation.kind === 'write' ? operation.value : value,
      );
    });
  };
  return search(relevant, 0);
}

function randomHistory(dice: Dice): RegisterOperation[] {
  const values = dice.between(1, 3);
  return operations(
    Array.from({ length: dice.between(1, 7) }, (): Told => {
      const from = dice.between(0, 20);
      const unanswered = dice.oneIn(5);
      return [dice.oneIn(2) ? 'w' : 'r', dice.between(0, values), from, unanswered ? undefined : from + dice.between(1, 12)];
    }),
  );
}

test('agrees with trying every order on 20,000 small histories', () => {
  const dice = new Dice(20_261_125);
  const count = { linearizable: 0, violation: 0, undecided: 0 };
  for (let round = 0; round < 20_000; round += 1) {
    const history = randomHistory(dice);
    const { kind } = linearize(history);
    count[kind] += 1;
    if (kind !== (bruteForce(history) ? 'linearizable' : 'violation')) throw new Error(`wrong about ${JSON.stringify(history)}`);
  }
  expect(count.undecided).toBe(0);
  // Both occur often.
  expect(count.linearizable).toBeGreaterThan(4000);
  expect(count.violation).toBeGreaterThan(4000);
});

test('a history of clients: what certainly did not happen is left out, keys are judged on their own', () => {
  const history = new RegisterHistory();
  const write = history.write('a', 'put', 0);
  write.endUs = 10;
  const refused = history.write('a', 'put', 11);
  refused.void = true;
  const read = history.read('a', 'node-1', 20);
  read.value = write.value;
  read.endUs = 21;
  const other = history.read('b', 'node-2', 30);
  other.endUs = 31;
  expect(history.check()).toEqual([]);
  read.value = refused.value;
  expect(history.check()).toMatchObject([{ checker: 'linearizability', message: expect.stringContaining('key a') }]);
});
