/** Errors as problem documents (RFC 9457) with a stable `code`. */

import type { Context } from 'koa';

import type { CoterieError, ErrorCode } from '../../base/errors.ts';
import type { ProblemDocument } from '../admin/documents.ts';
import { failureKind, writeOutcome } from '../failure.ts';

const TITLES: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  409: 'Conflict',
  413: 'Content Too Large',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
};

/** When to come back where the error does not say. */
const RETRY_AFTER_MS = 1000;

export function statusOf(code: ErrorCode): number {
  if (code === 'BUCKET_UNKNOWN' || code === 'NOT_FOUND') return 404;
  if (code === 'PAIR_TOO_LARGE') return 413;
  switch (failureKind(code)) {
    case 'request':
      return 400;
    case 'access':
      return code === 'UNAUTHORIZED' ? 401 : 403;
    case 'conflict':
      return 409;
    case 'busy':
      return code === 'BUSY' ? 429 : 503;
    case 'unavailable':
    case 'timeout':
    case 'full':
      return 503;
    case 'internal':
      return 500;
  }
}

/** Answers with the error, in place of whatever was there. */
export function answerProblem(ctx: Context, error: CoterieError, status: number = statusOf(error.code)): void {
  const writes = ctx.method === 'PUT' || ctx.method === 'DELETE' || ctx.method === 'POST';
  const retryAfterMs = status === 429 || status === 503 ? (error.retryAfterMs ?? RETRY_AFTER_MS) : undefined;
  const problem: ProblemDocument = {
    type: 'about:blank',
    title: TITLES[status] ?? 'Error',
    status,
    code: error.code,
    detail: error.message,
    ...(writes ? { outcome: writeOutcome(error) } : {}),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
  ctx.status = status;
  if (retryAfterMs !== undefined) ctx.set('Retry-After', String(Math.max(1, Math.ceil(retryAfterMs / 1000))));
  if (status === 401) ctx.set('WWW-Authenticate', 'Basic realm="coterie", charset="UTF-8", Bearer realm="coterie"');
  ctx.type = 'application/problem+json';
  ctx.body = JSON.stringify(problem);
}
