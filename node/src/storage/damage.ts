/** Damage to data on disk: found by checksums, answered as DATA_DAMAGED that names the file and the offset, never as data. */

import { CoterieError } from '../base/errors.ts';
import type { KeyRange } from './key-range.ts';

/** Keys whose newest state was lost to damage, and where the damage was found. */
export interface DamagedRange extends KeyRange {
  readonly file: string;
  readonly offset: number;
}

export class DamageError extends CoterieError {
  readonly range: DamagedRange;

  constructor(range: DamagedRange, what: string, cause?: unknown) {
    super('DATA_DAMAGED', `${range.file} is damaged at offset ${String(range.offset)}: ${what}`, cause === undefined ? {} : { cause });
    this.range = range;
  }
}

/** A damaged file that is not a table: nothing of it can be told apart, so the store does not open. */
export function damagedFile(file: string, offset: number, what: string, cause?: unknown): CoterieError {
  return new CoterieError('DATA_DAMAGED', `${file} is damaged at offset ${String(offset)}: ${what}`, cause === undefined ? {} : { cause });
}
