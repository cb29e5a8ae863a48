import type { ByteString } from '../../base/bytes.ts';
import type { Checksum } from '../../base/hash.ts';
import type { ClusterId } from '../../base/ids.ts';
import type { Knowledge, KvObject } from './object.ts';

/** What a client has seen of a key. */
export type Context = Knowledge;

/** Where a context belongs; a token of another place is refused as foreign. */
export interface ContextPlace {
  readonly clusterId: ClusterId;
  readonly bucketId: number;
  readonly key: ByteString;
}

export function contextOf(object: KvObject): Context {
  return { clock: object.clock, floorMs: object.floorMs };
}

export function encodeContext(context: Context, place: ContextPlace, checksum: Checksum): Uint8Array {
  throw new Error(`not yet: ${String(context)} ${String(place)} ${String(checksum)}`);
}

/** Throws CONTEXT_BROKEN or CONTEXT_FOREIGN. */
export function decodeContext(token: Uint8Array, place: ContextPlace, checksum: Checksum): Context {
  throw new Error(`not yet: ${String(token)} ${String(place)} ${String(checksum)}`);
}
