/** The newest hybrid time that an object or a context speaks of. */

import type { HybridTime } from './hlc.ts';
import { MAX_LOGICAL, NO_TIME, compareTime } from './hlc.ts';
import type { Knowledge, KvObject } from './object.ts';

/** The later of `newest` and every time in `knowledge`. */
export function newestOf(knowledge: Knowledge, newest: HybridTime): HybridTime {
  let ms = newest.ms;
  for (const entry of knowledge.clock) if (entry.ms > ms) ms = entry.ms;
  const latest = ms > newest.ms ? { ms, logical: 0 } : newest;
  // The end of the floor's millisecond: everything within it counts as old.
  return knowledge.floorMs > 0 && knowledge.floorMs >= latest.ms ? { ms: knowledge.floorMs, logical: MAX_LOGICAL } : latest;
}

/** The newest time in `object`: a receiver's clock takes it in, and a write on the object is stamped after it. */
export function newestTime(object: KvObject): HybridTime {
  let newest = object.blindFloor?.time ?? NO_TIME;
  for (const sibling of object.siblings) {
    if (compareTime(sibling.time, newest) > 0) newest = sibling.time;
    if (compareTime(sibling.edit, newest) > 0) newest = sibling.edit;
  }
  return newestOf(object, newest);
}
