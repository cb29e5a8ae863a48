/**
 * Transcripts: what redis-server answered to a sequence of requests, as text that a person reads and `record.ts` rewrites.
 *
 *   == name [| requirepass secret]    a case: an empty database and a fresh connection
 *   > words                           one request, quoted as an inline command is
 *   raw "bytes"                       bytes as they are, escaped as in JSON; what follows is what they were answered with
 *   "reply"                           one reply on the wire, escaped as in JSON; or (closed)
 */

import { splitInline } from '../../src/api/resp/inline.ts';
import { CLOSED } from './raw-client.ts';

export interface Step {
  /** As written in the file. */
  readonly line: string;
  readonly bytes: Buffer;
  replies: string[];
}

export interface Case {
  readonly name: string;
  readonly password: string | undefined;
  readonly steps: Step[];
}

export interface Transcript {
  /** Comment lines at the top. */
  readonly head: string[];
  readonly cases: Case[];
}

export function parseTranscript(text: string): Transcript {
  const transcript: Transcript = { head: [], cases: [] };
  for (const line of text.split('\n')) {
    const current = transcript.cases.at(-1);
    if (line.startsWith('#')) transcript.head.push(line);
    else if (line.startsWith('== ')) transcript.cases.push(newCase(line.slice(3)));
    else if (line.startsWith('> ')) current?.steps.push({ line, bytes: requestOf(line.slice(2)), replies: [] });
    else if (line.startsWith('raw ')) {
      current?.steps.push({ line, bytes: Buffer.from(JSON.parse(line.slice(4)) as string, 'latin1'), replies: [] });
    } else if (line === CLOSED) current?.steps.at(-1)?.replies.push(CLOSED);
    else if (line !== '') current?.steps.at(-1)?.replies.push(JSON.parse(line) as string);
  }
  return transcript;
}

export function formatTranscript({ head, cases }: Transcript): string {
  const lines = [...head];
  for (const { name, password, steps } of cases) {
    lines.push('', password === undefined ? `== ${name}` : `== ${name} | requirepass ${password}`);
    for (const { line, replies } of steps) {
      lines.push(line, ...replies.map((reply) => (reply === CLOSED ? CLOSED : escaped(reply))));
    }
  }
  return `${lines.join('\n')}\n`;
}

/** JSON, with every byte outside printable ASCII escaped, so that the files are plain text. */
function escaped(reply: string): string {
  return JSON.stringify(reply).replaceAll(/[\x7f-\xff]/g, (char) => `\\u00${char.charCodeAt(0).toString(16)}`);
}

function newCase(title: string): Case {
  const [name = '', option] = title.split(' | ');
  return { name, password: option?.replace('requirepass ', ''), steps: [] };
}

function requestOf(line: string): Buffer {
  const words = splitInline(line);
  if (words === undefined) throw new Error(`quotes do not balance: ${line}`);
  const parts = [`*${words.length}\r\n`, ...words.map((word) => `$${word.length}\r\n${word}\r\n`)];
  return Buffer.from(parts.join(''), 'latin1');
}
