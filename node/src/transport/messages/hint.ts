/** What a fallback is asked to keep for a primary that is away (proto/peer.proto). */

import { type ByteString, fromByteString } from '../../base/bytes.ts';
import { coterie, decodeWire } from '../wire.ts';
import { diskKey, madeUnder } from './replica.ts';

const { HintRequest, ValueReply } = coterie.peer;

export interface HintMessage {
  /** The primary's place in the replica list of the key's partition. */
  readonly slot: number;
  /** Disk key. */
  readonly key: ByteString;
  /** Decoded, it aliases the payload. */
  readonly object: Uint8Array;
  /** Primaries that must confirm the hint before it may be dropped. */
  readonly w: number;
  /** The oldest generation of the partition that anything in the object was read under. */
  readonly generation: number;
}

/** All that a fallback keeps of a key. */
export interface HintedValue {
  /** Decoded, it aliases the payload. */
  readonly object: Uint8Array;
  /** As of a hint. */
  readonly generation: number;
}

export function encodeHint({ slot, key, object, w, generation }: HintMessage): Uint8Array {
  return HintRequest.encode({ slot, key: fromByteString(key), object, w, generation }).finish();
}

/** @throws CoterieError FRAME_INVALID */
export function decodeHint(payload: Uint8Array): HintMessage {
  const { slot, key, object, w, generation } = decodeWire(HintRequest, payload);
  return { slot, key: diskKey(key), object, w, generation: madeUnder(generation) };
}

/** The answer to READ_HINT; undefined: nothing is kept. */
export function encodeHinted(hinted: HintedValue | undefined): Uint8Array {
  return ValueReply.encode(hinted === undefined ? { counts: true } : { found: true, counts: true, ...hinted }).finish();
}

/** @throws CoterieError FRAME_INVALID */
export function decodeHinted(payload: Uint8Array): HintedValue | undefined {
  const { found, object, generation } = decodeWire(ValueReply, payload);
  return found ? { object, generation: madeUnder(generation) } : undefined;
}
