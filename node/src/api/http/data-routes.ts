/** `GET HEAD PUT DELETE /v1/kv/{bucket}/{key}`. */

import { Buffer } from 'node:buffer';

import type Router from '@koa/router';
import type { Context } from 'koa';

import { CoterieError } from '../../base/errors.ts';
import type { KvNode, ReadResult, WriteOptions, WriteResult } from '../../runtime/kv.ts';
import { pairTooLarge } from '../limits.ts';
import { isPromise } from '../maybe.ts';
import { contextFromText, contextToText, operationIdFromText } from '../tokens.ts';
import { readBody } from './body.ts';
import { deleteOptions, putOptions, readOptions } from './parameters.ts';
import { answerProblem } from './problem.ts';
import { EXPIRY_HEADER, siblingsJson, siblingsMultipart } from './siblings.ts';
import { targetOf } from './target.ts';

export type DataNode = Pick<KvNode, 'limits' | 'get' | 'put' | 'delete' | 'nowMs'>;

export const CONTEXT_HEADER = 'Coterie-Context';
export const OPERATION_HEADER = 'Coterie-Operation-Id';
/** How many values the key has after a write, where there are several. */
export const SIBLINGS_HEADER = 'Coterie-Siblings';

const PREFIX = '/v1/kv';
const PATH = /^\/v1\/kv(?:\/|$)/;

export function addDataRoutes(router: Router, node: DataNode): void {
  router.get(PATH, (ctx) => read(ctx, node));
  router.put(PATH, (ctx) => write(ctx, node));
  router.delete(PATH, (ctx) => remove(ctx, node));
}

function read(ctx: Context, node: DataNode): Promise<void> | void {
  const { bucket, key } = targetOf(ctx.path, PREFIX.length, node.limits);
  const answer = node.get(bucket, key, readOptions(ctx.querystring));
  if (isPromise(answer)) return answer.then((result) => {
    answerRead(ctx, result);
  });
  answerRead(ctx, answer);
}

function answerRead(ctx: Context, { versions, context }: ReadResult): void {
  const token = context === undefined ? undefined : contextToText(context);
  if (token !== undefined) ctx.set(CONTEXT_HEADER, token);
  const newest = versions[0];
  if (newest === undefined) {
    const text = context === undefined ? 'the key was never written' : 'the key is deleted or expired';
    answerProblem(ctx, new CoterieError('NOT_FOUND', text));
    return;
  }
  if (versions.length === 1) {
    if (newest.expireAtMs !== 0) ctx.set(EXPIRY_HEADER, String(newest.expireAtMs));
    ctx.type = 'application/octet-stream';
    // The value is borrowed for this turn; the response may leave later.
    ctx.body = Buffer.from(newest.value);
    return;
  }
  ctx.status = 300;
  if (ctx.accepts('multipart/mixed', 'application/json') === 'application/json') {
    ctx.type = 'application/json';
    ctx.body = siblingsJson(versions, token);
    return;
  }
  const { type, body } = siblingsMultipart(versions);
  ctx.set('Content-Type', type);
  ctx.body = body;
}

function addTokens(ctx: Context, options: { -readonly [K in keyof WriteOptions]: WriteOptions[K] }): WriteOptions {
  const context = ctx.req.headers['coterie-context'];
  if (typeof context === 'string') options.context = contextFromText(context);
  const operation = ctx.req.headers['coterie-operation-id'];
  if (typeof operation === 'string') options.operationId = operationIdFromText(operation);
  return options;
}

async function write(ctx: Context, node: DataNode): Promise<void> {
  const { bucket, key } = targetOf(ctx.path, PREFIX.length, node.limits);
  const { options, expiry } = putOptions(ctx.querystring, () => node.nowMs());
  addTokens(ctx, options);
  const tooLarge = (bytes: number): CoterieError => pairTooLarge(key.length + bytes, node.limits);
  const body = await readBody(ctx.req, node.limits.pairBytes - key.length, tooLarge);
  const answer = node.put(bucket, key, body, expiry, options);
  answerWrite(ctx, isPromise(answer) ? await answer : answer);
}

async function remove(ctx: Context, node: DataNode): Promise<void> {
  const { bucket, key } = targetOf(ctx.path, PREFIX.length, node.limits);
  const answer = node.delete(bucket, key, addTokens(ctx, deleteOptions(ctx.querystring)));
  answerWrite(ctx, isPromise(answer) ? await answer : answer);
}

function answerWrite(ctx: Context, { context, siblings }: WriteResult): void {
  ctx.set(CONTEXT_HEADER, contextToText(context));
  if (siblings > 1) ctx.set(SIBLINGS_HEADER, String(siblings));
  ctx.status = 204;
}
