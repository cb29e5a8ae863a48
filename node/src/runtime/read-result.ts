/** What a read answers, made from the encoded object when it is asked for: most callers want one value and no context. */

import type { ByteString } from '../base/bytes.ts';
import type { Checksum } from '../base/hash.ts';
import type { BucketDefinition, Topology } from '../cluster/ring/topology.ts';
import { decodeObject } from '../cluster/versioning/codec.ts';
import { tokenOf } from '../cluster/versioning/context.ts';
import { NO_TIME } from '../cluster/versioning/hlc.ts';
import { peekVersion } from '../cluster/versioning/peek.ts';
import { isExpired, present, type PresentedVersion } from '../cluster/versioning/present.ts';
import { readValue } from '../cluster/versioning/register-codec.ts';
import { TOKENS } from './client-tokens.ts';
import type { ReadResult } from './kv.ts';

const NOTHING: readonly PresentedVersion[] = [];

/** The live versions in an encoded object. @throws CoterieError DATA_DAMAGED */
export function versionsIn(bytes: Uint8Array, nowMs: number, checksum: Checksum): readonly PresentedVersion[] {
  const peeked = peekVersion(bytes);
  switch (peeked.kind) {
    case 'none':
      return NOTHING;
    case 'one':
      return isExpired(peeked.version.expireAtMs, nowMs) ? NOTHING : [peeked.version];
    case 'several':
      return present(decodeObject(bytes, checksum), nowMs);
  }
}

export class ObjectRead implements ReadResult {
  readonly versions: readonly PresentedVersion[];
  readonly #bytes: Uint8Array;
  readonly #topology: Topology;
  readonly #bucket: BucketDefinition;
  readonly #key: ByteString;
  readonly #checksum: Checksum;
  readonly fallbacks: number | undefined;
  #context: Uint8Array | undefined;

  /**
   * @param bytes as long-lived as the answer is to be
   * @param fallbacks how many fallbacks were counted
   */
  constructor(
    bytes: Uint8Array,
    topology: Topology,
    bucket: BucketDefinition,
    key: ByteString,
    nowMs: number,
    checksum: Checksum,
    fallbacks?: number,
  ) {
    this.versions = versionsIn(bytes, nowMs, checksum);
    this.#bytes = bytes;
    this.#topology = topology;
    this.#bucket = bucket;
    this.#key = key;
    this.#checksum = checksum;
    this.fallbacks = fallbacks;
  }

  get context(): Uint8Array {
    if (this.#context === undefined) {
      const place = { clusterId: this.#topology.clusterId, bucketId: this.#bucket.id, key: this.#key };
      this.#context = tokenOf(this.#bytes, place, this.#checksum, TOKENS);
    }
    return this.#context;
  }
}

export const NEVER_WRITTEN: ReadResult = { versions: NOTHING, context: undefined };

/** What is read of a strong key: its value, and never a context. @throws CoterieError DATA_DAMAGED */
export function registerRead(bytes: Uint8Array): ReadResult {
  const value = readValue(bytes);
  return value === undefined ? NEVER_WRITTEN : { versions: [{ value, expireAtMs: 0, time: NO_TIME }], context: undefined };
}
