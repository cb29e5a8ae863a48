/** How the load generator speaks: request bytes, and where the first reply in received bytes ends. */

export interface Protocol {
  /** Sent first on every connection; it has one reply. */
  readonly greeting?: Buffer;
  get(key: string): Buffer;
  set(key: string, value: Buffer): Buffer;
  /** Length of the reply that starts at `from`; 0 while it is incomplete. @throws Error on a reply that is a failure */
  replyLength(bytes: Buffer, from: number): number;
}

const CR = 13;
const CRLF = Buffer.from('\r\n');

const resp: Protocol = {
  get: (key) => Buffer.from(`*2\r\n$3\r\nGET\r\n$${key.length}\r\n${key}\r\n`, 'latin1'),
  set: (key, value) =>
    Buffer.concat([Buffer.from(`*3\r\n$3\r\nSET\r\n$${key.length}\r\n${key}\r\n$${value.length}\r\n`, 'latin1'), value, CRLF]),
  replyLength: (bytes, from) => {
    const end = bytes.indexOf(CR, from);
    if (end < 0 || end + 1 >= bytes.length) return 0;
    const first = bytes[from];
    if (first === 0x2d) throw new Error(`the server answered ${bytes.toString('latin1', from, end)}`);
    if (first !== 0x24) return end + 2 - from;
    const length = Number(bytes.toString('latin1', from + 1, end));
    const whole = end + 2 + (length < 0 ? 0 : length + 2) - from;
    return from + whole <= bytes.length ? whole : 0;
  },
};

function post(path: string, body: string): Buffer {
  return Buffer.from(
    `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    'latin1',
  );
}

/** Values are few and used again and again: the generator's own work stays small. */
const encoded = new WeakMap<Buffer, string>();

function base64(value: Buffer): string {
  const known = encoded.get(value);
  if (known !== undefined) return known;
  const text = value.toString('base64');
  encoded.set(value, text);
  return text;
}

const keyText = (key: string): string => Buffer.from(key, 'latin1').toString('base64');
const HEAD_END = Buffer.from('\r\n\r\n');

/** Coterie's bucket `strong`. */
const respStrong: Protocol = { ...resp, greeting: Buffer.from('*2\r\n$6\r\nSELECT\r\n$6\r\nstrong\r\n', 'latin1') };

/** etcd v3 by its JSON gateway; reads are serializable: any member answers from its own copy. */
const etcd: Protocol = {
  get: (key) => post('/v3/kv/range', `{"key":"${keyText(key)}","serializable":true}`),
  set: (key, value) => post('/v3/kv/put', `{"key":"${keyText(key)}","value":"${base64(value)}"}`),
  replyLength: (bytes, from) => {
    const end = bytes.indexOf(HEAD_END, from);
    if (end < 0) return 0;
    const head = bytes.toString('latin1', from, end);
    if (!head.startsWith('HTTP/1.1 200')) throw new Error(`the server answered ${head.split('\r\n')[0] ?? ''}`);
    const length = Number(/content-length: *(\d+)/i.exec(head)?.[1] ?? Number.NaN);
    if (Number.isNaN(length)) {
      const last = bytes.indexOf('\r\n0\r\n\r\n', end, 'latin1');
      return last < 0 ? 0 : last + 7 - from;
    }
    const whole = end + 4 + length - from;
    return from + whole <= bytes.length ? whole : 0;
  },
};

const http: Protocol = {
  get: (key) => Buffer.from(`GET /v1/kv/default/${key} HTTP/1.1\r\nHost: localhost\r\n\r\n`, 'latin1'),
  set: (key, value) =>
    Buffer.concat([
      Buffer.from(`PUT /v1/kv/default/${key} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${value.length}\r\n\r\n`, 'latin1'),
      value,
    ]),
  replyLength: (bytes, from) => etcd.replyLength(bytes, from),
};

/** The same with linearizable reads, which the leader confirms with a majority. */
const etcdLinearizable: Protocol = { ...etcd, get: (key) => post('/v3/kv/range', `{"key":"${keyText(key)}"}`) };

export const PROTOCOLS = { resp, 'resp-strong': respStrong, etcd, 'etcd-linearizable': etcdLinearizable, http } as const;
