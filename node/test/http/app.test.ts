import { connect } from 'node:net';

import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';

import { CoterieError } from '../../src/base/errors.ts';
import { HttpServed } from './serve.ts';

let served: HttpServed;
beforeEach(async () => {
  served = await HttpServed.start();
});
afterEach(async () => {
  await served.stop();
});

const KEY = '/v1/kv/default/k';

/** What the server says to these pieces until it closes the connection; each piece is sent in a turn of its own. */
async function said(pieces: readonly string[]): Promise<string> {
  const socket = connect({ port: served.port, host: '127.0.0.1', noDelay: true });
  const text = new Promise<string>((resolve) => {
    let all = '';
    socket.on('data', (chunk: Buffer) => {
      all += chunk.toString();
    });
    socket.on('close', () => {
      resolve(all);
    });
  });
  for (const piece of pieces) {
    socket.write(piece);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return text;
}

function encoded(bytes: Buffer): string {
  return [...bytes].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');
}

describe('values', () => {
  test('put, get, head, delete', async () => {
    const put = await served.ask('PUT', KEY, { body: 'value' });
    expect([put.status, put.body.length]).toEqual([204, 0]);
    expect(put.headers['coterie-context']).toMatch(/^[A-Za-z0-9_-]+$/);
    const got = await served.ask('GET', KEY);
    expect([got.status, got.body.toString(), got.headers['content-type']]).toEqual([200, 'value', 'application/octet-stream']);
    expect(got.headers['coterie-context']).toBe(put.headers['coterie-context']);
    const head = await served.ask('HEAD', KEY);
    expect([head.status, head.body.length, head.headers['content-length']]).toEqual([200, 0, '5']);
    expect((await served.ask('DELETE', KEY)).status).toBe(204);
    const gone = await served.ask('GET', KEY);
    expect([gone.status, gone.json()['code']]).toEqual([404, 'NOT_FOUND']);
    expect(gone.headers['coterie-context']).toBeDefined();
    expect(gone.headers['content-type']).toBe('application/problem+json');
    const never = await served.ask('GET', '/v1/kv/default/never');
    expect([never.status, never.headers['coterie-context']]).toEqual([404, undefined]);
  });

  test('keys and values are any bytes', async () => {
    const bytes = fc.uint8Array({ minLength: 1, maxLength: 200 }).map((array) => Buffer.from(array));
    await fc.assert(
      fc.asyncProperty(bytes, fc.uint8Array({ maxLength: 2000 }), async (key, value) => {
        expect((await served.ask('PUT', `/v1/kv/default/${encoded(key)}`, { body: Buffer.from(value) })).status).toBe(204);
        const got = await served.ask('GET', `/v1/kv/default/${encoded(key)}`);
        expect(got.body.equals(Buffer.from(value))).toBe(true);
        // The same key over RESP's representation: one character a byte.
        const stored = await served.node.get('default', key.toString('latin1'), {});
        expect(stored.versions.length).toBe(1);
      }),
      { numRuns: 40 },
    );
  });

  test('a body in many pieces, and one without its length told first', async () => {
    const text = said([
      `PUT ${KEY} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n`,
      '2\r\nde\r\n0\r\n\r\n',
    ]);
    expect(await text).toMatch(/^HTTP\/1\.1 204 /);
    expect((await served.ask('GET', KEY)).body.toString()).toBe('abcde');
  });

  test('no body at all is an empty value', async () => {
    expect(await said([`PUT ${KEY} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`])).toMatch(/^HTTP\/1\.1 204 /);
    const got = await served.ask('GET', KEY);
    expect([got.status, got.body.length]).toEqual([200, 0]);
  });

  test('one connection serves bodies one after the other, pipelined, whole and in pieces, by path and by absolute address', async () => {
    const head = (target: string, length: number): string => `PUT ${target} HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\n\r\n`;
    const text = await said([
      `${head('/v1/kv/default/a', 1)}A${head('http://x/v1/kv/default/b', 1)}B${head('/v1/kv/default/c', 4)}CC`,
      `CC${head('/v1/kv/default/d', 0)}DELETE /v1/kv/default/d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
    ]);
    expect(text.match(/HTTP\/1\.1 204 No Content/g)).toHaveLength(5);
    const values: string[] = [];
    for (const key of ['a', 'b', 'c']) values.push((await served.ask('GET', `/v1/kv/default/${key}`)).body.toString());
    expect(values).toEqual(['A', 'B', 'CCCC']);
  });

  test('expiry', async () => {
    await served.ask('PUT', `${KEY}?ttlMs=5000`, { body: 'v' });
    expect((await served.ask('GET', KEY)).headers['coterie-expire-at-ms']).toBe(String(served.node.now + 5000));
    await served.ask('PUT', `${KEY}?expireAtMs=${served.node.now + 10}`, { body: 'v' });
    served.node.now += 10;
    expect((await served.ask('GET', KEY)).status).toBe(404);
    await served.ask('PUT', KEY, { body: 'v' });
    expect((await served.ask('GET', KEY)).headers['coterie-expire-at-ms']).toBeUndefined();
  });

  test('buckets are apart', async () => {
    await served.ask('PUT', KEY, { body: 'v' });
    expect((await served.ask('GET', '/v1/kv/other/k')).status).toBe(404);
  });
});

describe('siblings', () => {
  /** Two writes with one and the same context. */
  async function makeSiblings(): Promise<void> {
    const first = await served.ask('PUT', KEY, { body: 'old' });
    const headers = { 'Coterie-Context': String(first.headers['coterie-context']) };
    await served.ask('PUT', KEY, { headers, body: 'one\r\n--coterie-00000000' });
    const second = await served.ask('PUT', `${KEY}?ttlMs=1000`, { headers, body: Buffer.from([0, 255]) });
    expect(second.headers['coterie-siblings']).toBe('2');
  }

  test('as JSON', async () => {
    await makeSiblings();
    const got = await served.ask('GET', KEY, { headers: { Accept: 'application/json' } });
    expect([got.status, got.headers['content-type']]).toEqual([300, 'application/json; charset=utf-8']);
    expect(got.json()).toEqual({
      context: got.headers['coterie-context'],
      values: [
        { value: 'AP8=', expireAtMs: served.node.now + 1000, time: { ms: served.node.now, logical: 3 } },
        { value: Buffer.from('one\r\n--coterie-00000000').toString('base64'), expireAtMs: null, time: { ms: served.node.now, logical: 2 } },
      ],
    });
  });

  test('as parts, by default; no value contains the boundary', async () => {
    await makeSiblings();
    const got = await served.ask('GET', KEY);
    expect(got.status).toBe(300);
    const boundary = /^multipart\/mixed; boundary=(\S+)$/.exec(got.headers['content-type'] ?? '')?.[1] ?? '';
    expect(boundary).toBe('coterie-00000001');
    const parts = got.body.toString('latin1').split(`--${boundary}`);
    expect(parts.length).toBe(4);
    expect(parts[1]).toBe(
      `\r\nContent-Type: application/octet-stream\r\nContent-Length: 2\r\nCoterie-Expire-At-Ms: ${served.node.now + 1000}\r\n\r\n\0\xff\r\n`,
    );
    expect(parts[2]).toBe('\r\nContent-Type: application/octet-stream\r\nContent-Length: 23\r\n\r\none\r\n--coterie-00000000\r\n');
    expect(parts[3]).toBe('--\r\n');
    expect((await served.ask('HEAD', KEY)).status).toBe(300);
  });

  test('to a pipelined request that expects to be told to go on, head and parts stay together', async () => {
    await makeSiblings();
    // The first answer comes late, so that the second waits for it whole, behind its 100.
    served.node.delay = (operation) => (operation === 4 ? 50 : 0);
    const socket = connect(served.port, '127.0.0.1');
    const text = new Promise<string>((resolve) => {
      let all = '';
      socket.on('data', (chunk: Buffer) => (all += chunk.toString('latin1')));
      socket.on('close', () => {
        resolve(all);
      });
    });
    const get = (header: string): string => `GET ${KEY} HTTP/1.1\r\nHost: x\r\n${header}\r\n\r\n`;
    socket.write(`${get('A: b')}${get('Expect: 100-continue')}${get('Connection: close')}`);
    const answers = (await text).split('HTTP/1.1 300 Multiple Choices\r\n').slice(1);
    expect(answers.length).toBe(3);
    for (const answer of answers) expect(answer.split('\r\n\r\n')[1]).toMatch(/^--coterie-00000001\r\n/);
  });

  test('a write with their context leaves one', async () => {
    await makeSiblings();
    const { headers } = await served.ask('GET', KEY);
    await served.ask('PUT', KEY, { headers: { 'Coterie-Context': String(headers['coterie-context']) }, body: 'merged' });
    expect((await served.ask('GET', KEY)).body.toString()).toBe('merged');
  });
});

describe('failures', () => {
  test.each([
    ['BUSY', 503, 'none', '1'],
    ['NO_QUORUM', 503, 'none', '1'],
    ['TIMEOUT', 503, 'unknown', '1'],
    ['DISK_FULL', 503, 'none', '1'],
    ['NOT_SYNCHRONISED', 503, 'none', '1'],
    ['SIBLINGS_TOO_MANY', 409, 'none', undefined],
    ['OPERATION_ID_REUSED', 409, 'none', undefined],
    ['DISK_FAILED', 500, 'unknown', undefined],
    ['CONTEXT_FOREIGN', 400, 'none', undefined],
  ] as const)('%s', async (code, status, outcome, retryAfter) => {
    served.node.fail = () => new CoterieError(code, 'the reason');
    const wrote = await served.ask('PUT', KEY, { body: 'v' });
    expect([wrote.status, wrote.headers['retry-after']]).toEqual([status, retryAfter]);
    expect(wrote.headers['content-type']).toBe('application/problem+json');
    expect(wrote.json()).toMatchObject({ type: 'about:blank', status, code, detail: 'the reason', outcome });
    const read = await served.ask('GET', KEY);
    expect(read.status).toBe(status);
    expect(read.json()).not.toHaveProperty('outcome');
  });

  test('when to come back is what the cluster says', async () => {
    served.node.fail = () => new CoterieError('BUSY', 'the reason', { retryAfterMs: 2500 });
    const { headers, json } = await served.ask('GET', KEY);
    expect([headers['retry-after'], json()['retryAfterMs']]).toEqual(['3', 2500]);
  });

  test('the bodies that come in at the same time are bounded together', async () => {
    const small = await HttpServed.start({ bodyBytes: 10 });
    try {
      const slow = connect(small.port, '127.0.0.1');
      slow.write('PUT /v1/kv/default/slow HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nhalf');
      let refused = await small.ask('PUT', KEY, { body: 'value' });
      // The first one's head may still be on its way.
      while (refused.status === 204) refused = await small.ask('PUT', KEY, { body: 'value' });
      expect([refused.status, refused.json()['code'], refused.json()['outcome']]).toEqual([503, 'BUSY', 'none']);
      const answered = new Promise((resolve) => slow.once('data', resolve));
      slow.write('half');
      await answered;
      slow.destroy();
      expect((await small.ask('PUT', KEY, { body: 'value' })).status).toBe(204);
      // So is the share of a client that goes away.
      const gone = connect(small.port, '127.0.0.1');
      gone.write('PUT /v1/kv/default/gone HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nhalf');
      do refused = await small.ask('PUT', KEY, { body: 'value' });
      while (refused.status === 204);
      gone.destroy();
      do refused = await small.ask('PUT', KEY, { body: 'value' });
      while (refused.status === 503);
      expect(refused.status).toBe(204);
    } finally {
      await small.stop();
    }
  });

  test('what is refused under overload costs no more than its path', async () => {
    served.node.overload = new CoterieError('BUSY', 'the reason', { outcome: 'none', retryAfterMs: 1600 });
    const problem = {
      type: 'about:blank',
      title: 'Service Unavailable',
      status: 503,
      code: 'BUSY',
      detail: 'the reason',
      retryAfterMs: 1600,
    };
    for (const method of ['GET', 'PUT', 'GET', 'PUT', 'DELETE']) {
      const { status, headers, json } = await served.ask(method, KEY, method === 'PUT' ? { body: 'v'.repeat(5000) } : {});
      expect([status, headers['retry-after'], headers['content-type']]).toEqual([503, '2', 'application/problem+json']);
      expect(json()).toEqual(method === 'GET' ? problem : { ...problem, outcome: 'none' });
    }
    expect(served.node.operations).toBe(0);
    // Each is held for a tenth of a second, so that nobody asks again at once.
    expect(served.waits.reduce((sum, ms) => sum + ms, 0)).toBe(5 * 100);
    // Who looks after the node is not shed.
    expect((await served.ask('GET', '/livez')).status).toBe(200);
    expect((await served.ask('GET', '/metrics')).body.toString()).toMatch(/coterie_http_responses_total\{method="PUT",status="503"\} 2/);
    served.node.overload = undefined;
    expect((await served.ask('PUT', KEY, { body: 'v' })).status).toBe(204);
  });

  test('what nobody expected tells the client nothing, and the log all', async () => {
    served.node.fail = () => {
      throw new TypeError('secret detail');
    };
    const got = await served.ask('GET', KEY);
    expect([got.status, got.json()['code']]).toEqual([500, 'INTERNAL']);
    expect(got.body.toString()).not.toMatch(/secret/);
    expect(served.logged[0]?.fields?.['error']).toBe('TypeError: secret detail');
  });

  test('paths and methods that are not there', async () => {
    const nowhere = await served.ask('GET', '/v2/nothing');
    expect([nowhere.status, nowhere.json()['code']]).toEqual([404, 'NOT_FOUND']);
    const posted = await served.ask('POST', KEY);
    expect([posted.status, posted.headers.allow]).toEqual([405, 'DELETE, GET, HEAD, PUT']);
    expect((await served.ask('PUT', '/v1/cluster')).headers.allow).toBe('GET, HEAD');
  });

  test('a client that goes away in the middle of a body leaves the server well', async () => {
    const socket = connect(served.port, '127.0.0.1');
    await new Promise((resolve) => socket.once('connect', resolve));
    socket.write(`PUT ${KEY} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc`);
    await new Promise((resolve) => setImmediate(resolve));
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.destroy();
    await closed;
    expect((await served.ask('GET', KEY)).status).toBe(404);
  });
});

describe('operators', () => {
  test('the cluster', async () => {
    const { status, json } = await served.ask('GET', '/v1/cluster');
    expect(status).toBe(200);
    expect(json()).toMatchObject({
      epoch: 1,
      n: 1,
      self: 'node-1',
      members: [
        {
          id: 'ffffffffffffffffffffffffffffffff',
          name: 'node-1',
          address: '127.0.0.1:7401',
          endpoints: { peer: '127.0.0.1:7401', resp: '127.0.0.1:6401', http: '127.0.0.1:8401' },
          zone: 'zone-1',
          rack: 'rack-1',
          state: 'self',
        },
      ],
    });
  });

  test('the ring', async () => {
    expect((await served.ask('GET', '/v1/ring')).json()).toMatchObject({ q: 16, members: ['node-1'], tokenHash: 'halfsiphash-2-4' });
  });

  test("this node's own copy", async () => {
    await served.ask('PUT', KEY, { body: 'v' });
    const { json } = await served.ask('GET', '/v1/admin/replica/default/k');
    expect(json()).toMatchObject({ node: 'node-1', digest: '00000000000000ff', versions: [{ value: 'dg==', expireAtMs: null }] });
    const none = await served.ask('GET', '/v1/admin/replica/default/none');
    expect([none.status, none.json()]).toEqual([200, { node: 'node-1', digest: null, versions: [], object: null }]);
    expect((await served.ask('GET', '/v1/admin/replica/nosuch/k')).json()['code']).toBe('BUCKET_UNKNOWN');
  });

  test('repair, where every key has one replica', async () => {
    const { status, json } = await served.ask('GET', '/v1/admin/repair');
    expect([status, json()]).toMatchObject([200, { node: 'node-1', enabled: false, owed: 0, requested: null, members: [] }]);
    const asked = await served.ask('POST', '/v1/admin/repair');
    expect([asked.status, asked.json()['code']]).toEqual([400, 'REQUEST_INVALID']);
    for (const wrong of ['partitions=x', 'partitions=1-', 'scrub=yes', 'all=true', 'partitions=1&partitions=2']) {
      expect([wrong, (await served.ask('POST', `/v1/admin/repair?${wrong}`)).json()['code']]).toEqual([wrong, 'REQUEST_INVALID']);
    }
    expect((await served.ask('PUT', '/v1/admin/repair')).headers.allow).toBe('GET, HEAD, POST');
  });

  test('health', async () => {
    expect((await served.ask('GET', '/livez')).status).toBe(200);
    expect((await served.ask('GET', '/readyz')).status).toBe(200);
    served.node.readiness = { ready: false, reasons: ['copying partitions: 3 of 16'] };
    const { status, json } = await served.ask('GET', '/readyz');
    expect([status, json()]).toEqual([503, { ready: false, reasons: ['copying partitions: 3 of 16'] }]);
  });

  test('metrics', async () => {
    await served.ask('GET', '/livez');
    const { headers, body } = await served.ask('GET', '/metrics');
    expect(headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(body.toString()).toMatch(/coterie_http_responses_total\{method="GET",status="200"\} 1/);
  });

  test('statistics', async () => {
    expect((await served.ask('GET', '/v1/admin/stats')).json()).toMatchObject({ node: 'node-1', boot: 1 });
  });
});

describe('access', () => {
  const credentials = [
    { name: 'root', secret: Buffer.from('first secret'), admin: true },
    { name: 'app', secret: Buffer.from('second'), admin: false },
  ];
  const basic = (name: string, secret: string): { headers: Record<string, string> } => ({
    headers: { Authorization: `Basic ${Buffer.from(`${name}:${secret}`).toString('base64')}` },
  });

  test('basic and bearer', async () => {
    const guarded = await HttpServed.start({ credentials });
    try {
      const anonymous = await guarded.ask('GET', KEY);
      expect([anonymous.status, anonymous.json()['code']]).toEqual([401, 'UNAUTHORIZED']);
      expect(anonymous.headers['www-authenticate']).toMatch(/^Basic realm="coterie"/);
      expect((await guarded.ask('GET', KEY, basic('app', 'second'))).status).toBe(404);
      expect((await guarded.ask('GET', KEY, { headers: { Authorization: 'Bearer second' } })).status).toBe(404);
      for (const wrong of ['Basic !', 'Basic', 'Bearer first', 'Digest x', '', 'Basic YXBw']) {
        expect((await guarded.ask('GET', KEY, { headers: { Authorization: wrong } })).status).toBe(401);
      }
      expect((await guarded.ask('GET', KEY, basic('app', 'first secret'))).status).toBe(401);
      const forbidden = await guarded.ask('GET', '/v1/admin/stats', basic('app', 'second'));
      expect([forbidden.status, forbidden.json()['code']]).toEqual([403, 'FORBIDDEN']);
      expect((await guarded.ask('GET', '/v1/admin/stats', basic('root', 'first secret'))).status).toBe(200);
      expect((await guarded.ask('GET', '/livez')).status).toBe(200);
      expect((await guarded.ask('GET', '/readyz')).status).toBe(200);
      expect((await guarded.ask('GET', '/metrics')).status).toBe(401);
      expect(JSON.stringify(guarded.logged) + guarded.metrics.expose()).not.toMatch(/first|second/);
    } finally {
      await guarded.stop();
    }
  });
});
