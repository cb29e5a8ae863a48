/**
 * Inline commands: a line of words, as one types into telnet. Words are parted by white space; in "double quotes" `\n \r \t \b \a \xhh` and
 * `\"` are escapes, in 'single quotes' only `\'` is (Redis: sdssplitargs).
 */

import type { ByteString } from '../../base/bytes.ts';

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', b: '\b', a: '\x07' };
const SPACE = /[\t\n\v\f\r ]/;
const HEX_PAIR = /^[0-9a-fA-F]{2}$/;

/** The words of the line; `undefined` where quotes do not balance. */
export function splitInline(line: ByteString): ByteString[] | undefined {
  const words: ByteString[] = [];
  let at = 0;
  for (;;) {
    while (at < line.length && SPACE.test(line.charAt(at))) at += 1;
    // Redis' lines end at a zero byte.
    if (at >= line.length || line.charAt(at) === '\0') return words;
    let word = '';
    let quote = '';
    for (;;) {
      const char = line.charAt(at);
      if (quote === '') {
        if (char === '' || char === '\0' || SPACE.test(char)) break;
        if (char === '"' || char === "'") quote = char;
        else word += char;
        at += 1;
      } else if (char === '' || char === '\0') {
        return undefined;
      } else if (char === quote) {
        // What follows a closing quote must be white space.
        const after = line.charAt(at + 1);
        if (after !== '' && after !== '\0' && !SPACE.test(after)) return undefined;
        at += 1;
        break;
      } else if (char === '\\' && quote === '"') {
        const pair = line.slice(at + 2, at + 4);
        if (line.charAt(at + 1) === 'x' && HEX_PAIR.test(pair)) {
          word += String.fromCharCode(Number.parseInt(pair, 16));
          at += 4;
        } else if (at + 1 < line.length) {
          const escaped = line.charAt(at + 1);
          word += ESCAPES[escaped] ?? escaped;
          at += 2;
        } else {
          return undefined;
        }
      } else if (char === '\\' && line.charAt(at + 1) === "'") {
        word += "'";
        at += 2;
      } else {
        word += char;
        at += 1;
      }
    }
    words.push(word);
  }
}
