/**
 * A replica meeting an encoded object: keep the local copy, store the incoming bytes as they came, or store the merge of both. Invariant: the
 * bytes afterwards are those of `merge(local, incoming)`; where one side holds everything, nothing is encoded anew.
 */

import type { Checksum } from '../../base/hash.ts';
import type { ObjectHeader } from './codec.ts';
import { decodeVerified, encodeObject, readHeader, verifyChecksum } from './codec.ts';
import { readU32 } from './fields.ts';
import { AT_DIGEST, AT_OPERATIONS, HEADER_BYTES } from './layout.ts';
import { absorbs, merge } from './merge.ts';
import { isRegister } from './register-codec.ts';
import { reconcileRegisters } from './register-reconcile.ts';

export type Reconciled =
  | { readonly kind: 'keep' }
  /** `bytes` is `incoming` itself where it holds everything. */
  | { readonly kind: 'store'; readonly bytes: Uint8Array; readonly header: ObjectHeader };

const KEEP: Reconciled = { kind: 'keep' };

/** The same state, and no operation records to bring. */
function isSameAtSight(local: Uint8Array, incoming: Uint8Array): boolean {
  return (
    local.length >= HEADER_BYTES &&
    readU32(local, AT_DIGEST) === readU32(incoming, AT_DIGEST) &&
    readU32(local, AT_DIGEST + 4) === readU32(incoming, AT_DIGEST + 4) &&
    incoming[AT_OPERATIONS] === 0
  );
}

/**
 * What a replica does with an object that arrives. `incoming` is checked first.
 *
 * @throws CoterieError DATA_DAMAGED when `incoming` or `local` is damaged
 */
export function reconcileEncoded(local: Uint8Array | undefined, incoming: Uint8Array, checksum: Checksum): Reconciled {
  verifyChecksum(incoming, checksum);
  if (isRegister(incoming)) return reconcileRegisters(local, incoming, checksum);
  if (local !== undefined && isSameAtSight(local, incoming)) return KEEP;
  const theirs = decodeVerified(incoming);
  if (local === undefined) return { kind: 'store', bytes: incoming, header: readHeader(incoming) };
  const mine = decodeVerified(local);
  const brings = !absorbs(mine, theirs);
  // Of a copy that is replaced nothing is kept: its clock has a digest of its own, and its values, the better part of it, need not be read.
  if (brings && absorbs(theirs, mine)) return { kind: 'store', bytes: incoming, header: readHeader(incoming) };
  verifyChecksum(local, checksum);
  if (!brings) return KEEP;
  const bytes = encodeObject(merge(mine, theirs), checksum);
  return { kind: 'store', bytes, header: readHeader(bytes) };
}
