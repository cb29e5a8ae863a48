/**
 * Which tables to compact next. Pure: a decision over the levels.
 *
 * Leveled compaction as in LevelDB (doc/impl.md): level 0 by its number of tables, deeper levels by bytes against their target; of a level the
 * table goes first that has the least to merge with for its size.
 */

import type { TableMeta } from '../sstable/table-meta.ts';
import { bytesOf, overlapping } from '../manifest/version.ts';

export interface LevelShape {
  readonly level0Compact: number;
  readonly levelBaseBytes: number;
  readonly levelRatio: number;
}

export interface Compaction {
  /** Where the inputs are, and where the result goes. */
  readonly level: number;
  readonly output: number;
  readonly inputs: readonly TableMeta[];
  /** Tables of the output level to merge with; empty when `output` is `level`. */
  readonly below: readonly TableMeta[];
  /** The inputs only change their level. */
  readonly move: boolean;
}

export type Levels = readonly (readonly TableMeta[])[];

export const LEVELS = 7;

/** Dropped ranges take up at least this share of a table before it is rewritten for them alone. */
const MASKED_SHARE = 0.25;

export function targetBytes(shape: LevelShape, level: number): number {
  return shape.levelBaseBytes * shape.levelRatio ** (level - 1);
}

/** The compaction that is most due; `undefined` when the tree is in shape. */
export function pickCompaction(levels: Levels, shape: LevelShape): Compaction | undefined {
  let best = -1;
  let bestScore = 1;
  for (let level = 0; level < LEVELS - 1; level += 1) {
    const tables = levels[level] ?? [];
    const score = level === 0 ? tables.length / shape.level0Compact : bytesOf(tables) / targetBytes(shape, level);
    if (tables.length > 0 && score >= bestScore && (best < 0 || score > bestScore)) {
      best = level;
      bestScore = score;
    }
  }
  if (best === 0) return level0(levels);
  if (best > 0) return oneTable(levels, best);
  return pickMasked(levels);
}

/** All of level 0 with what it overlaps in level 1; its oldest table only moves where it overlaps nothing there. */
export function level0(levels: Levels): Compaction | undefined {
  const tables = levels[0] ?? [];
  const oldest = tables.at(-1);
  if (oldest === undefined) return undefined;
  const next = levels[1] ?? [];
  if (isMovable(oldest) && overlapping(next, oldest.min, oldest.max).length === 0) {
    return { level: 0, output: 1, inputs: [oldest], below: [], move: true };
  }
  return { level: 0, output: 1, inputs: tables, below: spanned(next, tables), move: false };
}

function oneTable(levels: Levels, level: number): Compaction | undefined {
  const next = levels[level + 1] ?? [];
  let best: TableMeta | undefined;
  let bestCost = Number.POSITIVE_INFINITY;
  for (const table of levels[level] ?? []) {
    const cost = bytesOf(overlapping(next, table.min, table.max)) / table.bytes;
    if (cost < bestCost) {
      best = table;
      bestCost = cost;
    }
  }
  return best === undefined ? undefined : intoNext(levels, level, [best]);
}

/** The tables (of a level below 0, adjacent) into the next level. */
export function intoNext(levels: Levels, level: number, tables: readonly TableMeta[]): Compaction {
  const inputs = grown(levels[level] ?? [], tables);
  const below = spanned(levels[level + 1] ?? [], inputs);
  const [only] = inputs;
  const move = inputs.length === 1 && below.length === 0 && only !== undefined && isMovable(only);
  return { level, output: level + 1, inputs, below, move };
}

/** Whether the table can go to the next level as it is. */
export function isApart(levels: Levels, level: number, table: TableMeta): boolean {
  return isMovable(table) && overlapping(levels[level + 1] ?? [], table.min, table.max).length === 0;
}

/** The tables from the one at `first` on that can go to the next level as they are; `undefined` where that one cannot. */
export function movable(levels: Levels, level: number, first: number): Compaction | undefined {
  const tables = levels[level] ?? [];
  let end = first;
  for (let table = tables[end]; table !== undefined && isApart(levels, level, table); table = tables[end]) end += 1;
  const inputs = tables.slice(first, end);
  return end === first || grown(tables, inputs) !== inputs ? undefined : { level, output: level + 1, inputs, below: [], move: true };
}

/** Rewrites the table where it is; one of level 0 takes its whole level down. */
export function inPlace(levels: Levels, level: number, table: TableMeta): Compaction | undefined {
  if (level > 0) return { level, output: level, inputs: [table], below: [], move: false };
  const tables = levels[0] ?? [];
  return { level: 0, output: 1, inputs: tables, below: spanned(levels[1] ?? [], tables), move: false };
}

function pickMasked(levels: Levels): Compaction | undefined {
  for (const [level, tables] of levels.entries()) {
    for (const table of tables) {
      if (table.masks.length > 0 && maskedShare(table) >= MASKED_SHARE) return inPlace(levels, level, table);
    }
  }
  return undefined;
}

function isMovable(table: TableMeta): boolean {
  return table.masks.length === 0 && table.holes.length === 0;
}

/** Tables that touch at a bound (a hole's end) must move together, or their order could turn around. */
function grown(level: readonly TableMeta[], tables: readonly TableMeta[]): readonly TableMeta[] {
  const first = tables[0];
  const last = tables.at(-1);
  if (first === undefined || last === undefined) return tables;
  const touched = overlapping(level, first.min, last.max);
  return touched.length > tables.length ? touched : tables;
}

function spanned(level: readonly TableMeta[], inputs: readonly TableMeta[]): readonly TableMeta[] {
  let min = inputs[0]?.min ?? '';
  let max = '';
  for (const table of inputs) {
    if (table.min < min) min = table.min;
    if (table.max > max) max = table.max;
  }
  return overlapping(level, min, max);
}

/** The share of the table's keys that masks hide, taking keys to be spread evenly between its smallest and largest. */
export function maskedShare(table: TableMeta): number {
  let shared = 0;
  while (shared < table.min.length && table.min.charCodeAt(shared) === table.max.charCodeAt(shared)) shared += 1;
  const place = (key: string): number => {
    let value = 0;
    for (let i = 0; i < 6; i += 1) value = value * 256 + (shared + i < key.length ? key.charCodeAt(shared + i) : 0);
    return value;
  };
  const low = place(table.min);
  const high = place(table.max);
  let hidden = 0;
  for (const mask of table.masks) {
    const from = mask.from <= table.min ? low : place(mask.from);
    const to = mask.to === undefined || mask.to > table.max ? high + 1 : place(mask.to);
    hidden += Math.max(0, to - from);
  }
  return hidden / (high - low + 1);
}
