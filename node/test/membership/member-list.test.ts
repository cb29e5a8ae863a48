/** The parts of the failure detector, each on its own: the member list, accusations, the verdict, the pace. */

import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';

import { storeId } from '../../src/base/ids.ts';
import { Accusations } from '../../src/cluster/membership/accusations.ts';
import { type Accusation, ROW } from '../../src/cluster/membership/gossip.ts';
import { MemberTable } from '../../src/cluster/membership/member-table.ts';
import { MOST_ACCUSATIONS, MOST_ROWS, paceOf } from '../../src/cluster/membership/pace.ts';
import { judge } from '../../src/cluster/membership/verdict.ts';

const MEMBER = fc.nat(9);
const NEWS = fc.record({ member: MEMBER, incarnation: fc.nat(4).map((life) => life + 1), heartbeat: fc.nat(20) });

function tableOf(news: readonly { member: number; incarnation: number; heartbeat: number }[]): MemberTable {
  const table = new MemberTable(10, 0);
  for (const [at, { member, incarnation, heartbeat }] of news.entries()) table.learn(member, incarnation, heartbeat, 0, 1, at);
  return table;
}

function membersIn(rows: readonly number[]): number[] {
  return rows.filter((_, at) => at % ROW === 0);
}

describe('the member list', () => {
  test('comes to the same rows in whatever order news arrive', () => {
    fc.assert(
      fc.property(fc.array(NEWS), fc.infiniteStream(fc.nat()), (news, order) => {
        const shuffled = news.map((one) => ({ one, at: order.next().value ?? 0 })).sort((a, b) => a.at - b.at);
        const a = tableOf(news);
        const b = tableOf(shuffled.map(({ one }) => one));
        expect(b.incarnations).toEqual(a.incarnations);
        expect(b.heartbeats).toEqual(a.heartbeats);
      }),
    );
  });

  test('takes a row only where it is newer, and says when it is another life', () => {
    const table = new MemberTable(3, 0);
    expect(table.learn(1, 5, 7, 0, 1, 10)).toBe('reborn');
    expect(table.learn(1, 5, 7, 9, 1, 11)).toBe('old');
    expect(table.learn(1, 4, 99, 9, 1, 12)).toBe('old');
    expect(table.learn(1, 5, 8, 3, 2, 13)).toBe('newer');
    expect(table.learn(1, 6, 0, 0, 1, 14)).toBe('reborn');
    expect([table.incarnations[1], table.heartbeats[1], table.changedMs[1]]).toEqual([6, 0, 14]);
  });

  test('tells the newest first, and all of it in turn, in messages of a bounded size', () => {
    const size = 1000;
    const table = new MemberTable(size, 0);
    for (let member = 0; member < size; member += 1) table.learn(member, 1, 1, 0, 1, member);
    const met = new Set<number>();
    for (let message = 0; message < 16; message += 1) {
      const rows: number[] = [];
      table.beginMessage();
      table.fill(rows, MOST_ROWS, 999);
      const members = membersIn(rows);
      expect(members).toHaveLength(MOST_ROWS);
      expect(new Set(members).size).toBe(MOST_ROWS);
      expect(members.slice(0, 3)).toEqual([998, 997, 996]);
      for (const member of members) met.add(member);
    }
    expect(met.size).toBe(size - 1);
    table.learn(500, 1, 2, 0, 1, 2000);
    const rows: number[] = [];
    table.beginMessage();
    table.fill(rows, MOST_ROWS, 999);
    expect(membersIn(rows)[0]).toBe(500);
  });

  test('of a small cluster fits in one message, without those of which nothing is known', () => {
    const table = new MemberTable(5, 0);
    for (const member of [1, 3, 4]) table.learn(member, 1, 1, 0, 1, member);
    const rows: number[] = [];
    table.beginMessage();
    table.add(rows, 3);
    table.fill(rows, MOST_ROWS, 4);
    expect(membersIn(rows)).toEqual([3, 1]);
  });

  test('names the store of the newest life', () => {
    const [a, b] = [storeId('a'.repeat(32)), storeId('b'.repeat(32))];
    const table = new MemberTable(3, 0);
    expect(table.nextIntroduction()).toBe(-1);
    table.introduce(1, 2, a);
    table.introduce(1, 1, b);
    expect(table.storeOf(1)).toBe(a);
    table.introduce(1, 3, b);
    expect([table.storeOf(1), table.introducedIn(1), table.nextIntroduction()]).toEqual([b, 3, 1]);
  });
});

const ACCUSATION: fc.Arbitrary<Accusation> = fc
  .record({ member: MEMBER, incarnation: fc.nat(3), observer: MEMBER, observerIncarnation: fc.nat(3) })
  .filter(({ member, observer }) => member !== observer);

describe('accusations', () => {
  const zones = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0];

  test('are bounded, of one life of each member, and are news for a bounded number of messages', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(ACCUSATION, MEMBER), { maxLength: 60 }), (changes) => {
        const book = new Accusations(zones);
        for (const change of changes) {
          if (typeof change === 'object') book.add(change, 3);
          else if (change % 3 === 0) book.drop(change);
          else if (change % 3 === 1) book.lapse(change, 2);
          else book.withdraw(change, (change + 1) % 10);
        }
        for (const member of book.members()) {
          const observers = book.witnesses(member).map(({ observer }) => observer);
          expect(observers.length).toBeGreaterThan(0);
          expect(observers.length).toBeLessThanOrEqual(4);
          expect(new Set(observers).size).toBe(observers.length);
        }
        for (let message = 0; message < 60 && book.news; message += 1) {
          const told: Accusation[] = [];
          book.tell(told, 0, message % 2 === 0, MOST_ACCUSATIONS);
          expect(told.length).toBeGreaterThan(0);
          expect(told.length).toBeLessThanOrEqual(MOST_ACCUSATIONS);
          expect(new Set(told.map(({ member, observer }) => `${String(member)} ${String(observer)}`)).size).toBe(told.length);
        }
        expect(book.news).toBe(false);
      }),
    );
  });

  test('old ones are still told to the accused, and to others in exchanges, each in its turn', () => {
    const book = new Accusations(zones);
    for (const member of [1, 2, 3]) book.add({ member, incarnation: 1, observer: 0, observerIncarnation: 1 }, 1);
    const tell = (receiver: number, exchange: boolean, most: number): number[] => {
      const told: Accusation[] = [];
      book.tell(told, receiver, exchange, most);
      return told.map(({ member }) => member);
    };
    expect(tell(9, false, 16)).toEqual([1, 2, 3]);
    expect(tell(9, false, 16)).toEqual([]);
    expect(tell(2, false, 16)).toEqual([2]);
    expect([tell(9, true, 1), tell(9, true, 1), tell(9, true, 1), tell(9, true, 1)]).toEqual([[1], [2], [3], [1]]);
  });

  test('a newer life of the accused begins a new case; a newer one of the observer speaks anew', () => {
    const book = new Accusations(zones);
    expect(book.add({ member: 1, incarnation: 1, observer: 0, observerIncarnation: 1 }, 1)).toBe(true);
    expect(book.add({ member: 1, incarnation: 1, observer: 0, observerIncarnation: 1 }, 1)).toBe(false);
    expect(book.add({ member: 1, incarnation: 1, observer: 0, observerIncarnation: 2 }, 1)).toBe(true);
    expect(book.add({ member: 1, incarnation: 2, observer: 2, observerIncarnation: 1 }, 1)).toBe(true);
    expect(book.add({ member: 1, incarnation: 1, observer: 4, observerIncarnation: 1 }, 1)).toBe(false);
    expect(book.witnesses(1).map(({ observer }) => observer)).toEqual([2]);
  });
});

describe('the verdict', () => {
  test('never rests on fewer than two distinct others, and on two zones where that is possible', () => {
    fc.assert(
      fc.property(
        MEMBER,
        fc.array(MEMBER),
        fc.array(fc.nat(2), { minLength: 10, maxLength: 10 }),
        fc.array(fc.boolean(), { minLength: 10, maxLength: 10 }),
        (accused, observers, zones, able) => {
          const verdict = judge(accused, observers, { zones, observersNeeded: 2, canObserve: (member) => able[member] === true });
          if (verdict === undefined) return;
          const [a = -1, b = -1] = verdict;
          expect(verdict).toHaveLength(2);
          expect(a).not.toBe(b);
          expect([a, b]).not.toContain(accused);
          expect(observers).toEqual(expect.arrayContaining([a, b]));
          if (zones[a] !== zones[b]) return;
          for (const [member, zone] of zones.entries()) {
            if (member !== accused && zone !== zones[a]) expect(able[member]).toBe(false);
          }
        },
      ),
    );
  });
});

describe('the pace', () => {
  test('the interval and the fanout grow with the cluster, within bounds', () => {
    let last = paceOf(1);
    for (let members = 2; members <= 2000; members += 1) {
      const pace = paceOf(members);
      expect(pace.intervalMs).toBeGreaterThanOrEqual(last.intervalMs);
      expect(pace.fanout).toBeGreaterThanOrEqual(last.fanout);
      expect(pace.fanout).toBeLessThan(members);
      last = pace;
    }
    expect(paceOf(5)).toMatchObject({ intervalMs: 850, fanout: 2, probeChance: 2 ** 32 });
    expect(paceOf(1000)).toMatchObject({ intervalMs: 1200, fanout: 4 });
  });
});
