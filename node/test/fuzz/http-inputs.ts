/** Wrong, odd and right input for the HTTP API, from a seed. */

import type { SeededRandom } from '../transport/cluster.ts';

const METHODS = ['GET', 'GET', 'GET', 'PUT', 'PUT', 'PUT', 'DELETE', 'DELETE', 'HEAD', 'POST', 'PATCH', 'OPTIONS'];
const PATHS = [
  '/v1/kv/default/a',
  '/v1/kv/default/a',
  '/v1/kv/default/b',
  '/v1/kv/other/%00%ff',
  '/v1/kv/nosuch/a',
  '/v1/kv/default/',
  '/v1/kv/default',
  '/v1/kv/',
  '/v1/kv',
  '/v1/kv/default/a/b',
  '/v1/kv/default/%',
  '/v1/kv/default/%zz',
  '/v1/kv/%64efault/a',
  '/v1/kv/default/..',
  '/v1/kv//a',
  '/v1/cluster',
  '/v1/ring',
  '/v1/admin/stats',
  '/v1/admin/replica/default/a',
  '/v1/admin/replica/default/',
  '/livez',
  '/readyz',
  '/metrics',
  '/',
  '/v1',
  '/v1/kv%2fdefault/a',
  '//v1/kv/default/a',
  '*',
  '/v1/kv/default/a#x',
];
const PARAMETERS = [
  'r=1',
  'w=1',
  'r=0',
  'w=2',
  'r=',
  'r',
  'r=-1',
  'r=1e3',
  'quorum=strict',
  'quorum=sloppy',
  'quorum=',
  'timeoutMs=1',
  'timeoutMs=60001',
  'ttlMs=1000',
  'ttlMs=0',
  'expireAtMs=99999999999999999999',
  'expireAtMs=1',
  '%',
  '=',
  '&',
  'x=1',
  'r=1&r=1',
  '__proto__=1',
  'constructor=1',
];
const HEADERS: readonly (readonly [string, readonly string[]])[] = [
  ['Coterie-Context', ['Y3R4IDE', 'Y3R4IDEsMg', '', '!', 'AAAA', 'A'.repeat(200), 'Y3R4IDE=']],
  ['Coterie-Operation-Id', ['00112233445566778899aabbccddeeff', '00112233-4455-6677-8899-aabbccddeeff', 'x', '']],
  ['Accept', ['application/json', 'multipart/mixed', '*/*', 'text/html;q=0', ';', 'application/json;q=0.1, multipart/mixed']],
  ['Authorization', ['Basic Og==', 'Bearer x', 'Basic', 'x']],
  ['Content-Type', ['application/octet-stream', 'text/plain', 'nonsense', 'multipart/form-data; boundary=']],
  ['Expect', ['100-continue']],
  ['If-None-Match', ['*', '"x"']],
  ['Range', ['bytes=0-1']],
];
const TAMPER = [
  '\r\n',
  '\n',
  ' ',
  ':',
  '\0',
  'HTTP/1.1',
  'Content-Length: 5\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Content-Length: -1\r\n',
  '%00',
  '0\r\n\r\n',
  '\r\n\r\n',
  'GET ',
];

export interface HttpInput {
  readonly method: string;
  readonly path: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: Buffer | undefined;
}

export class HttpInputs {
  readonly #random: SeededRandom;

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  /** A request that HTTP understands, whatever the API makes of it. */
  request(): HttpInput {
    const random = this.#random;
    const method = this.#pick(METHODS);
    let path = this.#pick(PATHS);
    if (random.below(6) === 0) path = `/v1/kv/default/${this.#key()}`;
    const parameters = Array.from({ length: Math.max(0, random.below(4) - 1) }, () => this.#pick(PARAMETERS));
    if (parameters.length > 0) path += `?${parameters.join('&')}`;
    const headers: [string, string][] = [];
    for (let count = random.below(3); count > 0; count -= 1) {
      const [name, choices] = HEADERS[random.below(HEADERS.length)] ?? ['X', ['y']];
      headers.push([name, this.#pick(choices)]);
    }
    const sends = method === 'PUT' || (method !== 'GET' && method !== 'HEAD' && random.below(8) === 0);
    const length = random.below(40) === 0 ? random.below(20_000) : random.below(200);
    return { method, path, headers, body: sends ? Buffer.from(random.bytes(length)) : undefined };
  }

  encode({ method, path, headers, body }: HttpInput): Buffer {
    const lines = [`${method} ${path} HTTP/1.1`, 'Host: fuzz', ...headers.map(([name, value]) => `${name}: ${value}`)];
    if (body !== undefined) lines.push(`Content-Length: ${body.length}`);
    return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), body ?? Buffer.alloc(0)]);
  }

  /** Bytes that may be anything. */
  mutated(): Buffer {
    const random = this.#random;
    if (random.below(10) === 0) return Buffer.from(random.bytes(random.below(200)));
    let bytes = this.encode(this.request());
    for (let changes = 1 + random.below(3); changes > 0; changes -= 1) {
      const at = random.below(bytes.length + 1);
      const to = Math.min(bytes.length, at + random.below(12));
      switch (random.below(4)) {
        case 0: {
          bytes = Buffer.from(bytes);
          if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
          break;
        }
        case 1:
          bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(to)]);
          break;
        case 2:
          bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from(this.#pick(TAMPER), 'latin1'), bytes.subarray(at)]);
          break;
        default:
          bytes = bytes.subarray(0, at);
      }
    }
    return bytes;
  }

  #key(): string {
    const random = this.#random;
    let key = '';
    for (let length = random.below(30); length > 0; length -= 1) {
      const byte = random.below(256);
      key += random.below(3) === 0 && byte > 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `%${byte.toString(16).padStart(2, '0')}`;
    }
    return random.below(30) === 0 ? 'k'.repeat(1000 + random.below(60)) : key;
  }

  #pick(from: readonly string[]): string {
    return from[this.#random.below(from.length)] ?? '';
  }
}
