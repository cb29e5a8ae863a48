import { describe, expect, it } from '@jest/globals';
import { SeededRandom } from '../../sim/disk/seeded-random.ts';
import { flushJob } from '../../src/storage/compaction/flush-job.ts';
import { Memtable } from '../../src/storage/memtable/memtable.ts';
import type { Lookup } from '../../src/storage/memtable/memtable.ts';
import { SlabPool, SLAB_BYTES } from '../../src/storage/memtable/slab.ts';
import { lowerBound, SortedKeys } from '../../src/storage/memtable/sorted-keys.ts';
import { readFrame } from '../../src/storage/wal/frame.ts';
import { hashKey } from '../../src/storage/sstable/bloom.ts';
import { WriteBatch } from '../../src/storage/write-batch.ts';

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const textOf = (found: Lookup): string | undefined => (typeof found === 'object' ? Buffer.from(found.value).toString('latin1') : found);

describe('a memtable', () => {
  it('answers each sequence what was there then', () => {
    const table = new Memtable(new SlabPool(2), 100);
    table.append(
      new WriteBatch()
        .put('a', bytes('1'))
        .put('b', bytes('1'))
        .put('a', bytes('2'), { tombstone: true, expireAtMs: 5, gcTag: 2 ** 50 }),
      101,
      0,
    );
    table.append(new WriteBatch().delete('a'), 102, 0);
    table.append(new WriteBatch().put('a', bytes('4')), 103, 0);
    expect([100, 101, 102, 103].map((sequence) => textOf(table.get('a', sequence)))).toEqual([undefined, '2', 'removed', '4']);
    expect(table.get('a', 101)).toEqual({ kind: 'tombstone', expireAtMs: 5, gcTag: 2 ** 50, value: bytes('2') });
    expect(textOf(table.get('b', 103))).toBe('1');
    expect(table.get('c', 103)).toBeUndefined();
  });

  it('tells most keys that it does not have by their hash, and none that it has, or dropped', () => {
    const table = new Memtable(new SlabPool(2), 0);
    const hash = { h1: 0, h2: 0 };
    const mayHave = (key: string): boolean => table.mayHave(hashKey(key, hash));
    const batch = new WriteBatch();
    for (let i = 0; i < 1000; i += 1) batch.put(`key ${String(i)}`, bytes('1'));
    table.append(batch, 1, 0);
    table.put('single', hashKey('single', hash), bytes('1'), 0, 0, 0, 2, 0);
    table.append(new WriteBatch().delete('removed'), 3, 0);
    expect([...batch.keys, 'single', 'removed'].every(mayHave)).toBe(true);
    const others = Array.from({ length: 1000 }, (_, i) => `other ${String(i)}`);
    expect(others.filter(mayHave).length).toBeLessThan(20);
    table.drop({ from: 'other', to: 'p' }, 4, 0);
    expect(others.every(mayHave)).toBe(true);
  });

  it('hides what a dropped range took, below and above it', () => {
    const table = new Memtable(new SlabPool(2), 0);
    table.append(new WriteBatch().put('b', bytes('1')).put('z', bytes('1')), 1, 0);
    table.drop({ from: 'a', to: 'c' }, 2, 0);
    table.append(new WriteBatch().put('bb', bytes('3')), 3, 0);
    expect(textOf(table.get('b', 1))).toBe('1');
    expect(table.get('b', 3)).toBe('removed');
    expect(table.get('never written', 3)).toBeUndefined();
    expect(table.get('az', 3)).toBe('removed');
    expect(table.get('az', 1)).toBeUndefined();
    expect(textOf(table.get('bb', 3))).toBe('3');
    expect(textOf(table.get('z', 3))).toBe('1');
    expect(table.get('c', 3)).toBeUndefined();
  });

  it('keeps batches of every size, in whole frames', () => {
    const pool = new SlabPool(2);
    const table = new Memtable(pool, 0);
    const random = new SeededRandom(4);
    const wanted = new Map<string, Uint8Array>();
    for (let sequence = 1; sequence <= 60; sequence += 1) {
      const batch = new WriteBatch();
      for (let left = 1 + random.below(5); left > 0; left -= 1) {
        const key = `key ${String(random.below(100))}`;
        const value = random.bytes(random.oneIn(15) ? random.below(3 * SLAB_BYTES) : random.below(60_000));
        batch.put(key, value);
        wanted.set(key, value);
      }
      table.append(batch, sequence, 7);
    }
    for (const [key, value] of wanted) {
      const found = table.get(key, 60);
      expect(typeof found === 'object' && Buffer.compare(found.value, value) === 0).toBe(true);
    }
    let frames = 0;
    for (const slab of table.slabs) {
      for (let at = 0; at < slab.used; frames += 1) {
        const frame = readFrame(slab.bytes, at);
        expect(frame?.synced).toBe(7);
        at += frame?.length ?? Number.POSITIVE_INFINITY;
      }
    }
    expect(frames).toBe(60);
    expect(table.bytes).toBeLessThanOrEqual(pool.lentBytes + table.indexBytes);
    table.release();
    expect(pool.lentBytes).toBe(0);
    expect(pool.idleBytes).toBe(2 * SLAB_BYTES);
  });

  it('keeps its memory while anyone leases it', () => {
    const pool = new SlabPool(1);
    const table = new Memtable(pool, 0);
    table.append(new WriteBatch().put('a', bytes('1')), 1, 0);
    table.lease();
    table.release();
    expect(textOf(table.get('a', 1))).toBe('1');
    expect(pool.lentBytes).toBe(SLAB_BYTES);
    table.release();
    expect(pool.lentBytes).toBe(0);
  });
});

describe('sorted keys', () => {
  it('come in order, also those added between steps', () => {
    const random = new SeededRandom(9);
    const keys: string[] = [];
    const known = new Set<string>();
    const sorted = new SortedKeys(keys);
    for (let round = 0; round < 12; round += 1) {
      for (let left = random.below(6000); left > 0; left -= 1) {
        const key = Buffer.from(random.bytes(4)).toString('latin1');
        if (!known.has(key)) keys.push(key);
        known.add(key);
      }
      const steps = random.below(3);
      for (let step = 0; step < steps; step += 1) sorted.step();
    }
    while (!sorted.step());
    expect(sorted.runs.flat().length).toBe(keys.length);
    for (const run of sorted.runs) expect([...run].sort((a, b) => (a < b ? -1 : 1))).toEqual(run);
    expect([...new Set(sorted.runs.flat())].length).toBe(keys.length);
    expect(sorted.runs.length).toBeLessThan(12);
    expect(lowerBound(['b', 'd'], 'a')).toBe(0);
    expect(lowerBound(['b', 'd'], 'c')).toBe(1);
    expect(lowerBound(['b', 'd'], 'e')).toBe(2);
  });
});

describe('jobs', () => {
  it('are found in their module by their name', () => {
    expect(flushJob.name).toBe('flushJob');
    expect(flushJob.module).toMatch(/compaction\/flush-job\.ts$/);
  });
});
