/** Answers what is no HTTP, before there is a request to route: a problem document like any other failure, then the connection ends. */

import type { ErrorCode } from '../../base/errors.ts';

/** The part of a socket that is needed, so that it takes what `node:http` gives to 'clientError'. */
export interface BrokenConnection {
  readonly writable: boolean;
  end(text: string): unknown;
  destroy(): unknown;
}

interface Answer {
  readonly status: number;
  readonly title: string;
  readonly code: ErrorCode;
  readonly detail: string;
}

const NOT_HTTP: Answer = {
  status: 400,
  title: 'Bad Request',
  code: 'REQUEST_INVALID',
  detail: 'this is not a well-formed HTTP/1.1 request',
};
const HEADERS_TOO_LARGE: Answer = {
  status: 431,
  title: 'Request Header Fields Too Large',
  code: 'REQUEST_INVALID',
  detail: 'path and headers together have at most 32768 bytes',
};
const TOO_SLOW: Answer = {
  status: 408,
  title: 'Request Timeout',
  code: 'REQUEST_INVALID',
  detail: 'headers must be complete within 10 seconds, a request within 60',
};

/** For the server's event 'clientError'. */
export function answerMalformed(error: Error, connection: BrokenConnection): void {
  const code = 'code' in error ? error.code : undefined;
  if (!connection.writable || code === 'ECONNRESET') {
    connection.destroy();
    return;
  }
  const answer = code === 'HPE_HEADER_OVERFLOW' ? HEADERS_TOO_LARGE : code === 'ERR_HTTP_REQUEST_TIMEOUT' ? TOO_SLOW : NOT_HTTP;
  const body = `${JSON.stringify({ type: 'about:blank', ...answer })}\n`;
  connection.end(
    `HTTP/1.1 ${String(answer.status)} ${answer.title}\r\nContent-Type: application/problem+json\r\n` +
      `Content-Length: ${String(body.length)}\r\nConnection: close\r\n\r\n${body}`,
  );
}
