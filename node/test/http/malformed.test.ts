import { createServer } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { HTTP_SERVER_OPTIONS } from '../../src/api/http/app.ts';
import { answerMalformed } from '../../src/api/http/malformed.ts';

const server = createServer(HTTP_SERVER_OPTIONS, (_, response) => response.end('fine')).on('clientError', answerMalformed);

beforeAll(() => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve)));
afterAll(() => new Promise((resolve) => server.close(resolve)));

async function send(request: string): Promise<string> {
  const address = server.address();
  const socket = connect(typeof address === 'object' && address !== null ? address.port : 0, '127.0.0.1');
  socket.write(request);
  return text(socket);
}

describe('what is no HTTP', () => {
  test.each([
    ['garbage', 'GARBAGE\r\n\r\n', 400],
    ['a header without a colon', 'GET /livez HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n', 400],
    ['two lengths', 'PUT /v1/kv/default/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx', 400],
    ['headers over the bound', `GET /livez HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(40_000)}\r\n\r\n`, 431],
  ])('%s is a problem document, and the connection ends', async (_, request, status) => {
    const [head = '', body = ''] = (await send(request)).split('\r\n\r\n');
    expect(head).toContain(`HTTP/1.1 ${String(status)} `);
    expect(head).toContain('Content-Type: application/problem+json');
    expect(JSON.parse(body)).toMatchObject({ status, code: 'REQUEST_INVALID' });
  });

  test('a good request is served by the same server', async () => {
    expect(await send('GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')).toContain('fine');
  });
});
