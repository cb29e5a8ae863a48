import type { Checksum } from '../../base/hash.ts';
import type { ObjectHeader } from './codec.ts';

export type Reconciled =
  | { readonly kind: 'keep' }
  /** `bytes` is `incoming` itself where it dominates. */
  | { readonly kind: 'store'; readonly bytes: Uint8Array; readonly header: ObjectHeader };

/** What a replica does with an object that arrives. Throws DATA_DAMAGED when `incoming` or `local` is. */
export function reconcileEncoded(local: Uint8Array | undefined, incoming: Uint8Array, checksum: Checksum): Reconciled {
  throw new Error(`not yet: ${String(local)} ${String(incoming)} ${String(checksum)}`);
}
