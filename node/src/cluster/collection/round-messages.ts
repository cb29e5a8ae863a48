/** What the leader of a collecting round asks of the members, and what they answer. */

import type { ByteString } from '../../base/bytes.ts';
import type { PartitionId, StoreId } from '../../base/ids.ts';

/** In the order of a round; `retake`, `list` and a second `confirm` only where primaries differ. */
export type CollectionStep = 'survey' | 'confirm' | 'list' | 'retake' | 'raise' | 'drain' | 'seal' | 'collect' | 'drop';

/** Why a member cannot do what it was asked. */
export type Obstacle =
  /** Told by the leader: no answer came. */
  | 'unreachable'
  | 'not-synchronised'
  /** What the store has of the partition, or its disk, cannot be read or written. */
  | 'damaged'
  /** Its clock is behind, or its generation is not the one that was asked for. */
  | 'clock'
  | 'generation'
  /** Its disk is from before an earlier collection: it empties the partition and copies it anew. */
  | 'rewound'
  /** It keeps hints of the partition, or has not counted those of an earlier run. */
  | 'hints'
  /** The primaries do not hold the same tombstones, and did not come to. */
  | 'differing';

export interface CollectionItem {
  readonly partition: PartitionId;
  /** The present generation; of `collect` and `drop` the floor's. */
  readonly generation: number;
  /** Of `raise`: the generation to go to. Else 0. */
  readonly to: number;
  readonly expiredByMs: number;
  /** Of `list`: which slice of the partition. */
  readonly slice: number;
  /** Of `retake`: disk keys. */
  readonly keys: readonly ByteString[];
}

export interface Candidate {
  /** Disk key. */
  readonly key: ByteString;
  readonly digest: ByteString;
}

export interface CollectionState {
  readonly partition: PartitionId;
  readonly obstacle: Obstacle | undefined;
  /** The generation before the step. */
  readonly generation: number;
  /** Below this the store refuses; after the step. */
  readonly least: number;
  /** The floor after it. */
  readonly floor: number;
  readonly expiredByMs: number;
  /** Operations under way that began under an older generation. */
  readonly requests: number;
  /** Hints kept of the partition. */
  readonly hints: number;
  /** Of `confirm`: for each of SLICES slices the number of candidates and two words of a hash over them. */
  readonly slices: readonly number[];
  /** Of `survey`: the store holds something that may be collected now; something that a higher generation makes old. */
  readonly due: boolean;
  readonly young: boolean;
  /** Of `list`: the candidates of the slice, ascending, as far as they were counted. */
  readonly candidates: readonly Candidate[];
  /** Of `list`: there are more than were answered. */
  readonly more: boolean;
}

export interface CollectionReport {
  readonly storeId: StoreId;
  /** A store that was started again may have another disk. */
  readonly boot: number;
  /** One for each item, in their order. */
  readonly states: readonly CollectionState[];
}

/** Parts of a partition that are compared on their own. */
export const SLICES = 16;
/** Candidates in one answer. */
export const MOST_LISTED = 2048;
/** Differing keys that are taken up in one pass over a partition. */
export const MOST_RETAKEN = 256;

export const NO_STATE: Omit<CollectionState, 'partition'> = {
  obstacle: undefined,
  generation: 0,
  least: 0,
  floor: 0,
  expiredByMs: 0,
  requests: 0,
  hints: 0,
  slices: [],
  due: false,
  young: false,
  candidates: [],
  more: false,
};
