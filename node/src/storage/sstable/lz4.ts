/**
 * Decodes LZ4 blocks (lz4_Block_format.md of the LZ4 project) into memory that the caller owns. For blocks of a few KiB this is as fast as
 * crossing into native code, and leaves no garbage behind. What `lz4-napi` writes is `decodedLength{u32} block`.
 */

import { MalformedError } from '../binary.ts';

/** Up to this length a loop beats a call. */
const SHORT = 32;

/** Decodes `source[from, to)` into `target[0, length)`. @throws MalformedError when it does not decode to exactly `length` bytes */
export function decodeLz4(source: Uint8Array, from: number, to: number, target: Uint8Array, length: number): void {
  let read = from;
  let written = 0;
  while (read < to) {
    const token = source[read] as number;
    read += 1;
    let literals = token >>> 4;
    if (literals === 15) {
      let more: number;
      do {
        more = read < to ? (source[read] as number) : 0;
        read += 1;
        literals += more;
      } while (more === 255);
    }
    if (read + literals > to || written + literals > length) throw new MalformedError('literals out of range', read);
    if (literals <= SHORT) {
      for (const end = read + literals; read < end; read += 1, written += 1) target[written] = source[read] as number;
    } else {
      target.set(source.subarray(read, read + literals), written);
      read += literals;
      written += literals;
    }
    if (read >= to) break;
    const distance = (source[read] as number) | ((source[read + 1] as number) << 8);
    read += 2;
    let matched = token & 15;
    if (matched === 15) {
      let more: number;
      do {
        more = read < to ? (source[read] as number) : 0;
        read += 1;
        matched += more;
      } while (more === 255);
    }
    matched += 4;
    if (distance === 0 || distance > written || written + matched > length || read > to) {
      throw new MalformedError('match out of range', read);
    }
    written = copyMatch(target, written, distance, matched);
  }
  if (written !== length) throw new MalformedError('decoded length does not match', read);
}

/** Repeats what lies `distance` back; source and target may overlap. */
function copyMatch(target: Uint8Array, at: number, distance: number, length: number): number {
  const end = at + length;
  let from = at - distance;
  if (length <= SHORT) {
    for (let to = at; to < end; to += 1, from += 1) target[to] = target[from] as number;
  } else if (distance === 1) {
    target.fill(target[from] as number, at, end);
  } else {
    // What is copied doubles what can be copied next.
    for (let to = at; to < end;) {
      const count = Math.min(to - from, end - to);
      target.copyWithin(to, from, from + count);
      to += count;
    }
  }
  return end;
}
