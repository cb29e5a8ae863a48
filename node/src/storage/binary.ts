/**
 * Reading and writing the numbers of the file formats: little-endian, and varints of 7 bits a byte, least significant first,
 * for whole numbers from 0 to 2^53-1 (at most 8 bytes).
 */

import { Buffer } from 'node:buffer';
import type { ByteString } from '../base/bytes.ts';

/** Thrown by the decoders for bytes that no encoder wrote; whoever knows the file turns it into DATA_DAMAGED. */
export class MalformedError extends Error {
  override readonly name = 'MalformedError';
  /** Where in the decoded bytes. */
  readonly at: number;

  constructor(what: string, at: number) {
    super(what);
    this.at = at;
  }
}

/** Tells malformed bytes from other failures, across realms too. */
export function isMalformed(error: unknown): error is MalformedError {
  return typeof error === 'object' && error !== null && 'name' in error && error.name === 'MalformedError';
}

/** The bytes as a Buffer over the same memory. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

const TWO_28 = 2 ** 28;

/** Writes `value` at `at`; answers the position after it. */
export function writeVarint(target: Uint8Array, at: number, value: number): number {
  let rest = value;
  let position = at;
  while (rest >= TWO_28) {
    target[position] = (rest % 128) | 0x80;
    rest = Math.floor(rest / 128);
    position += 1;
  }
  while (rest >= 0x80) {
    target[position] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
    position += 1;
  }
  target[position] = rest;
  return position + 1;
}

export function varintLength(value: number): number {
  let length = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) length += 1;
  return length;
}

/** A place in bytes that are read from front to back; every read checks the bounds. */
export class Reader {
  readonly bytes: Buffer;
  at: number;
  readonly end: number;

  constructor(bytes: Uint8Array, at = 0, end: number = bytes.length) {
    this.bytes = asBuffer(bytes);
    this.at = at;
    this.end = end;
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (let count = 0; count < 8; count += 1) {
      if (this.at >= this.end) throw new MalformedError('number cut short', this.at);
      const byte = this.bytes[this.at] as number;
      this.at += 1;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) break;
        return value;
      }
      scale *= 128;
    }
    throw new MalformedError('number out of range', this.at);
  }

  byte(): number {
    if (this.at >= this.end) throw new MalformedError('bytes cut short', this.at);
    const byte = this.bytes[this.at] as number;
    this.at += 1;
    return byte;
  }

  /** A length as a varint, then as many bytes. */
  text(): ByteString {
    const length = this.varint();
    if (length > this.end - this.at) throw new MalformedError('text cut short', this.at);
    const text = this.bytes.toString('latin1', this.at, this.at + length);
    this.at += length;
    return text;
  }
}

/** Bytes that grow as they are written. */
export class Writer {
  bytes: Buffer;
  length = 0;

  constructor(room = 256) {
    this.bytes = Buffer.allocUnsafe(room);
  }

  varint(value: number): this {
    this.#room(8);
    this.length = writeVarint(this.bytes, this.length, value);
    return this;
  }

  byte(value: number): this {
    this.#room(1);
    this.bytes[this.length] = value;
    this.length += 1;
    return this;
  }

  u32(value: number): this {
    this.#room(4);
    this.length = this.bytes.writeUInt32LE(value, this.length);
    return this;
  }

  text(text: ByteString): this {
    this.varint(text.length);
    this.#room(text.length);
    this.length += this.bytes.write(text, this.length, 'latin1');
    return this;
  }

  raw(bytes: Uint8Array): this {
    this.#room(bytes.length);
    this.bytes.set(bytes, this.length);
    this.length += bytes.length;
    return this;
  }

  /** What was written so far; it aliases the writer. */
  written(): Buffer {
    return this.bytes.subarray(0, this.length);
  }

  #room(more: number): void {
    if (this.length + more <= this.bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.bytes.length * 2, this.length + more));
    this.bytes.copy(larger, 0, 0, this.length);
    this.bytes = larger;
  }
}

/** A whole number of up to 53 bits as u64. */
export function writeU64(target: Buffer, at: number, value: number): number {
  target.writeUInt32LE(value % 2 ** 32, at);
  return target.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
}

/** @throws MalformedError above 2^53-1 */
export function readU64(source: Buffer, at: number): number {
  const high = source.readUInt32LE(at + 4);
  if (high > 0x1f_ffff) throw new MalformedError('number out of range', at);
  return high * 2 ** 32 + source.readUInt32LE(at);
}

/** Compares a key with the bytes `[from, to)`: below 0, 0, or above 0 as the key is smaller, equal, greater. */
export function compareKey(key: ByteString, bytes: Uint8Array, from: number, to: number): number {
  const length = to - from;
  const shorter = key.length < length ? key.length : length;
  for (let i = 0; i < shorter; i += 1) {
    const difference = key.charCodeAt(i) - (bytes[from + i] as number);
    if (difference !== 0) return difference;
  }
  return key.length - length;
}
