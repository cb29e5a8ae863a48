import type { Checksum } from '../../base/hash.ts';
import type { HybridTime } from './hlc.ts';
import type { KvObject } from './object.ts';

/** What the fixed header of an encoded object says. */
export interface ObjectHeader {
  readonly siblings: number;
  /** From when every value of the object is expired; 0 when some value never is, or there is none. */
  readonly expireAtMs: number;
  /** The highest hybrid time in the object: what a receiver's clock must take in. */
  readonly newest: HybridTime;
  /** 8 bytes; equal exactly when two objects are in the same state (operation records aside). */
  readonly digest: Uint8Array;
}

export function encodeObject(object: KvObject, checksum: Checksum): Uint8Array {
  throw new Error(`not yet: ${String(object)} ${String(checksum)}`);
}

/** Values of the answer are views into `bytes`. Throws DATA_DAMAGED. */
export function decodeObject(bytes: Uint8Array, checksum: Checksum): KvObject {
  throw new Error(`not yet: ${String(bytes)} ${String(checksum)}`);
}

/** Reads the fixed header without the checksum. Throws DATA_DAMAGED. */
export function readHeader(bytes: Uint8Array): ObjectHeader {
  throw new Error(`not yet: ${String(bytes)}`);
}
