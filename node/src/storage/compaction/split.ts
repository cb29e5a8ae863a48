/**
 * Where to cut a compaction so that its parts are about as large and can be merged at the same time, each over a range of keys. Estimated from
 * the indexes of its tables as far as they are in memory; any cut is correct.
 */

import type { ByteString } from '../../base/bytes.ts';
import type { KeyRange } from '../key-range.ts';
import type { TableIndex } from '../sstable/index-block.ts';
import type { TableMeta } from '../sstable/table-meta.ts';

const SAMPLES = 32;

interface Sample {
  readonly key: ByteString;
  /** Bytes of the table up to here, from its sample before. */
  readonly bytes: number;
}

/** Ranges that follow one another and together take in every key; at most `parts`. */
export function splitRanges(
  tables: readonly TableMeta[],
  indexOf: (table: TableMeta) => TableIndex | undefined,
  parts: number,
): readonly KeyRange[] {
  const samples: Sample[] = [];
  let total = 0;
  for (const table of tables) {
    total += table.bytes;
    const index = indexOf(table);
    const count = Math.min(SAMPLES, index?.count ?? 0);
    for (let i = 0; i < count; i += 1) {
      samples.push({ key: index?.separator(Math.floor((i * (index.count - 1)) / SAMPLES)) ?? '', bytes: table.bytes / count });
    }
    if (count === 0) samples.push({ key: table.max, bytes: table.bytes });
  }
  samples.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  const ranges: KeyRange[] = [];
  let from = '';
  let passed = 0;
  for (const { key, bytes } of samples) {
    passed += bytes;
    if (ranges.length === parts - 1 || passed < ((ranges.length + 1) * total) / parts || key === from) continue;
    ranges.push({ from, to: key });
    from = key;
  }
  ranges.push({ from, to: undefined });
  return ranges;
}
