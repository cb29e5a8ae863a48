/**
 * Redis' glob patterns over bytes: `*`, `?`, `[a-c]`, `[^x]`, `\` (Redis: stringmatchlen).
 *
 * Invariant: time is bounded by pattern times text: on a mismatch only the last `*` is tried again, so no pattern of a client explodes.
 */

import type { ByteString } from '../../base/bytes.ts';

export function globMatches(pattern: ByteString, text: ByteString): boolean {
  let p = 0;
  let t = 0;
  let star = -1;
  let starText = 0;
  while (t < text.length) {
    if (p < pattern.length && pattern.charAt(p) === '*') {
      star = p;
      starText = t;
      p += 1;
      continue;
    }
    const width = p < pattern.length ? matchOne(pattern, p, text.charCodeAt(t)) : 0;
    if (width > 0) {
      p += width;
      t += 1;
    } else if (star >= 0) {
      starText += 1;
      t = starText;
      p = star + 1;
    } else {
      return false;
    }
  }
  while (pattern.charAt(p) === '*') p += 1;
  return p === pattern.length;
}

/** Characters of the pattern that match this one byte; 0 where it does not match. */
function matchOne(pattern: ByteString, at: number, code: number): number {
  const char = pattern.charAt(at);
  if (char === '?') return 1;
  if (char === '\\' && at + 1 < pattern.length) return pattern.charCodeAt(at + 1) === code ? 2 : 0;
  if (char !== '[') return pattern.charCodeAt(at) === code ? 1 : 0;
  let p = at + 1;
  const negated = pattern.charAt(p) === '^';
  if (negated) p += 1;
  let found = false;
  // An open class ends with the pattern.
  while (p < pattern.length && pattern.charAt(p) !== ']') {
    if (pattern.charAt(p) === '\\' && p + 1 < pattern.length) {
      p += 1;
      if (pattern.charCodeAt(p) === code) found = true;
    } else if (pattern.charAt(p + 1) === '-' && p + 2 < pattern.length) {
      const a = pattern.charCodeAt(p);
      const b = pattern.charCodeAt(p + 2);
      if (code >= Math.min(a, b) && code <= Math.max(a, b)) found = true;
      p += 2;
    } else if (pattern.charCodeAt(p) === code) {
      found = true;
    }
    p += 1;
  }
  if (found === negated) return 0;
  return Math.min(p + 1, pattern.length) - at;
}
