/** The cache of single entries: its budget, what it keeps, and that it never answers what is no longer so. */

import { afterEach, describe, expect, it } from '@jest/globals';
import { SeededRandom } from '../../sim/disk/seeded-random.ts';
import { newVolume, openEngine, TINY } from '../../sim/storage/engine-process.ts';
import type { EngineProcess } from '../../sim/storage/engine-process.ts';
import { NodeClock } from '../../src/env-node/clock.ts';
import { EntryCache } from '../../src/storage/cache/entry-cache.ts';
import { renewEntries } from '../../src/storage/cache/entry-renewal.ts';
import type { CollectionPolicy } from '../../src/storage/engine.ts';
import type { Entry } from '../../src/storage/entry.ts';
import { Memtable } from '../../src/storage/memtable/memtable.ts';
import { SlabPool } from '../../src/storage/memtable/slab.ts';
import { hashKey, type KeyHash } from '../../src/storage/sstable/bloom.ts';
import { WriteBatch } from '../../src/storage/write-batch.ts';

const entryOf = (text: string, length = 100): Entry => ({
  kind: 'value',
  expireAtMs: 0,
  gcTag: 0,
  value: Buffer.from(text.padEnd(length, '.')),
});
const hashOf = (key: string): KeyHash => hashKey(key, { h1: 0, h2: 0 });
const got = (cache: EntryCache, key: string): Entry | undefined => cache.get(key, hashOf(key));
const textOf = (entry: Entry | undefined): string | undefined =>
  entry === undefined ? undefined : Buffer.from(entry.value).toString().replaceAll('.', '');

describe('the cache of entries', () => {
  it('keeps its budget, and what is hit longest', () => {
    const budget = 300_000;
    const cache = new EntryCache(budget, true);
    let wrong = 0;
    let most = 0;
    for (let i = 0; i < 20_000; i += 1) {
      cache.put(`key ${String(i)}`, entryOf(String(i)));
      const hot = i % 10;
      if (textOf(got(cache, `key ${String(hot)}`)) !== String(hot)) wrong += 1;
      cache.trim(budget);
      most = Math.max(most, cache.bytes);
    }
    expect(wrong).toBe(0);
    expect(most).toBeLessThanOrEqual(budget);
    expect(cache.size).toBeGreaterThan(500);
    expect(textOf(got(cache, 'key 19999'))).toBe('19999');
    expect(got(cache, 'key 15000')).toBeUndefined();
  });

  it('copies a bounded number of segments in one trim, however much was hit', () => {
    const cache = new EntryCache(2_000_000, true);
    for (let i = 0; i < 3000; i += 1) {
      cache.put(`key ${String(i)}`, entryOf(String(i)));
      got(cache, `key ${String(i)}`);
    }
    const { size } = cache;
    cache.trim(cache.bytes / 2);
    expect(cache.size).toBeLessThan(size);
    cache.trim(0);
    expect([cache.size, cache.bytes]).toEqual([0, 0]);
  });

  it('forgets, and answers the newest of a key', () => {
    const cache = new EntryCache(100_000, true);
    cache.put('a', entryOf('old'));
    cache.put('a', entryOf('new'));
    cache.put('b', entryOf('b'));
    cache.forget('b', hashOf('b'));
    expect([textOf(got(cache, 'a')), got(cache, 'b')]).toEqual(['new', undefined]);
    cache.clear();
    expect([got(cache, 'a'), cache.size, cache.bytes]).toEqual([undefined, 0, 0]);
  });

  it('writes over what nobody reads, and never over what was found in this turn', () => {
    const cache = new EntryCache(100_000, true);
    cache.put('a', entryOf('1'));
    const { bytes } = cache;
    const before = got(cache, 'a');
    cache.renew('a', hashOf('a'), entryOf('2'));
    expect([textOf(before), textOf(got(cache, 'a'))]).toEqual(['1', '2']);
    expect(cache.bytes).toBeGreaterThan(bytes);
    const had = cache.bytes;
    cache.turnBegins();
    cache.renew('a', hashOf('a'), { ...entryOf('3', 50), kind: 'tombstone', expireAtMs: 9, gcTag: 2 });
    expect(got(cache, 'a')).toMatchObject({ kind: 'tombstone', expireAtMs: 9, gcTag: 2, value: Buffer.from('3'.padEnd(50, '.')) });
    expect(cache.bytes).toBe(had);
    // What is longer than before, or than any entry may be, does not fit there.
    cache.turnBegins();
    cache.renew('a', hashOf('a'), entryOf('4', 51));
    expect(textOf(got(cache, 'a'))).toBe('4');
    cache.renew('a', hashOf('a'), entryOf('5', 50_000));
    expect(got(cache, 'a')).toBeUndefined();
    cache.renew('a', hashOf('a'), entryOf('6'));
    expect([got(cache, 'a'), cache.size]).toEqual([undefined, 0]);
  });

  it('keeps what is written as if it were hit', () => {
    const cache = new EntryCache(2_000_000, true);
    cache.put('hot', entryOf('0'));
    for (let i = 1; i < 30_000; i += 1) {
      cache.put(`key ${String(i)}`, entryOf(String(i)));
      if (i % 100 === 0) cache.renew('hot', hashOf('hot'), entryOf(String(i)));
      cache.turnBegins();
      cache.trim(500_000);
    }
    expect(textOf(got(cache, 'hot'))).toBe('29900');
    expect(cache.bytes).toBeLessThanOrEqual(500_000);
  });

  it('takes over the newest that a memtable has of the keys that it holds, some of them in each turn', async () => {
    const cache = new EntryCache(2_000_000, true);
    const memtable = new Memtable(new SlabPool(0), 0);
    const keys = Array.from({ length: 3000 }, (_, i) => `key ${String(i)}`);
    const [first, second] = [new WriteBatch(), new WriteBatch()];
    for (const [i, key] of keys.entries()) {
      if (i % 3 > 0) cache.put(key, entryOf('old'));
      first.put(key, Buffer.from('between'));
      if (i % 10 === 0) second.delete(key);
      else second.put(key, Buffer.from('new'));
    }
    cache.put('other', entryOf('other'));
    memtable.append(first, 1, 0);
    memtable.append(second, 2, 0);
    let turns = 0;
    const clock = new NodeClock();
    clock.soon = (fn): void => {
      turns += 1;
      queueMicrotask(fn);
    };
    await renewEntries(cache, memtable, clock);
    const expected = keys.map((_, i) => (i % 3 > 0 && i % 10 > 0 ? 'new' : undefined));
    expect(keys.map((key) => textOf(got(cache, key)))).toEqual(expected);
    expect(textOf(got(cache, 'other'))).toBe('other');
    expect(turns).toBe(2);
  });

  it('finds every key it holds, however many share a place', () => {
    const cache = new EntryCache(60_000, true);
    const keys = Array.from({ length: 4000 }, (_, i) => `key ${String(i)}`);
    for (let round = 0; round < 3; round += 1) {
      for (const key of keys) cache.put(key, entryOf(key, 0));
      expect(keys.every((key) => got(cache, key) !== undefined)).toBe(true);
      for (const key of keys) cache.forget(key, hashOf(key));
      expect(keys.some((key) => got(cache, key) !== undefined)).toBe(false);
    }
  });

  it('keeps no value that its block keeps as well, and nothing without a budget', () => {
    const cache = new EntryCache(100_000, true);
    cache.put('large', entryOf('large', 50_000));
    const none = new EntryCache(0, true);
    none.put('a', entryOf('', 0));
    expect([cache.size, none.size, none.bytes]).toEqual([0, 0, 0]);
  });
});

describe('an engine that has an entry in memory', () => {
  let opened: EngineProcess | undefined;

  afterEach(async () => {
    await opened?.timeline.run(opened.engine.close());
  });

  async function put(batch: WriteBatch): Promise<void> {
    await opened?.timeline.run(
      new Promise<void>((resolve) => {
        opened?.engine.write(batch, () => {
          resolve();
        });
      }),
    );
  }

  async function read(key: string): Promise<string | undefined> {
    return textOf(await opened?.timeline.run(opened.engine.get(key)));
  }

  /** An engine with `a` in a table and, read before, in memory. */
  async function started(): Promise<EngineProcess> {
    const random = new SeededRandom(3);
    opened = await openEngine(newVolume(random), random, { ...TINY, cacheBytes: 100_000, poison: true });
    await put(new WriteBatch().put('a', Buffer.from('old'), { expireAtMs: 50, gcTag: 1 }).put('b', Buffer.from('b')));
    await opened.timeline.run(opened.engine.flush());
    const hits = (): number => opened?.engine.stats().counters['entryHits'] ?? 0;
    expect(await read('a')).toBe('old');
    expect(hits()).toBe(0);
    expect(await read('a')).toBe('old');
    expect(hits()).toBe(1);
    return opened;
  }

  it('answers what was written since, from memory and from the table', async () => {
    const { engine, timeline } = await started();
    await put(new WriteBatch().put('a', Buffer.from('new')));
    expect(await read('a')).toBe('new');
    await timeline.run(engine.flush());
    expect(await read('a')).toBe('new');
    await put(new WriteBatch().delete('a'));
    await timeline.run(engine.compact());
    expect(await read('a')).toBeUndefined();
  });

  it('keeps what is written to a key that it has, for when the memtable has gone to a table', async () => {
    const { engine, timeline } = await started();
    const value = Buffer.from('new');
    await timeline.run(
      new Promise<void>((resolve) => {
        engine.put('a', value, { expireAtMs: 7 }, () => {
          resolve();
        });
      }),
    );
    value.fill(0);
    await timeline.run(engine.flush());
    const { syncReads, asyncReads, entryHits = 0 } = engine.stats().counters;
    const entry = engine.tryGet('a');
    expect(entry).toMatchObject({ kind: 'value', expireAtMs: 7, value: Buffer.from('new') });
    expect(engine.stats().counters).toMatchObject({ syncReads, asyncReads, entryHits: entryHits + 1 });
  });

  it('answers snapshots as of their time', async () => {
    const { engine, timeline } = await started();
    const snapshot = engine.snapshot();
    await put(new WriteBatch().put('a', Buffer.from('new')));
    await timeline.run(engine.flush());
    expect(await read('a')).toBe('new');
    expect(textOf(await timeline.run(engine.get('a', snapshot)))).toBe('old');
    expect(await read('a')).toBe('new');
    snapshot.close();
  });

  it('answers nothing of a range that was dropped', async () => {
    const { engine, timeline } = await started();
    await timeline.run(engine.dropRange('a', 'b'));
    expect(await read('a')).toBeUndefined();
    expect(await read('b')).toBe('b');
  });

  it('answers nothing of what only a compaction found lost', async () => {
    const { engine, timeline, mount } = await started();
    const { volume } = mount;
    for (const { path } of volume.files().filter((file) => file.path.endsWith('.sst'))) {
      const node = volume.medium.file(volume.medium.find(path) ?? -1);
      volume.flip(path, Buffer.from(node.bytes.subarray(0, node.size)).indexOf('old'), 1);
    }
    await put(new WriteBatch().put('ab', Buffer.from('ab')));
    await timeline.run(engine.compact());
    await expect(read('a')).rejects.toMatchObject({ code: 'DATA_DAMAGED' });
    expect(await read('ab')).toBe('ab');
  });

  it('answers nothing that a compaction collected', async () => {
    const { engine, timeline } = await started();
    const policy: CollectionPolicy = { collectable: [{ from: '', gcTag: 1, expiredByMs: 100 }] };
    await timeline.run(engine.compact(policy));
    expect(await read('a')).toBeUndefined();
    expect(await read('b')).toBe('b');
  });
});
