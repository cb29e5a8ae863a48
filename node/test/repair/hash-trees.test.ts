import { crc32 } from 'node:zlib';

import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';

import { bucketId, type PartitionId, storeId } from '../../src/base/ids.ts';
import { DAMAGED, differ, HashTrees, UNBUILT } from '../../src/cluster/repair/hash-trees.ts';
import { checkpointOf, decodeTrees, encodeTrees } from '../../src/cluster/repair/tree-codec.ts';
import { FANOUT, leafOfDiskKey, leafRange, LEAVES, leavesTouched } from '../../src/cluster/repair/tree-shape.ts';
import { partitionOfDiskKey, partitionRange, placeKey, tokenSpace } from '../../src/cluster/ring/token.ts';

const Q = 8;
const SPACE = tokenSpace('0123456789abcdef', Q);
const RING = { tokenSpace: SPACE };
const ALL = Array.from({ length: Q }, (_, partition) => partition as PartitionId);
const STORE = storeId('0f'.repeat(16));

function keyOf(name: string): string {
  return placeKey(RING, bucketId(0), name).diskKey;
}

/** What stands for an encoded object: only its digest is looked at. */
function objectOf(version: number): Uint8Array {
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setFloat64(8, version);
  return bytes;
}

/** Trees that know everything, of a store that holds `content`. */
function treesOf(content: ReadonlyMap<string, number>, partitions: readonly PartitionId[] = ALL): HashTrees {
  const trees = new HashTrees(SPACE, partitions);
  trees.adoptFlags(new Uint8Array(trees.flags.length));
  for (const [key, version] of content) trees.replace(key, undefined, objectOf(version));
  return trees;
}

const writes = fc.array(fc.tuple(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 0, max: 1000 })), { maxLength: 80 });

describe('a tree', () => {
  test('is the same whatever way its content came about', () => {
    fc.assert(
      fc.property(writes, (list) => {
        const content = new Map<string, number>();
        const kept = treesOf(content);
        for (const [name, version] of list) {
          const key = keyOf(`key-${String(name)}`);
          const before = content.get(key);
          // One in ten is collected.
          const after = version % 10 === 0 ? undefined : version;
          kept.replace(key, before === undefined ? undefined : objectOf(before), after === undefined ? undefined : objectOf(after));
          if (after === undefined) content.delete(key);
          else content.set(key, after);
        }
        expect(kept.words).toEqual(treesOf(content).words);
      }),
    );
  });

  test('tells a key apart at every level, and no other partition or node', () => {
    const content = new Map(Array.from({ length: 500 }, (_, i) => [keyOf(`key-${String(i)}`), i]));
    const mine = treesOf(content);
    const theirs = treesOf(content);
    const key = keyOf('key-7');
    theirs.replace(key, objectOf(7), objectOf(8));
    const partition = partitionOfDiskKey(RING, key);
    const leaf = leafOfDiskKey(SPACE, key);
    for (const each of ALL) expect([each, differ(mine.node(each, 0, 0), theirs.node(each, 0, 0))]).toEqual([each, each === partition]);
    for (let inner = 0; inner < FANOUT; inner += 1) {
      const differs = differ(mine.node(partition, 1, inner), theirs.node(partition, 1, inner));
      expect([inner, differs]).toEqual([inner, inner === Math.floor(leaf / FANOUT)]);
    }
    for (let each = 0; each < LEAVES; each += 1) {
      expect([each, differ(mine.node(partition, 2, each), theirs.node(partition, 2, each))]).toEqual([each, each === leaf]);
    }
  });

  test('never agrees, nor differs, where it is unknown', () => {
    const mine = treesOf(new Map());
    const theirs = treesOf(new Map([[keyOf('a'), 1]]));
    const partition = partitionOfDiskKey(RING, keyOf('a'));
    mine.forget(partition, 3, 3);
    expect([mine.node(partition, 0, 0).known, differ(mine.node(partition, 0, 0), theirs.node(partition, 0, 0))]).toEqual([false, false]);
    const [other = partition] = ALL.filter((each) => each !== partition);
    expect(mine.node(other, 0, 0).known).toBe(true);
    expect(new HashTrees(SPACE, [other]).node(partition, 0, 0).known).toBe(false);
  });
});

describe('a scan', () => {
  test('computes leaves exactly while they are written to', () => {
    fc.assert(
      fc.property(writes, writes, (first, meanwhile) => {
        const content = new Map(first.map(([name, version]) => [keyOf(`key-${String(name)}`), version]));
        const trees = treesOf(content);
        for (const partition of ALL) trees.forget(partition, 0, LEAVES - 1);
        // What was in the leaves is worth nothing.
        trees.words.fill(0xdead);
        const begun = ALL.map((partition) => trees.beginScan(partition));
        const seen = [...content];
        for (const [name, version] of meanwhile) {
          const key = keyOf(`key-${String(name)}`);
          const before = content.get(key);
          trees.replace(key, before === undefined ? undefined : objectOf(before), objectOf(version));
          content.set(key, version);
        }
        for (const [at, partition] of ALL.entries()) {
          const found = new Uint32Array(2 * LEAVES);
          for (const [key, version] of seen) if (partitionOfDiskKey(RING, key) === partition) trees.addTo(found, key, objectOf(version));
          trees.endScan(partition, begun[at]!, found, 0, LEAVES - 1);
        }
        expect(trees.unknown).toBe(0);
        expect(trees.words).toEqual(treesOf(content).words);
      }),
    );
  });

  test('says nothing of leaves that were flagged since it began', () => {
    const trees = treesOf(new Map());
    trees.forget(ALL[0]!, 0, LEAVES - 1);
    const begun = trees.beginScan(ALL[0]!);
    trees.forget(ALL[0]!, 9, 9);
    trees.endScan(ALL[0]!, begun, new Uint32Array(2 * LEAVES), 0, LEAVES - 1);
    expect(trees.node(ALL[0]!, 0, 0).known).toBe(false);
  });

  test('finds and mends a known leaf that is wrong', () => {
    const content = new Map([[keyOf('a'), 1]]);
    const trees = treesOf(content);
    const partition = partitionOfDiskKey(RING, keyOf('a'));
    trees.words[trees.placeOf(partition) * 2 * LEAVES + 5] = 77;
    const found = new Uint32Array(2 * LEAVES);
    trees.addTo(found, keyOf('a'), objectOf(1));
    expect(trees.endScan(partition, trees.beginScan(partition), found, 0, LEAVES - 1)).toBe(1);
    expect(trees.words).toEqual(treesOf(content).words);
  });
});

describe('damage', () => {
  test('makes leaves unknown, and what is mended is to be computed', () => {
    const trees = treesOf(new Map());
    const damaged = new Uint8Array(trees.flags.length);
    damaged[LEAVES + 4] = 1;
    trees.setDamaged(damaged);
    expect([trees.node(1, 0, 0).known, trees.node(0, 0, 0).known, trees.unknown]).toEqual([false, true, 1]);
    expect(trees.nextUnbuilt()).toBeUndefined();
    trees.setDamaged(new Uint8Array(trees.flags.length));
    expect(trees.nextUnbuilt()).toEqual({ partition: 1, first: 4, last: 4 });
  });

  test('met before a checkpoint was read outlives it, and is written down as a leaf to compute', () => {
    const trees = new HashTrees(SPACE, ALL);
    const damaged = new Uint8Array(trees.flags.length);
    damaged[7] = 1;
    trees.setDamaged(damaged);
    trees.adoptFlags(new Uint8Array(trees.flags.length));
    expect([trees.unknown, trees.flags[7]]).toEqual([1, DAMAGED]);
    expect(checkpointOf(trees, 1).flags[7]).toBe(UNBUILT);
  });
});

describe('a checkpoint', () => {
  const content = new Map(Array.from({ length: 300 }, (_, i) => [keyOf(`key-${String(i)}`), i]));

  test('comes back as it was', () => {
    const trees = treesOf(content, ALL.slice(2, 6));
    trees.forget(3, 10, 20);
    const bytes = encodeTrees(trees, checkpointOf(trees, 2 ** 40 + 7), STORE, crc32);
    const found = decodeTrees(bytes, new HashTrees(SPACE, ALL.slice(2, 6)), STORE, crc32);
    expect(found).toEqual(checkpointOf(trees, 2 ** 40 + 7));
  });

  test('leaves what it lacks to be computed, and passes over what is not asked for', () => {
    const bytes = encodeTrees(treesOf(content, ALL.slice(0, 3)), checkpointOf(treesOf(content, ALL.slice(0, 3)), 5), STORE, crc32);
    const trees = new HashTrees(SPACE, ALL.slice(2, 4));
    const found = decodeTrees(bytes, trees, STORE, crc32);
    trees.absorb(found!.words);
    trees.adoptFlags(found!.flags);
    expect(trees.nextUnbuilt()).toEqual({ partition: 3, first: 0, last: LEAVES - 1 });
    expect(trees.node(2, 0, 0)).toEqual(treesOf(content).node(2, 0, 0));
  });

  test('that is damaged, cut short, or of another store or ring is not used', () => {
    const trees = treesOf(content);
    const bytes = encodeTrees(trees, checkpointOf(trees, 5), STORE, crc32);
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const broken = bytes.slice();
        broken[at] = (broken[at] ?? 0) ^ change;
        expect(decodeTrees(broken, trees, STORE, crc32)).toBeUndefined();
        expect(decodeTrees(bytes.subarray(0, at), trees, STORE, crc32)).toBeUndefined();
      }),
    );
    expect(decodeTrees(bytes, trees, storeId('aa'.repeat(16)), crc32)).toBeUndefined();
    expect(decodeTrees(bytes, new HashTrees(tokenSpace('0123456789abcdef', 16), ALL), STORE, crc32)).toBeUndefined();
  });
});

describe('the ranges of leaves', () => {
  test('divide their partition, in order and without gaps', () => {
    for (const partition of ALL) {
      const whole = partitionRange(RING, partition);
      expect(leafRange(SPACE, partition, 0, LEAVES - 1)).toEqual(whole);
      for (let leaf = 0; leaf + 1 < LEAVES; leaf += 1) {
        expect(leafRange(SPACE, partition, leaf).to).toBe(leafRange(SPACE, partition, leaf + 1).from);
      }
    }
  });

  test('hold their keys, and a range of keys touches the leaves that it should', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), (name) => {
        const key = keyOf(encodeURIComponent(name) + 'x');
        const partition = partitionOfDiskKey(RING, key);
        const leaf = leafOfDiskKey(SPACE, key);
        const { from, to } = leafRange(SPACE, partition, leaf);
        expect(key >= from && (to === undefined || key < to)).toBe(true);
        const number = partition * LEAVES + leaf;
        expect(leavesTouched(SPACE, key, `${key}\0`)).toEqual({ first: number, last: number });
        expect(leavesTouched(SPACE, from, to)).toEqual({ first: number, last: number });
      }),
    );
    expect(leavesTouched(SPACE, '', undefined)).toEqual({ first: 0, last: Q * LEAVES - 1 });
  });
});
