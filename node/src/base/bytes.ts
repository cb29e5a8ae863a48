/**
 * Byte strings: a sequence of bytes held as a JavaScript string, one character of code 0 to 255 a byte ("latin1").
 * They hash in a Map and compare with `<` at native speed, in the byte order of the keys on disk.
 */

/** A sequence of bytes as a string of characters 0 to 255. */
export type ByteString = string;

const CHUNK = 4096;

export function toByteString(bytes: Uint8Array, from = 0, to: number = bytes.length): ByteString {
  if (to - from <= CHUNK) {
    return Reflect.apply(String.fromCharCode, null, bytes.subarray(from, to)) as string;
  }
  let text = '';
  for (let at = from; at < to; at += CHUNK) text += toByteString(bytes, at, Math.min(to, at + CHUNK));
  return text;
}

/** The 8 bytes of two words, the higher first. */
export function byteStringOf64(hi: number, lo: number): ByteString {
  return String.fromCharCode(
    hi >>> 24,
    (hi >>> 16) & 0xff,
    (hi >>> 8) & 0xff,
    hi & 0xff,
    lo >>> 24,
    (lo >>> 16) & 0xff,
    (lo >>> 8) & 0xff,
    lo & 0xff,
  );
}

export function fromByteString(text: ByteString): Uint8Array {
  const bytes = new Uint8Array(text.length);
  writeByteString(text, bytes, 0);
  return bytes;
}

/** Writes `text` into `target` from `at`; answers the position after it. The caller has made room. */
export function writeByteString(text: ByteString, target: Uint8Array, at: number): number {
  for (let i = 0; i < text.length; i += 1) target[at + i] = text.charCodeAt(i);
  return at + text.length;
}

/** The smallest byte string greater than every one that starts with `prefix`; `undefined` where there is none. */
export function afterPrefix(prefix: ByteString): ByteString | undefined {
  for (let end = prefix.length; end > 0; end -= 1) {
    const code = prefix.charCodeAt(end - 1);
    if (code < 0xff) return prefix.slice(0, end - 1) + String.fromCharCode(code + 1);
  }
  return undefined;
}

const HEX = '0123456789abcdef';

export function toHex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += (HEX[byte >> 4] ?? '') + (HEX[byte & 15] ?? '');
  return text;
}

/** The bytes of an even number of hexadecimal digits; `undefined` for anything else. */
export function fromHex(text: string): Uint8Array | undefined {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) return undefined;
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i += 1) bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}
