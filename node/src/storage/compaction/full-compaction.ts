/** Which piece a compaction of the whole store merges next, level by level. Pure. */

import type { ByteString } from '../../base/bytes.ts';
import type { TableMeta } from '../sstable/table-meta.ts';
import { mayCollect } from '../sstable/table-meta.ts';
import type { CollectionPolicy } from './compact-job.ts';
import type { Compaction, Levels } from './picker.ts';
import { inPlace, intoNext, isApart, level0, movable } from './picker.ts';

/** How much is merged at a time, counting the upper level. */
const CHUNK_BYTES = 64 * 1024 * 1024;

/** The next piece of a compaction of one level, from `from` on. */
export function nextCompaction(
  levels: Levels,
  level: number,
  from: ByteString,
  policy: CollectionPolicy | undefined,
): Compaction | undefined {
  const tables = levels[level] ?? [];
  const wanted = (table: TableMeta): boolean => policy === undefined || mayCollect(table, policy.collectable);
  if (level === 0) return tables.some(wanted) ? (policy === undefined ? level0(levels) : withoutMove(level0(levels))) : undefined;
  const isDeepest = levels.slice(level + 1).every((deeper) => deeper.length === 0);
  const first = tables.findIndex((table) => table.min >= from && (isDeepest ? isDirty(table, policy) : wanted(table)));
  const start = tables[first];
  if (start === undefined) return undefined;
  if (isDeepest) return inPlace(levels, level, start);
  if (policy === undefined) {
    const moved = movable(levels, level, first);
    if (moved !== undefined) return moved;
  }
  const chunk: TableMeta[] = [];
  let bytes = 0;
  for (const table of tables.slice(first)) {
    if (bytes >= CHUNK_BYTES || !wanted(table) || (policy === undefined && chunk.length > 0 && isApart(levels, level, table))) break;
    chunk.push(table);
    bytes += table.bytes;
  }
  const compaction = intoNext(levels, level, chunk);
  return policy === undefined ? compaction : withoutMove(compaction);
}

/** Whether the table of the deepest level has something to get rid of. */
function isDirty(table: TableMeta, policy: CollectionPolicy | undefined): boolean {
  return table.masks.length > 0 || table.removals > 0 || (policy !== undefined && mayCollect(table, policy.collectable));
}

function withoutMove(compaction: Compaction | undefined): Compaction | undefined {
  return compaction?.move === true ? { ...compaction, move: false } : compaction;
}
