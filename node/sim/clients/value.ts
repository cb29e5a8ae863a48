/**
 * Values that say which write they belong to, and whose every byte follows from that: what a read answers can be held against what was
 * written without keeping it.
 *
 *   "C" | write number, u32 big-endian | length, u32 big-endian | bytes from a generator seeded with the key, the number and the length
 */

const HEAD = 9;
/** The shortest value there is. */
export const LEAST_VALUE_BYTES: number = HEAD;

function fill(bytes: Uint8Array, key: string, number: number): void {
  let state = 0x811c9dc5 ^ number;
  for (let i = 0; i < key.length; i += 1) state = Math.imul(state ^ key.charCodeAt(i), 0x01000193);
  state = Math.imul(state ^ bytes.length, 0x01000193) | 1;
  // Runs of equal bytes now and then, so that compression has something to do.
  for (let at = HEAD; at < bytes.length;) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const run = (state & 3) === 0 ? 8 : 1;
    bytes.fill(state >>> 24, at, at + run);
    at += run;
  }
}

export function makeValue(key: string, number: number, length: number): Uint8Array {
  const bytes = new Uint8Array(Math.max(HEAD, length));
  const view = new DataView(bytes.buffer);
  bytes[0] = 0x43;
  view.setUint32(1, number);
  view.setUint32(5, bytes.length);
  fill(bytes, key, number);
  return bytes;
}

/** The number of the write that these bytes belong to; `undefined` unless they are exactly what it wrote to `key`. */
export function recognise(key: string, bytes: Uint8Array): number | undefined {
  if (bytes.length < HEAD || bytes[0] !== 0x43) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const number = view.getUint32(1);
  if (view.getUint32(5) !== bytes.length) return undefined;
  const wanted = makeValue(key, number, bytes.length);
  for (let i = 0; i < wanted.length; i += 1) if (wanted[i] !== bytes[i]) return undefined;
  return number;
}
