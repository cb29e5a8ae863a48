/** Takes known damage in a range back: holes are closed, and blocks that cannot be read are masked, so that their keys count as absent. */

import { damageOf } from './engine-stats.ts';
import type { KeyRange } from './key-range.ts';
import { intersect, normalise, subtract } from './key-range.ts';
import type { Version } from './manifest/version.ts';
import type { TableMeta } from './sstable/table-meta.ts';

export function healed(levels: readonly (readonly TableMeta[])[], version: Version, range: KeyRange): TableMeta[][] {
  const refs = new Map(version.levels.flat().map((ref) => [ref.meta.number, ref]));
  return levels.map((tables) =>
    tables.map((table) => {
      const ref = refs.get(table.number);
      if (ref === undefined) return table;
      const holes = table.holes.flatMap((hole) => subtract(hole, range));
      const blocks = damageOf({ meta: { ...table, holes: [] }, file: ref.file });
      const masks = blocks.map((block) => intersect(block, range)).filter((mask) => mask !== undefined);
      if (masks.length === 0 && holes.length === table.holes.length && table.holes.every((hole, i) => hole === holes[i])) return table;
      return { ...table, holes, masks: masks.length === 0 ? table.masks : normalise([...table.masks, ...masks]) };
    }),
  );
}
