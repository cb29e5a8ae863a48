/**
 * The only door to the code generated from `proto/*.proto` (by `npm run proto`; it is not committed).
 *
 * 64-bit integers are plain numbers here: protobufjs is told to do without Long before the generated code loads. It then decodes
 * values from 2^53 up without a word and wrongly, so every decoded uint64 goes through `u53`.
 */

import './without-long.ts';

import protobuf from 'protobufjs/minimal.js';

import { CoterieError } from '../base/errors.ts';

export { coterie } from './gen/wire.js';

/** A generated message type. */
interface Decoder<Message> {
  decode(reader: protobuf.Reader, length?: number): Message;
}

/**
 * Decodes a message; its `bytes` fields alias `payload` and are borrowed as it is.
 *
 * @throws CoterieError FRAME_INVALID for anything that is no such message
 */
export function decodeWire<Message>(type: Decoder<Message>, payload: Uint8Array): Message {
  try {
    return type.decode(protobuf.Reader.create(payload));
  } catch (error) {
    throw new CoterieError('FRAME_INVALID', 'a message could not be decoded', { cause: error });
  }
}

/** A decoded uint64, checked. @throws CoterieError FRAME_INVALID from 2^53 up */
export function u53(value: number, field: string): number {
  if (!Number.isSafeInteger(value) || value < 0) throw new CoterieError('FRAME_INVALID', `${field} is out of range`);
  return value;
}
