/**
 * Which tables make up the store at one moment. Immutable.
 *
 * Invariants: level 0 is newest first and may overlap; in deeper levels tables ascend and hold disjoint keys. Entries of a level are newer
 * than those of the same key in deeper ones.
 */

import type { ByteString } from '../../base/bytes.ts';
import type { TableFile } from '../sstable/table-file.ts';
import type { TableMeta } from '../sstable/table-meta.ts';

export interface TableRef {
  readonly meta: TableMeta;
  readonly file: TableFile;
}

export class Version {
  readonly levels: readonly (readonly TableRef[])[];
  references = 0;

  constructor(levels: readonly (readonly TableRef[])[]) {
    this.levels = levels;
  }
}

/**
 * The only table of a level below 0 that may hold the key. The search goes by smallest keys: where a table ends in a hole, its largest key
 * may be the next one's smallest.
 */
export function findTable(level: readonly TableRef[], key: ByteString): TableRef | undefined {
  let low = 0;
  let high = level.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((level[middle] as TableRef).meta.min <= key) low = middle + 1;
    else high = middle;
  }
  const found = level[low - 1];
  return found !== undefined && found.meta.max >= key ? found : undefined;
}

export function overlapping(level: readonly TableMeta[], min: ByteString, max: ByteString): TableMeta[] {
  return level.filter((table) => table.max >= min && table.min <= max);
}

export function bytesOf(tables: readonly TableMeta[]): number {
  let bytes = 0;
  for (const table of tables) bytes += table.bytes;
  return bytes;
}
