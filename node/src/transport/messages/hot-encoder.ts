/**
 * The encodings of the messages that every read and write sends, written by hand into one reused buffer. Byte for byte what protobufjs
 * writes for the same message (test/runtime/messages.test.ts holds it to that).
 *
 * Invariant: an answer is a view of the shared buffer, valid until the next call; the transport copies payloads within its call.
 */

import { Buffer } from 'node:buffer';

import type { ByteString } from '../../base/bytes.ts';

/** Tags: field number << 3 | wire type; 2 is length-delimited, 0 a varint. */
const BYTES_1 = 0x0a;
const BYTES_2 = 0x12;
const BYTES_3 = 0x1a;
const VARINT_1 = 0x08;
const VARINT_2 = 0x10;
const VARINT_3 = 0x18;

const FIRST_BYTES = 16 * 1024;
/** A tag, and a length below 2^32. */
const FIELD_HEAD = 6;

const EMPTY = new Uint8Array(0);

export class HotEncoder {
  #buffer = Buffer.allocUnsafeSlow(FIRST_BYTES);

  /** ReadRequest. */
  readRequest(key: ByteString): Uint8Array {
    const buffer = this.#room(FIELD_HEAD + key.length);
    return buffer.subarray(0, putLatin1(buffer, 0, BYTES_1, key));
  }

  /** WriteRequest. @param generation 1 to 2^32-1 */
  writeRequest(key: ByteString, object: Uint8Array, generation: number): Uint8Array {
    const buffer = this.#room(3 * FIELD_HEAD + key.length + object.length);
    const at = putBytes(buffer, putLatin1(buffer, 0, BYTES_1, key), BYTES_2, object);
    return buffer.subarray(0, putVarint(buffer, at, VARINT_3, generation));
  }

  /** ValueReply; `object` is undefined where the key was never written. */
  valueReply(object: Uint8Array | undefined, counts: boolean): Uint8Array {
    const buffer = this.#room(4 + FIELD_HEAD + (object?.length ?? 0));
    let at = 0;
    if (object !== undefined) at = putTrue(buffer, at, VARINT_1);
    if (counts) at = putTrue(buffer, at, VARINT_2);
    if (object !== undefined) at = putBytes(buffer, at, BYTES_3, object);
    return buffer.subarray(0, at);
  }

  /** DigestReply; `digest` is empty where the key was never written. */
  digestReply(digest: Uint8Array | undefined, counts: boolean): Uint8Array {
    const buffer = this.#room(2 + FIELD_HEAD + (digest?.length ?? 0));
    let at = 0;
    if (digest !== undefined) at = putBytes(buffer, at, BYTES_1, digest);
    if (counts) at = putTrue(buffer, at, VARINT_2);
    return buffer.subarray(0, at);
  }

  /** The answer to a WriteRequest: an empty message. */
  writeReply(): Uint8Array {
    return EMPTY;
  }

  #room(bytes: number): Buffer {
    if (bytes > this.#buffer.length) this.#buffer = Buffer.allocUnsafeSlow(2 * bytes);
    return this.#buffer;
  }
}

function putTrue(buffer: Buffer, at: number, tag: number): number {
  buffer[at] = tag;
  buffer[at + 1] = 1;
  return at + 2;
}

/** A field whose value, or the length of whose bytes, is `value`. */
function putVarint(buffer: Buffer, at: number, tag: number, value: number): number {
  buffer[at] = tag;
  let position = at + 1;
  let rest = value;
  while (rest > 0x7f) {
    buffer[position] = (rest & 0x7f) | 0x80;
    position += 1;
    rest >>>= 7;
  }
  buffer[position] = rest;
  return position + 1;
}

function putLatin1(buffer: Buffer, at: number, tag: number, text: ByteString): number {
  const from = putVarint(buffer, at, tag, text.length);
  return from + buffer.write(text, from, 'latin1');
}

function putBytes(buffer: Buffer, at: number, tag: number, bytes: Uint8Array): number {
  const from = putVarint(buffer, at, tag, bytes.length);
  buffer.set(bytes, from);
  return from + bytes.length;
}
