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
    case 'unavailable':
    case 'timeout':
    case 'full':
      return 503;
    case 'internal':
      return 500;
  }
}

export function changesKeys(method: string): boolean {
  return method === 'PUT' || method === 'DELETE' || method === 'POST';
}

/** `Retry-After` counts whole seconds, and 0 would mean at once. */
export function retryAfterSeconds(retryAfterMs: number = RETRY_AFTER_MS): string {
  return String(Math.max(1, Math.ceil(retryAfterMs / 1000)));
}

/** @param writes the request may change keys */
export function problemOf(error: CoterieError, status: number, writes: boolean): ProblemDocument {
  const retryAfterMs = status === 503 ? (error.retryAfterMs ?? RETRY_AFTER_MS) : undefined;
  return {
    type: 'about:blank',
    title: TITLES[status] ?? 'Error',
    status,
    code: error.code,
    detail: error.message,
    ...(writes ? { outcome: writeOutcome(error) } : {}),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
}

/** Answers with the error, in place of whatever was there. */
export function answerProblem(ctx: Context, error: CoterieError, status: number = statusOf(error.code)): void {
  const problem = problemOf(error, status, changesKeys(ctx.method));
  ctx.status = status;
  if (problem.retryAfterMs !== undefined) ctx.set('Retry-After', retryAfterSeconds(problem.retryAfterMs));
  if (status === 401) ctx.set('WWW-Authenticate', 'Basic realm="coterie", charset="UTF-8", Bearer realm="coterie"');
  ctx.type = 'application/problem+json';
  ctx.body = JSON.stringify(problem);
}
