/** Where a reply ends, in RESP2 and RESP3: the tests' own reader, which shares nothing with the server's writer. */

/** The position behind the reply that begins at `from`; `undefined` while it is not complete. */
export function replyEnd(bytes: Buffer, from: number): number | undefined {
  const line = bytes.indexOf('\r\n', from);
  if (line === -1) return undefined;
  const behind = line + 2;
  const type = bytes.toString('latin1', from, from + 1);
  const rest = bytes.toString('latin1', from + 1, line);
  switch (type) {
    case '+':
    case '-':
    case ':':
    case '_':
    case ',':
    case '#':
    case '(':
      return behind;
    case '$':
    case '=':
    case '!': {
      const length = Number(rest);
      const end = length < 0 ? behind : behind + length + 2;
      return end > bytes.length ? undefined : end;
    }
    case '*':
    case '~':
    case '>':
      return membersEnd(bytes, behind, Number(rest));
    case '%':
      return membersEnd(bytes, behind, 2 * Number(rest));
    default:
      throw new Error(`no reply begins with ${JSON.stringify(type)}: ${bytes.toString('latin1', from, from + 80)}`);
  }
}

function membersEnd(bytes: Buffer, from: number, count: number): number | undefined {
  let at = from;
  for (let member = 0; member < count; member += 1) {
    const end = replyEnd(bytes, at);
    if (end === undefined) return undefined;
    at = end;
  }
  return at;
}
