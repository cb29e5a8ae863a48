/** Encoded objects as the quorum machines see them: bytes and digest. */

import { type ByteString, toByteString } from '../base/bytes.ts';
import { type Content, NEVER_WRITTEN } from '../cluster/quorum/read.ts';
import { readDigest, readHeader } from '../cluster/versioning/codec.ts';
import { MAX_AHEAD_MS } from '../cluster/versioning/hlc.ts';
import type { Policies } from './policies.ts';

/** The content of `bytes`, which must live as long as it. @throws CoterieError DATA_DAMAGED */
export function contentOf(bytes: Uint8Array | undefined): Content {
  return bytes === undefined ? NEVER_WRITTEN : { digest: digestOf(bytes), bytes };
}

/** @throws CoterieError DATA_DAMAGED */
export function digestOf(bytes: Uint8Array): ByteString {
  return toByteString(readDigest(bytes));
}

/** Whether the content holds a time that a node with this wall clock must refuse. @throws CoterieError DATA_DAMAGED */
export function isAhead({ bytes }: Content, wallMs: number): boolean {
  return bytes !== undefined && readHeader(bytes).newest.ms > wallMs + MAX_AHEAD_MS;
}

/** The least object that holds both. @throws CoterieError DATA_DAMAGED */
export function mergeContents(policies: Policies, a: Content, b: Content): Content {
  if (b.bytes === undefined) return a;
  const result = policies.reconcile(a.bytes, b.bytes);
  return result.kind === 'keep' ? a : { digest: digestOf(result.bytes), bytes: result.bytes };
}
