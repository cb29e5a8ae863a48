/** Which bucket and key a path names. Keys are bytes: each is an unreserved character or percent-encoded, and `/` within a key is `%2F`. */

import type { ByteString } from '../../base/bytes.ts';
import { CoterieError } from '../../base/errors.ts';
import { checkKey } from '../limits.ts';
import type { KvLimits } from '../../runtime/kv.ts';

export interface Target {
  readonly bucket: string;
  readonly key: ByteString;
}

const PLAIN = /^[!-$&-~]*$/;
const PERCENT = 37;

/** @throws CoterieError ENCODING_INVALID */
export function percentDecode(text: string): ByteString {
  if (PLAIN.test(text)) return text;
  let bytes = '';
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === PERCENT) {
      const high = hexDigit(text.charCodeAt(at + 1));
      const low = hexDigit(text.charCodeAt(at + 2));
      if (high < 0 || low < 0) throw new CoterieError('ENCODING_INVALID', 'a % in the path is not followed by two hexadecimal digits');
      bytes += String.fromCharCode(high * 16 + low);
      at += 2;
    } else if (code < 0x21 || code > 0x7e) {
      throw new CoterieError('ENCODING_INVALID', 'bytes of the path outside printable ASCII are percent-encoded');
    } else {
      bytes += text.charAt(at);
    }
  }
  return bytes;
}

function hexDigit(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  const letter = code | 32;
  return letter >= 97 && letter <= 102 ? letter - 87 : -1;
}

/**
 * @param path the raw path; `/{bucket}/{key}` from `from` on
 * @throws CoterieError ENCODING_INVALID, KEY_EMPTY, KEY_TOO_LONG
 */
export function targetOf(path: string, from: number, limits: KvLimits): Target {
  const slash = path.indexOf('/', from + 1);
  const bucket = percentDecode(path.slice(from + 1, slash === -1 ? path.length : slash));
  const rest = slash === -1 ? '' : path.slice(slash + 1);
  if (rest.includes('/')) throw new CoterieError('ENCODING_INVALID', 'a / within a key is written %2F');
  const key = percentDecode(rest);
  checkKey(key.length, limits);
  return { bucket, key };
}
