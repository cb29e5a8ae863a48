/**
 * The index of a table: for every data block a separator (at least its last key, below the next block's first), its place and its length.
 *
 *     index = entry* entryOffset{u32 each} count{u32}
 *     entry = separatorLength{varint} separator blockOffset{varint} storedLength{varint, without trailer}
 *
 * Invariant: separators ascend strictly, and block i's keys lie in `(separator i-1, separator i]`.
 */

import type { Buffer } from 'node:buffer';
import type { ByteString } from '../../base/bytes.ts';
import { compareKey, MalformedError, Reader, Writer } from '../binary.ts';

/** The shortest key `s` with `last <= s < next`. */
export function separatorOf(last: ByteString, next: ByteString): ByteString {
  let shared = 0;
  const most = Math.min(last.length, next.length);
  while (shared < most && last.charCodeAt(shared) === next.charCodeAt(shared)) shared += 1;
  if (shared < most) {
    const code = last.charCodeAt(shared);
    if (code + 1 < next.charCodeAt(shared)) return last.slice(0, shared) + String.fromCharCode(code + 1);
  }
  return last;
}

export class IndexBuilder {
  readonly #writer = new Writer(4096);
  readonly #offsets: number[] = [];

  get count(): number {
    return this.#offsets.length;
  }

  add(separator: ByteString, offset: number, length: number): void {
    this.#offsets.push(this.#writer.length);
    this.#writer.text(separator).varint(offset).varint(length);
  }

  finish(): Buffer {
    for (const offset of this.#offsets) this.#writer.u32(offset);
    return this.#writer.u32(this.#offsets.length).written();
  }
}

export class TableIndex {
  readonly bytes: Buffer;
  readonly count: number;
  readonly #end: number;

  /** @throws MalformedError */
  constructor(bytes: Buffer) {
    if (bytes.length < 4) throw new MalformedError('index too short', 0);
    this.count = bytes.readUInt32LE(bytes.length - 4);
    this.#end = bytes.length - 4 - 4 * this.count;
    if (this.#end < 0) throw new MalformedError('index out of range', bytes.length - 4);
    this.bytes = bytes;
  }

  /** The number of the first block whose separator is >= `key`; `count` if there is none. */
  find(key: ByteString): number {
    const bytes = this.bytes;
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      let at = bytes.readUInt32LE(this.#end + 4 * middle);
      let length = bytes[at] as number;
      at += 1;
      if (length >= 0x80) {
        // Keys have at most 4,096 bytes: two bytes of length suffice.
        length = (length & 0x7f) | ((bytes[at] as number) << 7);
        at += 1;
      }
      if (compareKey(key, bytes, at, at + length) > 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  separator(block: number): ByteString {
    return this.#reader(block).text();
  }

  /** Where block number `block` lies in the file, and its stored length without the trailer. */
  place(block: number): { readonly offset: number; readonly length: number } {
    const reader = this.#reader(block);
    const length = reader.varint();
    reader.at += length;
    return { offset: reader.varint(), length: reader.varint() };
  }

  #reader(block: number): Reader {
    const at = this.bytes.readUInt32LE(this.#end + 4 * block);
    return new Reader(this.bytes, at, this.#end);
  }
}
