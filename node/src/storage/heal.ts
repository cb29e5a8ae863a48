/**
 * Takes known damage in a range back: holes are closed, and blocks that cannot be read are masked, so that their keys count as absent. What
 * older tables hold for those keys is masked too: it was older than what was lost, and nobody was answered it since.
 */

import { damageOf } from './engine-stats.ts';
import type { KeyRange } from './key-range.ts';
import { intersect, normalise, subtract, touches } from './key-range.ts';
import type { Version } from './manifest/version.ts';
import type { TableMeta } from './sstable/table-meta.ts';

export function healed(levels: readonly (readonly TableMeta[])[], version: Version, range: KeyRange): TableMeta[][] {
  const refs = new Map(version.levels.flat().map((ref) => [ref.meta.number, ref]));
  /** What newer tables lost, in the range. */
  const lost: KeyRange[] = [];
  return levels.map((tables, level) => {
    const found: KeyRange[] = [];
    const result = tables.map((table) => {
      const file = refs.get(table.number)?.file;
      const own = file === undefined ? [] : damageOf({ meta: table, file }).flatMap((damage) => intersect(damage, range) ?? []);
      // Only within level 0 are tables older than others of their level.
      const above = lost.filter((part) => touches(part, table.min, table.max));
      (level === 0 ? lost : found).push(...own);
      const bad = own.length === 0 || file === undefined ? [] : damageOf({ meta: { ...table, holes: [] }, file });
      const masks = [...above, ...bad.flatMap((block) => intersect(block, range) ?? [])];
      const holes = own.length === 0 ? table.holes : table.holes.flatMap((hole) => subtract(hole, range));
      if (masks.length === 0 && holes === table.holes) return table;
      return { ...table, holes, masks: masks.length === 0 ? table.masks : normalise([...table.masks, ...masks]) };
    });
    lost.push(...found);
    return result;
  });
}
