/** One write at a time: what it replaces, refuses, repeats, warns of and truncates. */

import { crc32 } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import { storeId } from '../../src/base/ids.ts';
import { encodeObject } from '../../src/cluster/versioning/codec.ts';
import type { Context } from '../../src/cluster/versioning/context.ts';
import { contextOf } from '../../src/cluster/versioning/context.ts';
import { merge } from '../../src/cluster/versioning/merge.ts';
import type { KvObject } from '../../src/cluster/versioning/object.ts';
import { actorOf, emptyObject } from '../../src/cluster/versioning/object.ts';
import { peekVersion } from '../../src/cluster/versioning/peek.ts';
import { present } from '../../src/cluster/versioning/present.ts';
import { TRUNCATE_MIN_AGE_MS, truncateClock } from '../../src/cluster/versioning/truncate.ts';
import type { Applied, Mutation, Operation, WriteStamp } from '../../src/cluster/versioning/update.ts';
import { applyWrite } from '../../src/cluster/versioning/update.ts';
import { bytesOf, textOf } from './history.ts';

const NOW = 1_700_000_000_000;
const STORE = storeId('ab'.repeat(16));

let counter = 0;

function stamp(actorEpoch: number, ms: number, clockConfirmed = false): WriteStamp {
  const dot = { actor: actorOf(STORE, actorEpoch), counter: (counter += 1) };
  const truncate = (local: KvObject, keep: number): KvObject => truncateClock(local, keep, ms - TRUNCATE_MIN_AGE_MS);
  return { dot: () => dot, time: { ms, logical: 0 }, nowMs: ms, ...(clockConfirmed ? { truncate } : {}) };
}

function put(text: string, more: { context?: Context; operation?: Operation; expireAtMs?: number; keepTtl?: boolean } = {}): Mutation {
  return { kind: 'put', value: bytesOf(text), expireAtMs: 0, keepTtl: false, ...more };
}

function applied(result: Applied): KvObject {
  if (result.kind !== 'applied') throw new Error(JSON.stringify(result));
  return result.object;
}

function texts(object: KvObject, nowMs: number = NOW): string[] {
  return present(object, nowMs).map(({ value }) => textOf(value));
}

/** An object written by `writers` actors at successive milliseconds, each seeing the one before. */
function written(writers: number): KvObject {
  let object = emptyObject();
  for (let i = 0; i < writers; i += 1) object = applied(applyWrite(object, put(`v${String(i)}`), stamp(i, NOW + i)));
  return object;
}

const noContext = contextOf(emptyObject());
const operation = (id: string, bodyHash = 'hhhhhhhh'): Operation => ({ id: id.repeat(16), bodyHash });

describe('a write', () => {
  test('without a context replaces all that the coordinator sees; with one, what the context saw', () => {
    const first = applied(applyWrite(emptyObject(), put('a', { context: noContext }), stamp(1, NOW)));
    const seen = contextOf(first);
    const both = applied(applyWrite(first, put('b', { context: noContext }), stamp(1, NOW + 1)));
    expect(texts(both)).toEqual(['b', 'a']);
    expect(texts(applied(applyWrite(both, put('c', { context: seen }), stamp(1, NOW + 2))))).toEqual(['c', 'b']);
    expect(texts(applied(applyWrite(both, { kind: 'delete', context: seen }, stamp(1, NOW + 2))))).toEqual(['b']);
    expect(texts(applied(applyWrite(both, put('d'), stamp(1, NOW + 2))))).toEqual(['d']);
    expect(texts(applied(applyWrite(both, { kind: 'delete' }, stamp(1, NOW + 2))))).toEqual([]);
  });

  test('is later than what it replaces, however far behind the node clock is', () => {
    const ahead = applied(applyWrite(emptyObject(), put('ahead'), stamp(1, NOW + 400)));
    const behind = applied(applyWrite(ahead, put('behind'), stamp(2, NOW)));
    expect(texts(merge(ahead, behind))).toEqual(['behind']);
    expect(behind.blindFloor?.time).toEqual({ ms: NOW + 400, logical: 1 });
    const read = applied(applyWrite(emptyObject(), put('resolved', { context: contextOf(behind) }), stamp(3, NOW)));
    expect(read.siblings[0]?.time).toEqual({ ms: NOW + 400, logical: 2 });
  });

  test('says whether a live value was there', () => {
    const expiring = applyWrite(emptyObject(), put('a', { expireAtMs: NOW + 10 }), stamp(1, NOW));
    expect(expiring).toMatchObject({ kind: 'applied', existed: false });
    expect(applyWrite(applied(expiring), { kind: 'delete' }, stamp(1, NOW + 9))).toMatchObject({ existed: true });
    expect(applyWrite(applied(expiring), { kind: 'delete' }, stamp(1, NOW + 10))).toMatchObject({ existed: false });
  });

  test('refuses a counter that its own actor has used, as a broken invariant', () => {
    const object = applied(applyWrite(emptyObject(), put('a'), stamp(1, NOW)));
    const used = { ...stamp(1, NOW + 1), dot: () => object.clock[0] ?? { actor: '', counter: 0 } };
    expect(() => applyWrite(object, put('b'), used)).toThrow(/broken invariant/);
  });
});

describe('a context', () => {
  test('from the future is refused, and so is one that claims dots not yet made', () => {
    const other = applied(applyWrite(emptyObject(), put('a'), stamp(1, NOW + 501)));
    expect(applyWrite(emptyObject(), put('b', { context: contextOf(other) }), stamp(2, NOW))).toMatchObject({
      kind: 'refused',
      code: 'CLOCK_SKEW',
    });
    const late = { ...noContext, floorMs: NOW + 501 };
    expect(applyWrite(emptyObject(), put('b', { context: late }), stamp(2, NOW))).toMatchObject({ kind: 'refused', code: 'CLOCK_SKEW' });
    const forged = { ...noContext, clock: [{ actor: actorOf(STORE, 2), counter: 2 ** 52, ms: NOW }] };
    expect(applyWrite(emptyObject(), put('b', { context: forged }), stamp(2, NOW))).toMatchObject({
      kind: 'refused',
      code: 'CONTEXT_BROKEN',
    });
  });
});

describe('siblings', () => {
  test('warn from 25 and are refused beyond 100, before any effect', () => {
    let object = emptyObject();
    for (let i = 1; i <= 100; i += 1) {
      const result = applyWrite(object, put(`v${String(i)}`, { context: noContext }), stamp(1, NOW + i));
      object = applied(result);
      expect(result).toMatchObject({ warnings: i >= 25 ? ['siblings-many'] : [] });
    }
    expect(applyWrite(object, put('more', { context: noContext }), stamp(1, NOW + 200))).toMatchObject({
      kind: 'refused',
      code: 'SIBLINGS_TOO_MANY',
    });
    expect(texts(applied(applyWrite(object, put('one', { context: contextOf(object) }), stamp(1, NOW + 200))))).toEqual(['one']);
  });
});

describe('the clock', () => {
  test('warns above 50 entries and is refused above 100 while nobody confirms it', () => {
    expect(applyWrite(written(49), put('x'), stamp(1000, NOW + 999))).toMatchObject({ warnings: [] });
    expect(applyWrite(written(50), put('x'), stamp(1000, NOW + 999))).toMatchObject({ warnings: ['clock-large'] });
    expect(applyWrite(written(99), put('x'), stamp(1000, NOW + 999)).kind).toBe('applied');
    expect(applyWrite(written(100), put('x'), stamp(1000, NOW + 999))).toMatchObject({ kind: 'refused', code: 'CLOCK_TOO_LARGE' });
  });

  test('is truncated to 50 entries once confirmed, oldest first, and old copies stay dead', () => {
    const old = written(30);
    let object = old;
    for (let i = 30; i < 100; i += 1) object = applied(applyWrite(object, put(`v${String(i)}`), stamp(i, NOW + i)));
    const result = applyWrite(object, put('x'), stamp(1000, NOW + 60_099, true));
    const truncated = applied(result);
    expect(truncated.clock).toHaveLength(50);
    expect(truncated.floorMs).toBe(NOW + 50);
    expect(result).toMatchObject({ warnings: [] });
    for (const copy of [old, object, written(1)]) expect(texts(merge(truncated, copy))).toEqual(['x']);
    expect(texts(applied(applyWrite(old, put('late', { context: contextOf(truncated) }), stamp(2000, NOW + 60_100))))).toEqual(['late']);
  });

  test('keeps entries younger than a minute, which a fallback with a late clock might still be behind', () => {
    const object = written(100);
    const all = applied(applyWrite(object, put('x'), stamp(1000, NOW + 60_050, true)));
    expect(all.floorMs).toBe(NOW + 50);
    const some = applied(applyWrite(object, put('x'), stamp(1000, NOW + 60_010, true)));
    expect(some.floorMs).toBe(NOW + 10);
    expect(some.clock).toHaveLength(90);
  });

  test('is as long as settings say', () => {
    const settings = { ...stamp(1000, NOW + 99_999, true), clockEntries: 3 };
    const result = applyWrite(written(5), put('x'), settings);
    expect(applied(result).clock).toHaveLength(3);
    expect(result).toMatchObject({ warnings: [] });
    expect(applyWrite(written(3), put('x'), { ...stamp(1000, NOW + 99_999), clockEntries: 3 })).toMatchObject({
      warnings: ['clock-large'],
    });
  });

  test('of a tombstone is never truncated: neither by a delete nor as it stands', () => {
    const deleted = applied(applyWrite(written(60), { kind: 'delete' }, stamp(1000, NOW + 99_999, true)));
    expect(deleted.clock).toHaveLength(61);
    expect(deleted.floorMs).toBe(0);
  });

  test('keeps the entries of the newest millisecond, so that what comes next is above the floor', () => {
    let object = emptyObject();
    for (let i = 0; i < 60; i += 1) object = merge(object, applied(applyWrite(emptyObject(), put('same'), stamp(i, NOW))));
    expect(truncateClock(object, 10, NOW)).toBe(object);
    const later = applied(applyWrite(object, put('later'), stamp(100, NOW + 1)));
    expect(truncateClock(later, 10, NOW + 1).clock).toHaveLength(1);
    const next = applied(applyWrite(truncateClock(later, 10, NOW + 1), put('next'), stamp(101, NOW - 300)));
    expect(texts(merge(next, later))).toEqual(['next']);
  });
});

describe('an operation id', () => {
  test('makes a retry the same write, answered as the first, also when it was replaced since', () => {
    const first = applied(applyWrite(emptyObject(), put('a', { operation: operation('1') }), stamp(1, NOW)));
    expect(applyWrite(first, put('a', { operation: operation('1') }), stamp(2, NOW + 1))).toEqual({
      kind: 'repeated',
      object: first,
      existed: false,
    });
    const replaced = applied(applyWrite(first, put('b'), stamp(2, NOW + 2)));
    expect(applyWrite(replaced, put('a', { operation: operation('1') }), stamp(2, NOW + 3))).toEqual({
      kind: 'repeated',
      object: replaced,
      existed: false,
    });
    const deleted = applied(applyWrite(replaced, { kind: 'delete', operation: operation('2') }, stamp(2, NOW + 4)));
    expect(applyWrite(deleted, { kind: 'delete', operation: operation('2') }, stamp(1, NOW + 5))).toEqual({
      kind: 'repeated',
      object: deleted,
      existed: true,
    });
  });

  test('with another body is refused', () => {
    const first = applied(applyWrite(emptyObject(), put('a', { operation: operation('1') }), stamp(1, NOW)));
    const reused = applyWrite(first, put('b', { operation: operation('1', 'iiiiiiii') }), stamp(1, NOW + 1));
    expect(reused).toMatchObject({ kind: 'refused', code: 'OPERATION_ID_REUSED' });
  });

  test('is remembered 16 operations and 10 minutes, counted from the newest', () => {
    const ids = 'abcdefghijklmnopq';
    let object = emptyObject();
    for (const id of ids.slice(0, 16)) object = applied(applyWrite(object, put(id, { operation: operation(id) }), stamp(1, NOW)));
    expect(applyWrite(object, put('a', { operation: operation('a') }), stamp(1, NOW)).kind).toBe('repeated');
    object = applied(applyWrite(object, put('q', { operation: operation('q') }), stamp(1, NOW + 600_000)));
    expect(object.operations).toHaveLength(16);
    expect(applyWrite(object, put('b', { operation: operation('b') }), stamp(1, NOW)).kind).toBe('repeated');
    object = applied(applyWrite(object, put('r', { operation: operation('r') }), stamp(1, NOW + 600_001)));
    expect(object.operations.map((record) => record.id[0])).toEqual(['r', 'q']);
  });

  test('minted twice by coordinators that did not know of each other is shown once, and dies as one', () => {
    const write = put('a', { context: noContext, operation: operation('1') });
    const one = applied(applyWrite(emptyObject(), write, stamp(1, NOW)));
    const two = applied(applyWrite(emptyObject(), write, stamp(2, NOW + 1)));
    expect(merge(one, two).siblings).toHaveLength(2);
    expect(texts(merge(one, two))).toEqual(['a']);
    const replaced = applied(applyWrite(one, put('b', { context: contextOf(one) }), stamp(1, NOW + 2)));
    const met = merge(replaced, two);
    expect(texts(met)).toEqual(['b']);
    expect(texts(applied(applyWrite(met, put('c', { context: noContext }), stamp(1, NOW + 3))))).toEqual(['c', 'b']);
    expect(applied(applyWrite(met, put('c', { context: noContext }), stamp(1, NOW + 3))).siblings).toHaveLength(2);
  });

  test('minted twice without a context keeps its value: the later twin does not die with the earlier', () => {
    const write = put('a', { operation: operation('1') });
    const one = applied(applyWrite(emptyObject(), write, stamp(1, NOW)));
    const two = applied(applyWrite(emptyObject(), write, stamp(2, NOW + 1)));
    expect(texts(merge(one, two))).toEqual(['a']);
  });

  test('minted twice without a context dies as one once a context has seen either, whatever else the writer was not shown', () => {
    const write = put('a', { operation: operation('1') });
    const one = applied(applyWrite(emptyObject(), write, stamp(1, NOW)));
    const two = applied(applyWrite(emptyObject(), write, stamp(2, NOW + 1)));
    const next = put('b', { context: contextOf(one) });
    const apart = applied(applyWrite(one, next, stamp(1, NOW + 2)));
    const together = applied(applyWrite(merge(one, two), next, stamp(1, NOW + 2)));
    expect(texts(merge(apart, two))).toEqual(['b']);
    expect(texts(together)).toEqual(['b']);
    expect(together.siblings).toHaveLength(1);
    const gone = merge(applied(applyWrite(one, { kind: 'delete', context: contextOf(one) }, stamp(1, NOW + 2))), two);
    expect(texts(gone)).toEqual([]);
    expect(peekVersion(encodeObject(gone, crc32)).kind).toBe('several');
  });

  test('minted twice without a context stands beside what had seen neither', () => {
    const write = put('a', { operation: operation('1') });
    const both = merge(
      applied(applyWrite(emptyObject(), write, stamp(1, NOW))),
      applied(applyWrite(emptyObject(), write, stamp(2, NOW + 1))),
    );
    expect(texts(applied(applyWrite(both, put('b', { context: noContext }), stamp(1, NOW + 2))))).toEqual(['b', 'a']);
  });
});

describe('expiry', () => {
  const expire = (atMs: number, context?: Context): Mutation => ({ kind: 'expire', atMs, context });

  test('is absolute; KEEPTTL keeps it, a plain put drops it, PERSIST removes it', () => {
    const object = applied(applyWrite(emptyObject(), put('a', { expireAtMs: NOW + 100 }), stamp(1, NOW)));
    expect(texts(object, NOW + 99)).toEqual(['a']);
    expect(texts(object, NOW + 100)).toEqual([]);
    expect(present(applied(applyWrite(object, put('b', { keepTtl: true }), stamp(1, NOW + 1))), NOW)[0]?.expireAtMs).toBe(NOW + 100);
    expect(present(applied(applyWrite(object, put('b', { keepTtl: true }), stamp(1, NOW + 100))), NOW)[0]?.expireAtMs).toBe(0);
    expect(present(applied(applyWrite(object, put('b'), stamp(1, NOW + 1))), NOW)[0]?.expireAtMs).toBe(0);
    expect(present(applied(applyWrite(object, expire(0), stamp(1, NOW + 1))), NOW)[0]?.expireAtMs).toBe(0);
  });

  test('EXPIRE keeps the time and the dot of the value, so a concurrent newer put wins and an old context still covers it', () => {
    const object = applied(applyWrite(emptyObject(), put('old'), stamp(1, NOW)));
    const expiring = applied(applyWrite(object, expire(NOW + 500), stamp(2, NOW + 20)));
    expect(expiring.siblings[0]).toMatchObject({ time: { ms: NOW, logical: 0 }, expireAtMs: NOW + 500 });
    const newer = applied(applyWrite(object, put('new'), stamp(3, NOW + 10)));
    expect(present(merge(expiring, newer), NOW)).toMatchObject([{ expireAtMs: 0, time: { ms: NOW + 10 } }]);
    const concurrent = applied(applyWrite(emptyObject(), put('other'), stamp(4, NOW + 10)));
    expect(texts(merge(expiring, concurrent))).toEqual(['other']);
    const resolved = applied(applyWrite(expiring, put('resolved', { context: contextOf(object) }), stamp(2, NOW + 30)));
    expect(texts(resolved)).toEqual(['resolved']);
  });

  test('the later of two EXPIREs wins; a delete wins over both', () => {
    const object = applied(applyWrite(emptyObject(), put('a'), stamp(1, NOW)));
    const sooner = applied(applyWrite(object, expire(NOW + 900), stamp(2, NOW + 1)));
    const later = applied(applyWrite(object, expire(NOW + 300), stamp(3, NOW + 2)));
    expect(present(merge(sooner, later), NOW)[0]?.expireAtMs).toBe(NOW + 300);
    const deleted = applied(applyWrite(object, { kind: 'delete' }, stamp(4, NOW + 1)));
    expect(texts(merge(merge(sooner, deleted), later))).toEqual([]);
  });

  test('EXPIRE keeps every sibling; with a context it changes what the context saw', () => {
    const a = applied(applyWrite(emptyObject(), put('a', { context: noContext }), stamp(1, NOW)));
    const both = applied(applyWrite(a, put('b', { context: noContext }), stamp(1, NOW + 1)));
    expect(present(applied(applyWrite(both, expire(NOW + 50), stamp(1, NOW + 2))), NOW)).toMatchObject([
      { expireAtMs: NOW + 50 },
      { expireAtMs: NOW + 50 },
    ]);
    const one = applied(applyWrite(both, expire(NOW + 50, contextOf(a)), stamp(1, NOW + 2)));
    expect(present(one, NOW)).toMatchObject([{ expireAtMs: 0 }, { expireAtMs: NOW + 50 }]);
  });

  test('EXPIRE with a context does not replace what the context saw and this copy did not', () => {
    const here = applied(applyWrite(emptyObject(), put('here', { context: noContext }), stamp(1, NOW)));
    const there = applied(applyWrite(emptyObject(), put('there', { context: noContext }), stamp(2, NOW + 1)));
    const expiring = applied(applyWrite(here, expire(NOW + 50, contextOf(merge(here, there))), stamp(1, NOW + 2)));
    expect(texts(merge(expiring, there))).toEqual(['there', 'here']);
  });

  test('of an operation with two dots is the one set last, so that no twin outlives it', () => {
    const write = put('a', { context: noContext, operation: operation('1') });
    const one = applied(applyWrite(emptyObject(), write, stamp(1, NOW)));
    const two = applied(applyWrite(emptyObject(), write, stamp(2, NOW + 1)));
    const expiring = applied(applyWrite(one, expire(NOW + 50), stamp(1, NOW + 2)));
    expect(present(merge(expiring, two), NOW)).toMatchObject([{ expireAtMs: NOW + 50 }]);
    expect(present(merge(expiring, two), NOW + 50)).toEqual([]);
  });

  test('changes nothing where there is nothing to change, and refuses what is no time', () => {
    const object = applied(applyWrite(emptyObject(), put('a'), stamp(1, NOW)));
    expect(applyWrite(emptyObject(), expire(NOW + 50), stamp(1, NOW))).toMatchObject({ kind: 'unchanged', existed: false });
    expect(applyWrite(object, expire(0), stamp(1, NOW + 1))).toEqual({ kind: 'unchanged', object, existed: true });
    for (const at of [-1, 0.5, Number.NaN, 2 ** 48]) {
      expect(applyWrite(object, expire(at), stamp(1, NOW + 1))).toMatchObject({ kind: 'refused', code: 'EXPIRY_INVALID' });
      expect(applyWrite(object, put('x', { expireAtMs: at }), stamp(1, NOW + 1))).toMatchObject({
        kind: 'refused',
        code: 'EXPIRY_INVALID',
      });
    }
  });
});
