/**
 * The topology: the one numbered document that says who the members are, which buckets there are, and which member holds which partition.
 *
 * Invariants of a `Topology` (only topology-create.ts and topology-parse.ts make one):
 * - Q is a power of two; there are at least N members; names are unique, and so are the store ids present.
 * - every partition lists N distinct members; the first healthy one coordinates its writes.
 * - bucket ids and names are unique; bucket 0 exists and is called `default`; 1 <= R, W <= N; a strong bucket has R + W > N.
 * - equal settings make equal documents, whatever the order in which members and buckets were written down.
 */

import type { BucketId, ClusterId, Epoch, MemberName, StoreId } from '../../base/ids.ts';
import type { TokenSpace } from './token.ts';

export type Consistency = 'eventual' | 'strong';
/** How a blind write learns what it replaces: from the coordinator's copy alone, or from R primaries first. */
export type BlindWrites = 'newest' | 'quorum';

export interface BucketDefinition {
  readonly id: BucketId;
  readonly name: string;
  /** Never changes in the bucket's life. */
  readonly consistency: Consistency;
  readonly R: number;
  readonly W: number;
  /** Always `newest` in a strong bucket, where it means nothing: every write asks R replicas. */
  readonly blindWrites: BlindWrites;
}

export interface MemberAddress {
  /** A host name or an IP address. */
  readonly host: string;
  readonly peerPort: number;
  readonly respPort: number;
  readonly httpPort: number;
}

/** A member is a slot: the store that fills it can change, its name stays. */
export interface Member {
  readonly name: MemberName;
  readonly address: MemberAddress;
  readonly zone: string;
  readonly rack: string;
  /** Capacity, relative to the others': a whole number, 1 to MAX_WEIGHT. */
  readonly weight: number;
  readonly storeId?: StoreId;
}

/** The document as it is written down. */
export interface TopologyDocument {
  readonly format: 1;
  readonly clusterId: ClusterId;
  readonly epoch: Epoch;
  readonly N: number;
  readonly Q: number;
  readonly tokenHash: 'halfsiphash-2-4';
  /** 8 bytes as 16 lower-case hexadecimal digits. */
  readonly tokenSeed: string;
  readonly buckets: readonly BucketDefinition[];
  readonly members: readonly Member[];
  /** For each partition, its primaries in order, as indexes into `members`. */
  readonly partitions: readonly (readonly number[])[];
}

/** A checked document, with the token parameters ready for use (they are not part of the document). */
export interface Topology extends TopologyDocument {
  readonly tokenSpace: TokenSpace;
}

export const MAX_REPLICAS = 7;
export const MAX_PARTITIONS: number = 2 ** 20;
export const MAX_MEMBERS = 4096;
export const MAX_WEIGHT = 1024;
export const MAX_BUCKETS = 1024;
export const DEFAULT_PARTITIONS = 1024;
