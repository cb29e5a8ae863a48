import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';

import { clusterId, memberName, type StoreId, storeId } from '../../src/base/ids.ts';
import {
  afterRewind,
  beginBoot,
  BOOTS_KEPT,
  bootSequence,
  continuity,
  COUNTER_LEASE,
  endCleanly,
} from '../../src/cluster/membership/boot.ts';
import { decodeIdentity, encodeIdentity, newIdentity, type PeerMemory, type StoreIdentity } from '../../src/cluster/membership/identity.ts';
import { hearNotice, judgePeer, type PeerHello, type PeerRules } from '../../src/cluster/membership/peers.ts';

const CLUSTER = clusterId('c'.repeat(32));
const id = (letter: string): StoreId => storeId(letter.repeat(32));

const TERMS = { nowMs: 1000, timeLeaseMs: 500, mayForget: false };

function blank(letter = 'a'): StoreIdentity {
  return newIdentity(CLUSTER, id(letter), memberName('node-1'));
}

let drawn = 0;
/** Different random numbers at each call. */
function draw(): { nonce: number; actorEpoch: number } {
  drawn += 1;
  return { nonce: Math.imul(drawn, 0x9e3779b1) >>> 0, actorEpoch: Math.imul(drawn, 0x85ebca6b) >>> 0 };
}

function boot(last: StoreIdentity): StoreIdentity {
  return beginBoot(last, draw(), TERMS);
}

function memoryOf({ storeId: store, boot: number, lease, actorEpoch }: StoreIdentity): PeerMemory {
  return { storeId: store, boot: number, lease, actorEpoch };
}

function code(call: () => unknown): string | undefined {
  try {
    call();
    return undefined;
  } catch (error) {
    return (error as { code?: string }).code;
  }
}

describe('the identity file', () => {
  const full: StoreIdentity = {
    ...boot(blank()),
    peers: { 'node-2': { storeId: id('b'), boot: 7, lease: 3, actorEpoch: 9 } },
    removed: [id('d')],
    progress: { sources: { 'node-2': { storeId: id('b'), cursor: '00ff', done: false, full: true } } },
  };

  test('comes back as it was written', () => {
    for (const identity of [blank(), boot(blank()), full]) expect(decodeIdentity(encodeIdentity(identity), 'f')).toEqual(identity);
  });

  test('any changed, missing or added byte is noticed', () => {
    const bytes = encodeIdentity(full);
    for (let at = 0; at < bytes.length; at += 1) {
      const bad = bytes.slice();
      bad[at] = (bad[at] ?? 0) ^ 0x10;
      expect(['DATA_DAMAGED', 'DATA_DIR_NEWER']).toContain(code(() => decodeIdentity(bad, 'f')));
    }
    for (let length = 0; length < bytes.length; length += 1) {
      expect(code(() => decodeIdentity(bytes.slice(0, length), 'f'))).toBe('DATA_DAMAGED');
    }
    expect(code(() => decodeIdentity(new Uint8Array([...bytes, 10]), 'f'))).toBe('DATA_DAMAGED');
  });

  test('a newer format is told apart from damage', () => {
    const text = Buffer.from(encodeIdentity(full)).toString('latin1').replace('coterie-identity 1 ', 'coterie-identity 2 ');
    expect(code(() => decodeIdentity(Buffer.from(text, 'latin1'), 'f'))).toBe('DATA_DIR_NEWER');
  });
});

describe('boots', () => {
  test('a clean one keeps the actor and goes on with its counters, an unclean one takes a new actor', () => {
    const first = boot(blank());
    expect(bootSequence(first.boot)).toBe(1);
    expect(first).toMatchObject({ counterEnd: COUNTER_LEASE, clean: false });
    const stopped = endCleanly(first, 41, 2000);
    const second = boot(stopped);
    expect(second).toMatchObject({ actorEpoch: first.actorEpoch, counterUsed: 41, counterEnd: 41 + COUNTER_LEASE });
    const third = boot(second);
    expect(third.actorEpoch).not.toBe(second.actorEpoch);
    expect(third).toMatchObject({ counterUsed: 0, counterEnd: COUNTER_LEASE });
    expect(bootSequence(third.boot)).toBe(3);
  });

  test('an actor epoch drawn twice in a row is still a new one', () => {
    const first = beginBoot(blank(), { nonce: 1, actorEpoch: 5 }, TERMS);
    expect(beginBoot(first, { nonce: 1, actorEpoch: 5 }, TERMS).actorEpoch).toBe(6);
  });

  test('where acknowledged writes may be forgotten, an unclean start makes the store synchronise anew', () => {
    const running = { ...boot(blank()), synchronised: true };
    const terms = { ...TERMS, mayForget: true };
    expect(beginBoot(running, draw(), terms).synchronised).toBe(false);
    expect(beginBoot(endCleanly(running, 1, 1), draw(), terms).synchronised).toBe(true);
    expect(beginBoot(running, draw(), TERMS).synchronised).toBe(true);
  });

  test('the ceiling of time never comes down at a start', () => {
    const first = { ...boot(blank()), ceilingMs: 9000 };
    expect(boot(first).ceilingMs).toBe(9000);
  });

  // What a peer saw at any moment of a store's life is no rewind as long as the disk goes on; it is one from every older disk.
  test('a disk that goes on is never taken for rewound, one that went back always is', () => {
    const step = fc.constantFrom('boot', 'stop', 'lease' as const);
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 1, maxLength: 20 }),
        fc.nat(19),
        fc.nat(19),
        fc.integer({ min: 1, max: 5 }),
        (steps, a, b, boots) => {
          // The disks that the store had, oldest first; peers hear of each running one.
          const disks: StoreIdentity[] = [boot(blank())];
          for (const what of steps) {
            const last = disks.at(-1) ?? blank();
            if (what === 'lease' && !last.clean) disks.push({ ...last, lease: last.lease + 1 });
            else if (what === 'stop') disks.push(endCleanly(last, last.counterUsed, last.ceilingMs));
            else disks.push(boot(last));
          }
          const seen = disks[a % disks.length] ?? blank();
          const now = boot(disks.at(-1) ?? blank());
          expect(continuity(now, memoryOf(seen)).kind).toBe('same');
          // The disk goes back to an earlier state, and starts from there so many times before it meets the peer.
          const back = b % disks.length;
          const old = disks[back] ?? blank();
          let again = old;
          for (let i = 0; i < boots; i += 1) again = boot(again);
          const later = disks.slice(back + 1).filter((disk) => disk.boot !== old.boot || disk.lease > old.lease);
          for (const disk of later) expect(continuity(again, memoryOf(disk)).kind).toBe('rewound');
        },
      ),
      { numRuns: 500, seed: 11 },
    );
  });

  test('after a rewind the store is above all that was seen, and no peer with the same memory says so again', () => {
    const old = boot(blank());
    const seen = memoryOf({ ...boot(boot(old)), lease: 50 });
    const again = boot(old);
    expect(continuity(again, seen).kind).toBe('rewound');
    const after = afterRewind({ ...again, synchronised: true }, seen, draw());
    expect(after).toMatchObject({ synchronised: false, progress: { sources: {} } });
    expect(after.boot).toBeGreaterThan(seen.boot);
    expect(after.lease).toBeGreaterThan(seen.lease);
    expect(after.actorEpoch).not.toBe(again.actorEpoch);
    expect(continuity(after, seen).kind).toBe('same');
    expect(continuity(boot(after), seen).kind).toBe('same');
  });

  test('the memory of boots is bounded', () => {
    let identity = blank();
    for (let i = 0; i < BOOTS_KEPT + 10; i += 1) identity = boot(identity);
    expect(identity.boots).toHaveLength(BOOTS_KEPT);
    expect(identity.boots.at(-1)?.boot).toBe(identity.boot);
  });
});

describe('peers', () => {
  const rules: PeerRules = {
    topologyEpoch: 1,
    topologyDigest: 'digest',
    expectedStore: (member) => (member === 'node-4' ? id('f') : undefined),
    isMember: (member) => /^node-[1-4]$/.test(member),
  };
  const hello = (changes: Partial<PeerHello> = {}): PeerHello => ({
    clusterId: CLUSTER,
    name: 'node-2',
    storeId: id('b'),
    boot: 10,
    lease: 5,
    actorEpoch: 1,
    topologyEpoch: 1,
    topologyDigest: 'digest',
    ...changes,
  });
  const accepted = (self: StoreIdentity, theirs: PeerHello): Extract<ReturnType<typeof judgePeer>, { kind: 'accepted' }> => {
    const judged = judgePeer(self, theirs, rules);
    if (judged.kind !== 'accepted') throw new Error(judged.message);
    return judged;
  };

  test('who is foreign, incompatible or removed is refused', () => {
    const cases: [Partial<PeerHello>, string][] = [
      [{ clusterId: clusterId('d'.repeat(32)) }, 'PEER_FOREIGN'],
      [{ name: 'node-9' }, 'PEER_FOREIGN'],
      [{ name: 'node-1' }, 'PEER_FOREIGN'],
      [{ storeId: id('a') }, 'PEER_FOREIGN'],
      [{ topologyDigest: 'other' }, 'PEER_INCOMPATIBLE'],
      [{ name: 'node-4' }, 'PEER_REMOVED'],
      [{ storeId: id('e') }, 'PEER_REMOVED'],
    ];
    const self = { ...blank(), removed: [id('e')] };
    for (const [changes, wanted] of cases) expect(judgePeer(self, hello(changes), rules)).toMatchObject({ kind: 'refused', code: wanted });
    expect(judgePeer(self, hello({ name: 'node-4', storeId: id('f') }), rules).kind).toBe('accepted');
  });

  test('memory only grows, and is answered as it was before', () => {
    const first = accepted(blank(), hello());
    expect(first.before).toBeUndefined();
    const same = accepted(first.after, hello());
    expect(same.after).toBe(first.after);
    const older = accepted(first.after, hello({ boot: 9, lease: 4 }));
    expect(older.before).toMatchObject({ boot: 10, lease: 5 });
    expect(older.after.peers['node-2']).toMatchObject({ boot: 10, lease: 5 });
    expect(accepted(first.after, hello({ boot: 11, lease: 6 })).after.peers['node-2']).toMatchObject({ boot: 11, lease: 6 });
  });

  test('a new store in a slot replaces the old one, which never returns', () => {
    const { after } = accepted(blank(), hello());
    const replaced = accepted(after, hello({ storeId: id('d') }));
    expect(replaced).toMatchObject({ replaced: true, before: { storeId: id('b') } });
    expect(replaced.after.removed).toEqual([id('b')]);
    expect(judgePeer(replaced.after, hello(), rules)).toMatchObject({ kind: 'refused', code: 'PEER_REMOVED' });
  });

  test('a notice teaches leases and removals; a store that hears of its own removal retires', () => {
    const { after } = accepted(blank(), hello());
    const said = { storeId: id('b'), boot: 10, lease: 9, actorEpoch: 1 };
    expect(hearNotice(after, 'node-2', said, []).peers['node-2']?.lease).toBe(9);
    expect(hearNotice(after, 'node-2', { ...said, storeId: id('e') }, [])).toBe(after);
    expect(hearNotice(after, 'node-2', said, [id('e')])).toMatchObject({ removed: [id('e')], retired: false });
    expect(hearNotice(after, 'node-2', said, [id('a')])).toMatchObject({ removed: [id('a')], retired: true });
  });
});
