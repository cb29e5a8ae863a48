/** What a fallback is asked to keep for a primary that is away (proto/peer.proto). */

import { type ByteString, fromByteString } from '../../base/bytes.ts';
import { coterie, decodeWire } from '../wire.ts';
import { diskKey } from './replica.ts';

const { HintRequest } = coterie.peer;

export interface HintMessage {
  /** The primary's place in the replica list of the key's partition. */
  readonly slot: number;
  /** Disk key. */
  readonly key: ByteString;
  /** Decoded, it aliases the payload. */
  readonly object: Uint8Array;
  /** Primaries that must confirm the hint before it may be dropped. */
  readonly w: number;
}

export function encodeHint({ slot, key, object, w }: HintMessage): Uint8Array {
  return HintRequest.encode({ slot, key: fromByteString(key), object, w }).finish();
}

/** @throws CoterieError FRAME_INVALID */
export function decodeHint(payload: Uint8Array): HintMessage {
  const { slot, key, object, w } = decodeWire(HintRequest, payload);
  return { slot, key: diskKey(key), object, w };
}
