/**
 * What Node can do at best: RESP GET and SET over a Map, every SET appended to a log that is synced each second. No storage engine, versions,
 * checks or errors. `bare-log-server.ts PORT LOGFILE`.
 */

import { closeSync, fdatasync, openSync, writeSync } from 'node:fs';
import { createServer } from 'node:net';

const [port = '0', log = 'bare.log'] = process.argv.slice(2);
const file = openSync(log, 'a');
const values = new Map<string, Buffer>();
setInterval(() => fdatasync(file, () => undefined), 1000).unref();

const CR = 13;
const OK = Buffer.from('+OK\r\n');
const NONE = Buffer.from('$-1\r\n');

/** The next array of bulk strings, or nothing while it is incomplete. */
function command(bytes: Buffer, from: number): { parts: [number, number][]; end: number } | undefined {
  const lineEnd = bytes.indexOf(CR, from);
  if (lineEnd < 0) return undefined;
  const count = Number(bytes.toString('latin1', from + 1, lineEnd));
  const parts: [number, number][] = [];
  let at = lineEnd + 2;
  for (let i = 0; i < count; i += 1) {
    const end = bytes.indexOf(CR, at);
    if (end < 0) return undefined;
    const length = Number(bytes.toString('latin1', at + 1, end));
    at = end + 2 + length + 2;
    if (at > bytes.length) return undefined;
    parts.push([end + 2, end + 2 + length]);
  }
  return { parts, end: at };
}

createServer((socket) => {
  socket.setNoDelay(true);
  let rest: Buffer = Buffer.alloc(0);
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const replies: Buffer[] = [];
    const written: Buffer[] = [];
    let at = 0;
    for (;;) {
      const next = at < bytes.length ? command(bytes, at) : undefined;
      if (next === undefined) break;
      const part = (index: number): [number, number] => next.parts[index] ?? [0, 0];
      const verb = bytes.toString('latin1', ...part(0)).toUpperCase();
      if (verb === 'SET') {
        values.set(bytes.toString('latin1', ...part(1)), Buffer.from(bytes.subarray(...part(2))));
        written.push(bytes.subarray(at, next.end));
        replies.push(OK);
      } else if (verb === 'GET') {
        const value = values.get(bytes.toString('latin1', ...part(1)));
        if (value === undefined) replies.push(NONE);
        else replies.push(Buffer.from(`$${value.length}\r\n`), value, Buffer.from('\r\n'));
      } else replies.push(Buffer.from('*0\r\n'));
      at = next.end;
    }
    rest = bytes.subarray(at);
    if (written.length > 0) writeSync(file, Buffer.concat(written));
    if (replies.length > 0) socket.write(Buffer.concat(replies));
  });
}).listen({ host: '127.0.0.1', port: Number(port) });

process.once('SIGTERM', () => {
  closeSync(file);
  process.exit(0);
});
