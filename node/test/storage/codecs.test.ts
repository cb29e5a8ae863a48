/** The codecs of every file: what they write they read, their bytes do not change, and what no encoder wrote is refused. */

import { describe, expect, it } from '@jest/globals';
import lz4 from 'lz4-napi';
import { crc32 } from 'node:zlib';
import { SeededRandom } from '../../sim/disk/seeded-random.ts';
import { compareKey, MalformedError, Reader, varintLength, Writer } from '../../src/storage/binary.ts';
import { normalise, subtract } from '../../src/storage/key-range.ts';
import { decodeManifest, encodeManifest } from '../../src/storage/manifest/codec.ts';
import type { ManifestState } from '../../src/storage/manifest/codec.ts';
import { BlockBuilder, BlockCursor } from '../../src/storage/sstable/block.ts';
import { FilterBuilder, hashKey, mayContain } from '../../src/storage/sstable/bloom.ts';
import { openBlock, sealBlock, TRAILER_BYTES } from '../../src/storage/sstable/codec.ts';
import { decodeFooter, encodeFooter } from '../../src/storage/sstable/footer.ts';
import { IndexBuilder, separatorOf, TableIndex } from '../../src/storage/sstable/index-block.ts';
import { decodeLz4 } from '../../src/storage/sstable/lz4.ts';
import type { TableMeta } from '../../src/storage/sstable/table-meta.ts';
import { decodeSegmentHeader, encodeSegmentHeader } from '../../src/storage/wal/segment-header.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

function codeOf(run: () => unknown): string {
  try {
    run();
    return 'none';
  } catch (error) {
    return error instanceof MalformedError ? 'malformed' : String((error as { code?: unknown }).code);
  }
}

function keysFrom(random: SeededRandom, count: number): string[] {
  const keys = new Set<string>();
  while (keys.size < count) {
    const prefix = random.pick(['', 'a', 'user:', 'user:1', '\xff\xff', 'p'.repeat(random.below(200))]);
    keys.add(prefix + Buffer.from(random.bytes(1 + random.below(6))).toString('latin1'));
  }
  return [...keys].sort((a, b) => (a < b ? -1 : 1));
}

describe('varints', () => {
  it.each([
    [0, '00'],
    [127, '7f'],
    [128, '8001'],
    [2 ** 28, '8080808001'],
    [Number.MAX_SAFE_INTEGER, 'ffffffffffffff0f'],
  ])('%d is %s', (value, bytes) => {
    const writer = new Writer().varint(value);
    expect(hex(writer.written())).toBe(bytes);
    expect(new Reader(writer.written()).varint()).toBe(value);
    expect(varintLength(value)).toBe(bytes.length / 2);
  });

  it.each(['', '80', 'ffffffffffffffff7f', 'ffffffffffffff1f'])('refuses %s', (bytes) => {
    expect(codeOf(() => new Reader(Buffer.from(bytes, 'hex')).varint())).toBe('malformed');
  });

  it('refuses a text longer than what is there', () => {
    expect(codeOf(() => new Reader(Buffer.from('0561', 'hex')).text())).toBe('malformed');
  });
});

describe('compareKey', () => {
  it('agrees with the order of strings', () => {
    const random = new SeededRandom(7);
    const keys = keysFrom(random, 60);
    const wrong = keys.flatMap((a) =>
      keys.filter((b) => Math.sign(compareKey(a, Buffer.from(`xx${b}yy`, 'latin1'), 2, 2 + b.length)) !== (a < b ? -1 : a > b ? 1 : 0)),
    );
    expect(wrong).toEqual([]);
  });
});

describe('data blocks', () => {
  it('have these bytes', () => {
    const block = new BlockBuilder(2, 64);
    block.add('aa', 0, 0, 0, Buffer.from('v1'), 0, 2);
    block.add('aab', 1, 300, 5, Buffer.from('-v2-'), 1, 3);
    block.add('ab', 2, 0, 0, Buffer.alloc(0), 0, 0);
    expect(hex(block.finish())).toBe('0002020061617631' + '0201020dac0205627632' + '000200026162' + '0000000012000000' + '02000000');
  });

  it.each([1, 2, 16])('find, seek and walk what was added, restart interval %d', (interval) => {
    const random = new SeededRandom(interval);
    const keys = keysFrom(random, 300);
    const present = keys.filter((_, i) => i % 2 === 0);
    const block = new BlockBuilder(interval, 64);
    const metaOf = (key: string): [number, number, number, string] => {
      const { length } = key;
      return [length % 3, length % 4 === 0 ? length * 1e9 : 0, length % 5 === 0 ? 2 ** 40 + length : 0, 'v'.repeat(length % 150)];
    };
    for (const key of present) {
      const [kind, expireAtMs, tag, value] = metaOf(key);
      block.add(key, kind, expireAtMs, tag, Buffer.from(`<${value}>`), 1, 1 + value.length);
    }
    const cursor = new BlockCursor();
    cursor.open(Buffer.from(block.finish()));
    const state = (): unknown => [cursor.kind, cursor.expireAtMs, cursor.gcTag, cursor.value().toString()];
    for (const key of present) {
      expect(cursor.next()).toBe(true);
      expect(cursor.key()).toBe(key);
      expect(state()).toEqual(metaOf(key));
    }
    expect(cursor.next()).toBe(false);
    for (const [i, key] of keys.entries()) {
      expect(cursor.find(key)).toBe(i % 2 === 0);
      if (i % 2 === 0) expect(state()).toEqual(metaOf(key));
      const next = i % 2 === 0 ? key : keys[i + 1];
      expect(cursor.seek(key)).toBe(next !== undefined);
      if (next !== undefined) expect(cursor.key()).toBe(next);
    }
  });

  it('do not take a key for another that only shares a prefix with its predecessor', () => {
    const block = new BlockBuilder(16, 64);
    for (const key of ['abcW', 'bbbA', 'bbbX', 'bbbXY'].sort()) block.add(key, 0, 0, 0, Buffer.alloc(1), 0, 1);
    const cursor = new BlockCursor();
    cursor.open(Buffer.from(block.finish()));
    expect(['abcX', 'abc', 'abcWa', 'bbb', 'bbba', 'b', ''].filter((key) => cursor.find(key))).toEqual([]);
    expect(cursor.find('bbbX')).toBe(true);
  });

  it('refuse bytes that are none', () => {
    const random = new SeededRandom(3);
    const builder = new BlockBuilder(4, 64);
    for (const key of keysFrom(random, 40)) builder.add(key, 0, 0, 0, Buffer.from(key, 'latin1'), 0, key.length);
    const whole = Buffer.from(builder.finish());
    const cursor = new BlockCursor();
    for (let turn = 0; turn < 2000; turn += 1) {
      const bytes = Buffer.from(whole.subarray(0, random.oneIn(3) ? random.below(whole.length) : whole.length));
      for (let flips = 1 + random.below(3); flips > 0 && bytes.length > 0; flips -= 1) {
        bytes[random.below(bytes.length)] = random.below(256);
      }
      try {
        cursor.open(bytes);
        let count = 0;
        while (cursor.next()) count += 1;
        expect(count).toBeLessThan(whole.length);
        cursor.find('user:1');
      } catch (error) {
        // A restart may point anywhere: reading a number beyond the block is refused by the buffer itself.
        expect(error instanceof MalformedError || error instanceof RangeError).toBe(true);
      }
    }
  });
});

describe('stored blocks', () => {
  const raw = Buffer.from('abcdefgh'.repeat(200));

  it.each(['none', 'snappy', 'lz4', 'zstd'] as const)('%s: round trip, and any change is noticed', (compression) => {
    const target = Buffer.alloc(raw.length + TRAILER_BYTES);
    const length = sealBlock(raw, compression, 7, 4096, target, 0);
    const stored = target.subarray(0, length + TRAILER_BYTES);
    expect(openBlock(stored, 7, 4096).equals(raw)).toBe(true);
    if (compression !== 'none') expect(length).toBeLessThan(raw.length / 4);
    expect(codeOf(() => openBlock(stored, 8, 4096))).toBe('malformed');
    expect(codeOf(() => openBlock(stored, 7, 8192))).toBe('malformed');
    for (let at = 0; at < stored.length; at += 1) {
      const changed = Buffer.from(stored);
      changed[at] = (changed[at] ?? 0) ^ 16;
      expect(codeOf(() => openBlock(changed, 7, 4096))).toBe('malformed');
    }
    expect(codeOf(() => openBlock(stored.subarray(0, 3), 7, 4096))).toBe('malformed');
  });

  it('are stored as they are where compression saves less than an eighth', () => {
    const noise = Buffer.from(new SeededRandom(1).bytes(1000));
    const target = Buffer.alloc(noise.length + TRAILER_BYTES);
    expect(sealBlock(noise, 'zstd', 1, 0, target, 0)).toBe(1000);
    expect(target[1000]).toBe(0);
  });

  it('have these bytes', () => {
    const target = Buffer.alloc(16);
    sealBlock(Buffer.from('hello'), 'none', 3, 100, target, 0);
    expect(hex(target.subarray(0, 10))).toBe('68656c6c6f00' + '84a17449');
  });
});

describe('LZ4', () => {
  it('decodes what lz4-napi writes', () => {
    const random = new SeededRandom(11);
    for (let turn = 0; turn < 300; turn += 1) {
      let text = '';
      while (text.length < random.below(9000)) {
        const piece = Buffer.from(random.bytes(1 + random.below(80))).toString('latin1');
        text += piece.repeat(1 + random.below(random.oneIn(4) ? 60 : 3));
      }
      const raw = Buffer.from(text, 'latin1');
      const encoded = lz4.compressSync(raw);
      const target = Buffer.alloc(raw.length, 1);
      decodeLz4(encoded, 4, encoded.length, target, raw.length);
      expect(target.equals(raw)).toBe(true);
    }
  });

  it('refuses what does not fit', () => {
    const raw = Buffer.from('0123456789'.repeat(30));
    const encoded = lz4.compressSync(raw);
    const random = new SeededRandom(5);
    expect(
      codeOf(() => {
        decodeLz4(encoded, 4, encoded.length, Buffer.alloc(400), 299);
      }),
    ).toBe('malformed');
    for (let turn = 0; turn < 2000; turn += 1) {
      const bytes = Buffer.from(encoded.subarray(0, 4 + random.below(encoded.length - 3)));
      if (bytes.length > 4) bytes[4 + random.below(bytes.length - 4)] = random.below(256);
      const guarded = Buffer.alloc(320, 0x77);
      codeOf(() => {
        decodeLz4(bytes, 4, bytes.length, guarded, 300);
      });
      expect(guarded.subarray(300).every((byte) => byte === 0x77)).toBe(true);
    }
  });
});

describe('the filter', () => {
  it('lets every key pass, and about one in a hundred of others at 10 bits a key', () => {
    const filter = new FilterBuilder(10);
    for (let i = 0; i < 5000; i += 1) filter.add(`key-${String(i)}`);
    const bytes = filter.finish() ?? Buffer.alloc(0);
    const hash = { h1: 0, h2: 0 };
    let passed = 0;
    let missed = 0;
    for (let i = 0; i < 5000; i += 1) {
      if (!mayContain(bytes, hashKey(`key-${String(i)}`, hash))) missed += 1;
      if (mayContain(bytes, hashKey(`other-${String(i)}`, hash))) passed += 1;
    }
    expect(missed).toBe(0);
    expect(passed).toBeLessThan(100);
  });

  it('has these bytes', () => {
    const filter = new FilterBuilder(10);
    for (const key of ['a', 'abcd', 'abcde\xff']) filter.add(key);
    expect(hex(filter.finish() ?? Buffer.alloc(0))).toBe('314084951042082107');
  });

  it('is none at 0 bits', () => {
    const filter = new FilterBuilder(0);
    filter.add('a');
    expect(filter.finish()).toBeUndefined();
  });
});

describe('the index', () => {
  it('finds the block that may hold a key', () => {
    const random = new SeededRandom(2);
    const keys = keysFrom(random, 200);
    const index = new IndexBuilder();
    const separators: string[] = [];
    for (let i = 0; i + 1 < keys.length; i += 2) {
      const separator = i + 2 < keys.length ? separatorOf(keys[i + 1] ?? '', keys[i + 2] ?? '') : (keys[i + 1] ?? '');
      separators.push(separator);
      index.add(separator, i * 1000, 500 + i);
    }
    const table = new TableIndex(Buffer.from(index.finish()));
    expect(table.count).toBe(separators.length);
    for (const [i, key] of keys.entries()) {
      const block = table.find(key);
      expect(block).toBe(i >> 1);
      expect(table.place(block)).toEqual({ offset: (i >> 1) * 2000, length: 500 + (i >> 1) * 2 });
      expect(table.separator(block)).toBe(separators[block]);
    }
    expect(table.find('\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff')).toBe(table.count);
  });

  it.each([
    ['abc', 'abe', 'abd'],
    ['abc', 'abd', 'abc'],
    ['abc', 'abcd', 'abc'],
    ['a\xff', 'b', 'a\xff'],
    ['apple', 'pear', 'b'],
  ])('separates %j from %j by %j', (last, next, separator) => {
    expect(separatorOf(last, next)).toBe(separator);
  });

  it('refuses bytes that are none', () => {
    expect(codeOf(() => new TableIndex(Buffer.alloc(3)))).toBe('malformed');
    expect(codeOf(() => new TableIndex(Buffer.from('ffffffff', 'hex')))).toBe('malformed');
  });
});

describe('the footer', () => {
  const footer = {
    number: 42,
    filter: { offset: 100, length: 7 },
    index: { offset: 2 ** 40, length: 8 },
    properties: { offset: 300, length: 9 },
  };

  it('round trip, golden bytes, and any change is noticed', () => {
    const bytes = encodeFooter(footer);
    expect(decodeFooter(bytes)).toEqual(footer);
    expect(hex(bytes)).toBe(
      '640000000000000007000000' +
        '000000000001000008000000' +
        '2c0100000000000009000000' +
        '2a00000000000000' +
        '00000000' +
        '01000000' +
        'b45de247' +
        '434f544552535354',
    );
    for (let at = 0; at < bytes.length; at += 1) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(codeOf(() => decodeFooter(changed))).toBe('malformed');
    }
  });
});

const TABLE: TableMeta = {
  number: 9,
  bytes: 1234,
  min: 'a',
  max: 'z\xff',
  entries: 5,
  tombstones: 1,
  removals: 2,
  expiring: 1,
  rawBytes: 999,
  minExpireAtMs: 1_700_000_000_000,
  maxExpireAtMs: 1_700_000_000_001,
  minTombstoneTag: 3,
  maxTag: 2 ** 50,
  masks: [
    { from: 'b', to: 'c' },
    { from: 'x', to: undefined },
  ],
  holes: [{ file: '000003.sst', offset: 77, from: 'd', to: 'e' }],
};
const STATE: ManifestState = {
  nextNumber: 10,
  flushedSequence: 2 ** 45,
  logFloor: 8,
  levels: [[TABLE], [], [{ ...TABLE, masks: [], holes: [] }]],
};

describe('the manifest', () => {
  it('round trip, golden bytes, and any change or cut is noticed', () => {
    const bytes = encodeManifest(STATE);
    expect(decodeManifest(bytes)).toEqual(STATE);
    expect(hex(bytes)).toBe(
      '434f5445524d414e' +
        '01000000' +
        '3d2e5917' +
        '70000000' + // magic, version, crc, length
        '0a' +
        '80808080808008' +
        '08' +
        '03' + // next number, flushed sequence, log floor, levels
        ('01' + '09' + 'd209' + '0161' + '027aff' + '05010201' + 'e707') + // level 0: one table
        ('80d095ffbc31' + '81d095ffbc31' + '03' + '8080808080808002') +
        ('02' + '01620' + '10163' + '0178' + '00') + // masks
        ('01' + '0a3030303030332e737374' + '4d' + '0164' + '01' + '0165') + // hole
        '00' + // level 1
        ('01' +
          '09' +
          'd209' +
          '0161' +
          '027aff' +
          '05010201' +
          'e707' +
          '80d095ffbc31' +
          '81d095ffbc31' +
          '03' +
          '8080808080808002' +
          '00' +
          '00'),
    );
    for (let at = 0; at < bytes.length; at += 1) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ 4;
      expect(codeOf(() => decodeManifest(changed))).toBe('malformed');
      expect(codeOf(() => decodeManifest(bytes.subarray(0, at)))).toBe('malformed');
    }
  });
});

describe('the header of a log segment', () => {
  const header = { number: 12, replaces: 11, base: 77 };

  it('round trip, golden bytes, and any change is noticed', () => {
    const bytes = encodeSegmentHeader(header);
    expect(decodeSegmentHeader(bytes)).toEqual(header);
    expect(hex(bytes)).toBe(
      '434f5445524c4f47' + '01000000' + '00000000' + '0c00000000000000' + '0b00000000000000' + '4d00000000000000' + '00000000' + '8abcd84c',
    );
    for (let at = 0; at < bytes.length; at += 1) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ 4;
      expect(decodeSegmentHeader(changed)).toBeUndefined();
    }
  });
});

describe('formats of a later version', () => {
  /** The bytes with the version at `at` raised by one and `reseal` run over them. */
  function raised(bytes: Buffer, at: number, reseal: (bytes: Buffer) => void): Buffer {
    const changed = Buffer.from(bytes);
    changed.writeUInt32LE(changed.readUInt32LE(at) + 1, at);
    reseal(changed);
    return changed;
  }

  it('are refused as newer, not as damaged', () => {
    const segment = raised(encodeSegmentHeader({ number: 1, replaces: 0, base: 0 }), 8, (bytes) =>
      bytes.writeUInt32LE(crc32(bytes.subarray(0, 44)), 44),
    );
    expect(codeOf(() => decodeSegmentHeader(segment))).toBe('DATA_DIR_NEWER');
    const manifest = raised(encodeManifest(STATE), 8, (bytes) => bytes.writeUInt32LE(crc32(bytes.subarray(20), 2), 12));
    expect(codeOf(() => decodeManifest(manifest))).toBe('DATA_DIR_NEWER');
    const place = { offset: 0, length: 0 };
    const footer = raised(encodeFooter({ number: 1, filter: place, index: place, properties: place }), 48, (bytes) =>
      bytes.writeUInt32LE(crc32(bytes.subarray(0, 52)), 52),
    );
    expect(codeOf(() => decodeFooter(footer))).toBe('DATA_DIR_NEWER');
  });
});

describe('key ranges', () => {
  it('are cut and joined', () => {
    expect(subtract({ from: 'b', to: 'f' }, { from: 'c', to: 'd' })).toEqual([
      { from: 'b', to: 'c' },
      { from: 'd', to: 'f' },
    ]);
    expect(subtract({ from: 'b', to: undefined }, { from: 'a', to: undefined })).toEqual([]);
    expect(subtract({ from: 'b', to: undefined }, { from: 'c', to: undefined })).toEqual([{ from: 'b', to: 'c' }]);
    expect(
      normalise([
        { from: 'c', to: 'd' },
        { from: 'a', to: 'b' },
        { from: 'b', to: 'c' },
        { from: 'x', to: undefined },
        { from: 'y', to: 'z' },
      ]),
    ).toEqual([
      { from: 'a', to: 'd' },
      { from: 'x', to: undefined },
    ]);
  });
});
