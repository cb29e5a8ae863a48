/**
 * The GET of a single value straight from the encoded object, without decoding its clock. The checksum is not verified here: storage has
 * verified its blocks, and what comes from a peer goes through `decodeObject` or `reconcileEncoded`. Offsets are checked against the length.
 */

import { damaged } from './codec.ts';
import { readU16, readU32, readU48 } from './fields.ts';
import { NO_TIME } from './hlc.ts';
import { FLAG_HIDDEN, MAGIC, ORDER_BYTES, readLayout } from './layout.ts';
import type { PresentedVersion } from './present.ts';
import { isRegister, readValue } from './register-codec.ts';

export type Peeked =
  /** No live dot: deleted. */
  | { readonly kind: 'none' }
  /** Exactly this one value, whose expiry the caller still compares with its clock; a view into the bytes. */
  | { readonly kind: 'one'; readonly version: PresentedVersion }
  /** More than the header can tell: decode and `present`. */
  | { readonly kind: 'several' };

const NONE: Peeked = { kind: 'none' };
const SEVERAL: Peeked = { kind: 'several' };

/** The single value of an encoded object without decoding it. Throws DATA_DAMAGED. */
export function peekVersion(bytes: Uint8Array): Peeked {
  if (isRegister(bytes)) {
    const value = readValue(bytes);
    return value === undefined ? NONE : { kind: 'one', version: { value, expireAtMs: 0, time: NO_TIME } };
  }
  const layout = readLayout(bytes);
  if (layout === undefined || readU32(bytes, 0) !== MAGIC) throw damaged('unknown format');
  if (layout.siblings === 0) return NONE;
  if (layout.siblings > 1) return SEVERAL;
  const at = layout.siblingsAt;
  if (((bytes[at + ORDER_BYTES] ?? 0) & FLAG_HIDDEN) !== 0) return SEVERAL;
  if (layout.valuesAt + readU32(bytes, at + ORDER_BYTES + 15) !== bytes.length) throw damaged('value beyond the end');
  const version = {
    value: bytes.subarray(layout.valuesAt),
    expireAtMs: readU48(bytes, at + ORDER_BYTES + 9),
    time: { ms: readU48(bytes, at), logical: readU16(bytes, at + 6) },
  };
  return { kind: 'one', version };
}
