/** Numbers for keys: the table against a Map, with keys that share slots. */

import { describe, expect, it } from '@jest/globals';
import { SeededRandom } from '../../sim/disk/seeded-random.ts';
import { KeyTable } from '../../src/base/key-table.ts';

describe('the table of keys', () => {
  it('finds what was added and not removed, whatever shares a slot with it', () => {
    for (const spread of [1, 7, 4096, 2 ** 32]) {
      const random = new SeededRandom(spread);
      const table = new KeyTable();
      const model = new Map<string, number>();
      const hashOf = (key: string): number => Math.imul(Number(key), 0x9e3779b1) % spread;
      for (let step = 0; step < 4000; step += 1) {
        const key = String(random.below(300));
        const number = model.get(key);
        if (number === undefined) {
          const given = table.add(key, hashOf(key));
          expect([...model.values()]).not.toContain(given);
          model.set(key, given);
        } else {
          expect(table.remove(key, hashOf(key))).toBe(number);
          model.delete(key);
        }
        const asked = String(random.below(300));
        expect(table.find(asked, hashOf(asked))).toBe(model.get(asked) ?? -1);
      }
      expect(table.size).toBe(model.size);
      for (const [key, number] of model) expect([table.find(key, hashOf(key)), table.keys[number]]).toEqual([number, key]);
      // Numbers given back are used again.
      expect(table.keys.length).toBeLessThanOrEqual(300);
    }
  });

  it('tells keys of one hash apart, and answers -1 for what it never had', () => {
    const table = new KeyTable();
    expect([table.find('a', 5), table.remove('a', 5)]).toEqual([-1, -1]);
    expect([table.add('a', 5), table.add('b', 5)]).toEqual([0, 1]);
    expect([table.find('a', 5), table.find('b', 5), table.find('c', 5)]).toEqual([0, 1, -1]);
    table.clear();
    expect([table.find('a', 5), table.size, table.keys.length]).toEqual([-1, 0, 0]);
  });
});
