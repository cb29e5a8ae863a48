import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { DevCluster } from '../cluster/dev-cluster.ts';
import { ask, type Asked } from '../http/serve.ts';
import { request } from '../resp/drive.ts';
import { RawClient } from './raw-client.ts';

const KEY_TOO_LONG = 'k'.repeat(1025);
const OPERATION = '000102030405060708090a0b0c0d0e0f';

/** One wrong request, said in both protocols, and what each answers. */
interface BadInput {
  readonly name: string;
  readonly http?: readonly [method: string, path: string, asked: Asked, status: number, code: string, detail: RegExp];
  readonly resp?: readonly [words: readonly (string | Buffer)[], reply: RegExp];
}

/** A context of another key of the same cluster. */
let foreign = '';

function badInputs(): readonly BadInput[] {
  return [
    {
      name: 'an empty key',
      http: ['PUT', '/v1/kv/default/', { body: 'v' }, 400, 'KEY_EMPTY', /a key has 1 to 1024 bytes/],
      resp: [['SET', '', 'v'], /^-ERR KEY_EMPTY a key has 1 to 1024 bytes; this one is empty\r\n$/],
    },
    {
      name: 'an empty key, read',
      http: ['GET', '/v1/kv/default/', {}, 400, 'KEY_EMPTY', /a key has 1 to 1024 bytes/],
      resp: [['MGET', 'a', ''], /^-ERR KEY_EMPTY /],
    },
    {
      name: 'an oversized key',
      http: ['GET', `/v1/kv/default/${KEY_TOO_LONG}`, {}, 400, 'KEY_TOO_LONG', /this one has 1025/],
      resp: [['GET', KEY_TOO_LONG], /^-ERR KEY_TOO_LONG a key has 1 to 1024 bytes; this one has 1025\r\n$/],
    },
    {
      name: 'a value over the limit',
      http: ['PUT', '/v1/kv/default/k', { body: Buffer.alloc(10_240) }, 413, 'PAIR_TOO_LARGE', /at most 10240 bytes; these have 10241/],
      resp: [
        ['SET', 'k', Buffer.alloc(10_240)],
        /^-ERR PAIR_TOO_LARGE key and value together have at most 10240 bytes; these have 10241\r\n$/,
      ],
    },
    {
      name: 'a value far over the limit',
      http: ['PUT', '/v1/kv/default/k', { body: Buffer.alloc(6_000_000) }, 413, 'PAIR_TOO_LARGE', /at most 10240 bytes/],
      resp: [['SET', 'k', Buffer.alloc(6_000_000)], /^-ERR PAIR_TOO_LARGE /],
    },
    {
      name: 'R of none',
      http: ['GET', '/v1/kv/default/k?r=0', {}, 400, 'QUORUM_INVALID', /1 to 3/],
      resp: [['KV.GET', 'k', 'R', '0'], /^-ERR QUORUM_INVALID .*1 to 3/],
    },
    {
      name: 'R above N',
      http: ['GET', '/v1/kv/default/k?r=4', {}, 400, 'QUORUM_INVALID', /1 to 3/],
      resp: [['KV.GET', 'k', 'R', '4'], /^-ERR QUORUM_INVALID .*1 to 3/],
    },
    {
      name: 'W above N',
      http: ['PUT', '/v1/kv/default/k?w=4', { body: 'v' }, 400, 'QUORUM_INVALID', /1 to 3/],
      resp: [['KV.PUT', 'k', 'v', 'W', '4'], /^-ERR QUORUM_INVALID .*1 to 3/],
    },
    {
      name: 'W that is no number',
      http: ['DELETE', '/v1/kv/default/k?w=two', {}, 400, 'QUORUM_INVALID', /w is a whole number/],
      resp: [['KV.DEL', 'k', 'W', 'two'], /^-ERR QUORUM_INVALID /],
    },
    {
      name: 'a quorum that is neither strict nor sloppy',
      http: ['GET', '/v1/kv/default/k?quorum=most', {}, 400, 'QUORUM_INVALID', /strict or sloppy/],
      resp: [['KV.GET', 'k', 'QUORUM', 'most'], /^-ERR QUORUM_INVALID the quorum is strict or sloppy\r\n$/],
    },
    {
      name: 'a time-out out of range',
      http: ['GET', '/v1/kv/default/k?timeoutMs=60001', {}, 400, 'TIMEOUT_INVALID', /60000/],
      resp: [['KV.GET', 'k', 'TIMEOUT', '0'], /^-ERR TIMEOUT_INVALID .*60000/],
    },
    {
      name: 'an unknown bucket',
      http: ['GET', '/v1/kv/nosuch/k', {}, 404, 'BUCKET_UNKNOWN', /bucket/],
      resp: [['SELECT', 'nosuch'], /^-ERR BUCKET_UNKNOWN there is no bucket of that name/],
    },
    {
      name: 'an unknown bucket, written',
      http: ['PUT', '/v1/kv/nosuch/k', { body: 'v' }, 404, 'BUCKET_UNKNOWN', /bucket/],
      resp: [['SELECT', '7'], /^-ERR DB index is out of range\r\n$/],
    },
    {
      name: 'a context that is no base64url',
      http: ['PUT', '/v1/kv/default/k', { headers: { 'Coterie-Context': 'no+context=' }, body: 'v' }, 400, 'CONTEXT_BROKEN', /base64url/],
      resp: [['KV.PUT', 'k', 'v', 'CONTEXT', 'no+context='], /^-ERR CONTEXT_BROKEN .*base64url/],
    },
    {
      name: 'a broken context',
      http: [
        'PUT',
        '/v1/kv/default/k',
        { headers: { 'Coterie-Context': `${foreign.slice(0, -4)}AAAA` }, body: 'v' },
        400,
        'CONTEXT_BROKEN',
        /context/,
      ],
      resp: [['KV.DEL', 'k', 'CONTEXT', 'AAAAAAAA'], /^-ERR CONTEXT_BROKEN /],
    },
    {
      name: 'a context of another key',
      http: ['DELETE', '/v1/kv/default/k', { headers: { 'Coterie-Context': foreign } }, 400, 'CONTEXT_FOREIGN', /context/],
      resp: [['KV.PUT', 'k', 'v', 'CONTEXT', foreign], /^-ERR CONTEXT_FOREIGN /],
    },
    {
      name: 'an operation id that is none',
      http: ['PUT', '/v1/kv/default/k', { headers: { 'Coterie-Operation-Id': '42' }, body: 'v' }, 400, 'OPERATION_ID_INVALID', /16 bytes/],
      resp: [['KV.PUT', 'k', 'v', 'ID', '42'], /^-ERR OPERATION_ID_INVALID .*16 bytes/],
    },
    {
      name: 'an operation id used for another body',
      http: [
        'PUT',
        '/v1/kv/default/reused',
        { headers: { 'Coterie-Operation-Id': OPERATION }, body: 'other' },
        409,
        'OPERATION_ID_REUSED',
        /operation id/,
      ],
      resp: [['KV.PUT', 'reused', 'another', 'ID', OPERATION], /^-ERR OPERATION_ID_REUSED /],
    },
    { name: 'a percent-encoding error', http: ['GET', '/v1/kv/default/a%zz', {}, 400, 'ENCODING_INVALID', /hexadecimal/] },
    { name: 'a cut percent-encoding', http: ['PUT', '/v1/kv/default/a%2', { body: 'v' }, 400, 'ENCODING_INVALID', /hexadecimal/] },
    { name: 'a percent-encoding error in the bucket', http: ['GET', '/v1/kv/%/k', {}, 400, 'ENCODING_INVALID', /hexadecimal/] },
    { name: 'a / in a key', http: ['GET', '/v1/kv/default/a/b', {}, 400, 'ENCODING_INVALID', /%2F/] },
    {
      name: 'an unknown option',
      http: ['GET', '/v1/kv/default/k?R=1', {}, 400, 'REQUEST_INVALID', /unknown query parameter; here they are r, quorum, timeoutMs/],
      resp: [['KV.GET', 'k', 'NOSUCH', '1'], /^-ERR syntax error\r\n$/],
    },
    {
      name: 'an option twice',
      http: ['GET', '/v1/kv/default/k?r=1&r=2', {}, 400, 'REQUEST_INVALID', /r is given twice/],
      resp: [['KV.GET', 'k', 'R', '1', 'R', '2'], /^-ERR syntax error\r\n$/],
    },
    {
      name: 'an option of writes on a read',
      http: ['GET', '/v1/kv/default/k?w=1', {}, 400, 'REQUEST_INVALID', /unknown query parameter/],
      resp: [['KV.GET', 'k', 'W', '1'], /^-ERR syntax error\r\n$/],
    },
    {
      name: 'an expiry that is none',
      http: ['PUT', '/v1/kv/default/k?ttlMs=soon', { body: 'v' }, 400, 'EXPIRY_INVALID', /ttlMs is a whole number/],
      resp: [['SET', 'k', 'v', 'EX', 'soon'], /^-ERR value is not an integer or out of range\r\n$/],
    },
    {
      name: 'an expiry of nothing',
      http: ['PUT', '/v1/kv/default/k?ttlMs=0', { body: 'v' }, 400, 'EXPIRY_INVALID', /at least 1/],
      resp: [['SET', 'k', 'v', 'PX', '0'], /^-ERR invalid expire time in 'set' command\r\n$/],
    },
    {
      name: 'two expiries',
      http: ['PUT', '/v1/kv/default/k?ttlMs=1&expireAtMs=1', { body: 'v' }, 400, 'EXPIRY_INVALID', /not both/],
      resp: [['KV.PUT', 'k', 'v', 'EX', '1', 'PX', '1'], /^-ERR syntax error\r\n$/],
    },
    {
      name: 'an expiry after the latest',
      http: ['PUT', '/v1/kv/default/k?expireAtMs=9007199254740991', { body: 'v' }, 400, 'EXPIRY_INVALID', /2\^48/],
      resp: [['SET', 'k', 'v', 'PXAT', '9007199254740991'], /^-ERR invalid expire time in 'set' command\r\n$/],
    },
    {
      name: 'what is not offered',
      http: ['POST', '/v1/kv/default/k', { body: 'v' }, 405, 'REQUEST_INVALID', /this path takes DELETE, GET, HEAD, PUT/],
      resp: [['SETNX', 'k', 'v'], /^-ERR UNSUPPORTED SETNX is not offered: .*consensus/],
    },
    {
      name: 'a cursor that is none',
      resp: [['SCAN', 'x'], /^-ERR invalid cursor\r\n$/],
    },
  ];
}

let cluster: DevCluster;
let resp: RawClient;
beforeAll(async () => {
  cluster = await DevCluster.start({ nodes: 3, zones: 3 });
  const { address } = cluster.member(0);
  resp = await RawClient.connect(address.respPort, address.host);
  const other = await ask(address.httpPort, 'PUT', '/v1/kv/default/other', { body: 'v' });
  foreign = String(other.headers['coterie-context']);
  await ask(address.httpPort, 'PUT', '/v1/kv/default/reused', { headers: { 'Coterie-Operation-Id': OPERATION }, body: 'first' });
  await ask(address.httpPort, 'PUT', '/v1/kv/default/k', { body: 'before' });
}, 60_000);
afterAll(async () => {
  resp.close();
  await cluster.stop();
});

describe('bad input', () => {
  test('answers its own code and text over HTTP, with a write known not to have happened', async () => {
    const { httpPort } = cluster.member(0).address;
    for (const { name, http } of badInputs()) {
      if (http === undefined) continue;
      const [method, path, asked, status, code, detail] = http;
      const answer = await ask(httpPort, method, path, asked);
      const problem = answer.json();
      expect({
        name,
        status: answer.status,
        type: answer.headers['content-type'],
        code: problem['code'],
        outcome: problem['outcome'],
      }).toEqual({
        name,
        status,
        type: 'application/problem+json',
        code,
        outcome: method === 'GET' ? undefined : 'none',
      });
      expect(problem['detail']).toMatch(detail);
    }
  });

  test('answers its own code and text over the Redis protocol, and the connection goes on', async () => {
    for (const { name, resp: words } of badInputs()) {
      if (words === undefined) continue;
      resp.send(request(...words[0]));
      const reply = await resp.reply();
      expect({ name, reply, fits: words[1].test(reply) }).toEqual({ name, reply, fits: true });
    }
    resp.send(request('GET', 'k'));
    expect(await resp.reply()).toBe('$6\r\nbefore\r\n');
  });

  test('through any node, none of it had an effect', async () => {
    for (const index of [0, 1, 2]) {
      const answer = await ask(cluster.member(index).address.httpPort, 'GET', '/v1/kv/default/k');
      expect(answer.body.toString()).toBe('before');
      expect((await ask(cluster.member(index).address.httpPort, 'GET', '/v1/kv/default/reused')).body.toString()).toBe('first');
    }
  });

  test('a retry with its operation id is the same write, through any node', async () => {
    const headers = { 'Coterie-Operation-Id': '00000000-0000-4000-8000-000000000001' };
    const tokens = new Set<string>();
    for (const index of [0, 1, 2]) {
      const answer = await ask(cluster.member(index).address.httpPort, 'PUT', '/v1/kv/default/once', { headers, body: 'v' });
      expect(answer.status).toBe(204);
      tokens.add(String(answer.headers['coterie-context']));
    }
    expect(tokens.size).toBe(1);
  });

  test('siblings over both protocols', async () => {
    const { httpPort } = cluster.member(0).address;
    const first = await ask(httpPort, 'PUT', '/v1/kv/default/siblings', { body: 'old' });
    const context = String(first.headers['coterie-context']);
    resp.send(request('KV.PUT', 'siblings', 'one', 'CONTEXT', context));
    expect(await resp.reply()).toMatch(/^\$\d+\r\n/);
    // A context of the second would cover the first, which its writer has not seen.
    resp.send(request('KV.PUT', 'siblings', 'two', 'CONTEXT', context));
    expect(await resp.reply()).toBe('$-1\r\n');
    const got = await ask(httpPort, 'GET', '/v1/kv/default/siblings', { headers: { Accept: 'application/json' } });
    expect(got.status).toBe(300);
    const values = got.json()['values'] as readonly { readonly value: string }[];
    expect(values.map(({ value }) => Buffer.from(value, 'base64').toString())).toEqual(['two', 'one']);
    resp.send(request('KV.GET', 'siblings'));
    expect(await resp.reply()).toMatch(/\*2\r\n\$3\r\ntwo\r\n\$3\r\none\r\n$/);
    resp.send(request('GET', 'siblings'));
    expect(await resp.reply()).toBe('$3\r\ntwo\r\n');
    resp.send(request('KV.PUT', 'siblings', 'merged', 'CONTEXT', String(got.headers['coterie-context']), 'W', '3', 'TIMEOUT', '2000'));
    expect(await resp.reply()).toMatch(/^\$\d+\r\n/);
    resp.send(request('KV.GET', 'siblings', 'R', '3', 'QUORUM', 'strict'));
    expect(await resp.reply()).toMatch(/\*1\r\n\$6\r\nmerged\r\n$/);
  });
});
