import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { partitionId } from '../../src/base/ids.ts';
import { preferenceList, primaries } from '../../src/cluster/ring/preference.ts';
import { member, topology } from './clusters.ts';

const ring = topology({ Q: 64, members: Array.from({ length: 9 }, (_, at) => member(at + 1)) });
const zoneOf = (at: number): string | undefined => ring.members[at]?.zone;

describe('preference lists', () => {
  test('with everybody well it is the primaries alone, unless more are asked for', () => {
    const own = primaries(ring, partitionId(5));
    expect(preferenceList(ring, partitionId(5), () => true)).toEqual(own);
    expect(preferenceList(ring, partitionId(5), () => true, 2)).toHaveLength(5);
  });

  test('a partition that does not exist is a bug', () => {
    expect(() => primaries(ring, partitionId(64))).toThrow('no partition 64');
  });

  test('the stand-in is the first healthy node clockwise in the zone that lost its primary', () => {
    for (let partition = 0; partition < 64; partition += 1) {
      const own = primaries(ring, partitionId(partition));
      const down = own[1] ?? -1;
      const clockwise = Array.from({ length: 63 }, (_, step) => ring.partitions[(partition + 1 + step) % 64] ?? []).flat();
      const expected = clockwise.find((at) => !own.includes(at) && zoneOf(at) === zoneOf(down));
      expect(preferenceList(ring, partitionId(partition), (at) => at !== down)).toEqual([...own, expected]);
    }
  });

  test('with a whole zone down the stand-ins come from the zones left, evenly', () => {
    const healthy = (at: number): boolean => zoneOf(at) !== 'zone-1';
    const list = preferenceList(ring, partitionId(0), healthy, 2);
    expect(new Set(list.slice(3).map(zoneOf))).toEqual(new Set(['zone-2', 'zone-3']));
  });

  test('members without a slot stand in as well', () => {
    const small = topology({ Q: 1, members: [1, 2, 3, 4].map((number) => member(number)) });
    const own = primaries(small, partitionId(0));
    const list = preferenceList(small, partitionId(0), (at) => at !== own[0]);
    expect([...list].sort()).toEqual([0, 1, 2, 3]);
  });

  test('always: primaries first, then distinct healthy others, as many as wanted or as there are', () => {
    fc.assert(
      fc.property(fc.nat(63), fc.nat(511), fc.nat(9), (partition, mask, wanted) => {
        const healthy = (at: number): boolean => ((mask >> at) & 1) === 1;
        const list = preferenceList(ring, partitionId(partition), healthy, wanted);
        const own = primaries(ring, partitionId(partition));
        expect(list.slice(0, 3)).toEqual(own);
        expect(new Set(list).size).toBe(list.length);
        expect(list.slice(3).every(healthy)).toBe(true);
        const others = ring.members.filter((_, at) => healthy(at) && !own.includes(at)).length;
        expect(list.length - 3).toBe(Math.min(wanted, others));
      }),
    );
  });
});
