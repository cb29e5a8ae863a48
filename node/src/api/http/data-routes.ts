/** `GET HEAD PUT DELETE /v1/kv/{bucket}/{key}`. */

import { Buffer } from 'node:buffer';

import type Router from '@koa/router';
import type { Context } from 'koa';

import { asCoterieError, CoterieError } from '../../base/errors.ts';
import type { Sink } from '../../runtime/answer.ts';
import type { KvNode, PutExpiry, ReadResult, Version, WriteOptions, WriteResult } from '../../runtime/kv.ts';
import type { ByteBudget } from '../byte-budget.ts';
import { pairTooLarge } from '../limits.ts';
import { isPromise } from '../maybe.ts';
import { contextFromText, contextToText, operationIdFromText } from '../tokens.ts';
import { type BodySink, readBody } from './body.ts';
import { Exchange } from './exchange.ts';
import { deleteOptions, putOptions, readOptions } from './parameters.ts';
import { answerProblem } from './problem.ts';
import { EXPIRY_HEADER, siblingsJson, siblingsMultipart } from './siblings.ts';
import { type Target, targetOf } from './target.ts';

export type DataNode = Pick<KvNode, 'limits' | 'getInto' | 'putInto' | 'delete' | 'nowMs'>;

export const CONTEXT_HEADER = 'Coterie-Context';
export const OPERATION_HEADER = 'Coterie-Operation-Id';
/** How many values the key has after a write, where there are several. */
export const SIBLINGS_HEADER = 'Coterie-Siblings';

/** How many of the replicas counted are fallbacks, where any is: R + W > N then promises nothing. */
export const FALLBACKS_HEADER = 'Coterie-Fallbacks';

const PREFIX = '/v1/kv';
/** Every path of these routes, and no other, matches it. */
const DATA_PATH = /^\/v1\/kv(?:\/|$)/;

/** What follows an answer. */
export interface Ending {
  /** Its context has the answer; one that is direct has left already. */
  answered(exchange: Exchange): void;
  /** The request failed; nothing was answered. */
  failed(exchange: Exchange, error: unknown): void;
}

/** Answers a request for a key, and ends it, at once where it can. What is wrong with the request itself is thrown, with nothing answered. */
export type DataHandler = (exchange: Exchange, ending: Ending) => void;

export interface DataHandlers {
  readonly GET: DataHandler;
  readonly HEAD: DataHandler;
  readonly PUT: DataHandler;
  readonly DELETE: DataHandler;
}

/** What answers each method on these paths. */
export function dataHandlers(node: DataNode, bodies: ByteBudget): DataHandlers {
  const get: DataHandler = (exchange, ending) => {
    read(exchange, node, ending);
  };
  return {
    GET: get,
    HEAD: get,
    PUT: (exchange, ending) => {
      write(exchange, node, bodies, ending);
    },
    DELETE: (exchange, ending) => {
      remove(exchange, node, ending);
    },
  };
}

export function isDataMethod(method: string): method is keyof DataHandlers {
  return method === 'GET' || method === 'PUT' || method === 'DELETE' || method === 'HEAD';
}

export function addDataRoutes(router: Router, handlers: DataHandlers): void {
  const routed =
    (handler: DataHandler) =>
    (ctx: Context): Promise<void> =>
      new Promise((resolve, reject) => {
        handler(Exchange.routed(ctx), {
          answered: () => {
            resolve();
          },
          failed: (_exchange, error) => {
            reject(asCoterieError(error));
          },
        });
      });
  router.get(DATA_PATH, routed(handlers.GET));
  router.put(DATA_PATH, routed(handlers.PUT));
  router.delete(DATA_PATH, routed(handlers.DELETE));
}

/** Where the result of a request's operation goes. */
class Reply<R> implements Sink<R> {
  readonly #exchange: Exchange;
  readonly #ending: Ending;
  readonly #write: (exchange: Exchange, result: R) => void;

  constructor(exchange: Exchange, ending: Ending, write: (exchange: Exchange, result: R) => void) {
    this.#exchange = exchange;
    this.#ending = ending;
    this.#write = write;
  }

  succeed(result: R): void {
    try {
      this.#write(this.#exchange, result);
    } catch (error) {
      this.fail(error);
      return;
    }
    this.#ending.answered(this.#exchange);
  }

  fail(error: unknown): void {
    this.#ending.failed(this.#exchange, error);
  }
}

function read(exchange: Exchange, node: DataNode, ending: Ending): void {
  const { bucket, key } = targetOf(exchange.path, PREFIX.length, node.limits);
  node.getInto(new Reply(exchange, ending, answerRead), bucket, key, readOptions(exchange.query));
}

function answerRead(exchange: Exchange, { versions, context, fallbacks = 0 }: ReadResult): void {
  const token = context === undefined ? undefined : contextToText(context);
  const newest = versions[0];
  if (newest !== undefined && versions.length === 1) {
    answerValue(exchange, newest, token, fallbacks);
    return;
  }
  const ctx = exchange.context;
  if (fallbacks > 0) ctx.set(FALLBACKS_HEADER, String(fallbacks));
  if (token !== undefined) ctx.set(CONTEXT_HEADER, token);
  if (newest === undefined) {
    const text = context === undefined ? 'the key has no value' : 'the key is deleted or expired';
    answerProblem(ctx, new CoterieError('NOT_FOUND', text));
    return;
  }
  ctx.status = 300;
  if (ctx.accepts('multipart/mixed', 'application/json') === 'application/json') {
    ctx.type = 'application/json';
    ctx.body = siblingsJson(versions, token);
    return;
  }
  const { type, body } = siblingsMultipart(versions);
  // As a string, because of a buffer Node sends the head apart, and of a pipelined request with `Expect: 100-continue` it then sends the head
  // before the 100.
  const head = { 'Content-Type': type, 'Content-Length': body.length };
  const response = exchange.direct();
  response.writeHead(300, fallbacks > 0 ? { ...head, [FALLBACKS_HEADER]: String(fallbacks) } : head);
  response.end(body, 'latin1');
}

/**
 * One value, past Koa's own way of responding: head and value leave as one string in one write, where a buffer would be a second chunk. The
 * string is also the copy that outlasts the turn for which the value is borrowed.
 */
function answerValue(exchange: Exchange, { value, expireAtMs }: Version, token: string | undefined, fallbacks: number): void {
  const text = Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('latin1');
  const head = ['Content-Type', 'application/octet-stream', 'Content-Length', String(text.length)];
  if (token !== undefined) head.push(CONTEXT_HEADER, token);
  if (expireAtMs !== 0) head.push(EXPIRY_HEADER, String(expireAtMs));
  if (fallbacks > 0) head.push(FALLBACKS_HEADER, String(fallbacks));
  const response = exchange.direct();
  response.writeHead(200, head);
  response.end(text, 'latin1');
}

function addTokens(exchange: Exchange, options: { -readonly [K in keyof WriteOptions]: WriteOptions[K] }): WriteOptions {
  const context = exchange.request.headers['coterie-context'];
  if (typeof context === 'string') options.context = contextFromText(context);
  const operation = exchange.request.headers['coterie-operation-id'];
  if (typeof operation === 'string') options.operationId = operationIdFromText(operation);
  return options;
}

/** A write whose value is on its way: begun when it is there. */
class Put implements BodySink {
  readonly #exchange: Exchange;
  readonly #node: DataNode;
  readonly #ending: Ending;
  readonly #target: Target;
  readonly #expiry: PutExpiry;
  readonly #options: WriteOptions;

  constructor(exchange: Exchange, node: DataNode, ending: Ending, target: Target, expiry: PutExpiry, options: WriteOptions) {
    this.#exchange = exchange;
    this.#node = node;
    this.#ending = ending;
    this.#target = target;
    this.#expiry = expiry;
    this.#options = options;
  }

  tooLarge(bytes: number): CoterieError {
    return pairTooLarge(this.#target.key.length + bytes, this.#node.limits);
  }

  succeed(body: Buffer): void {
    const { bucket, key } = this.#target;
    try {
      const reply = new Reply(this.#exchange, this.#ending, answerWrite);
      this.#node.putInto(reply, bucket, key, body, this.#expiry, this.#options);
    } catch (error) {
      this.fail(error);
    }
  }

  fail(error: unknown): void {
    this.#ending.failed(this.#exchange, error);
  }
}

function write(exchange: Exchange, node: DataNode, bodies: ByteBudget, ending: Ending): void {
  const target = targetOf(exchange.path, PREFIX.length, node.limits);
  const { options, expiry } = putOptions(exchange.query, () => node.nowMs());
  const put = new Put(exchange, node, ending, target, expiry, addTokens(exchange, options));
  readBody(exchange.request, node.limits.pairBytes - target.key.length, bodies, put);
}

function remove(exchange: Exchange, node: DataNode, ending: Ending): void {
  const { bucket, key } = targetOf(exchange.path, PREFIX.length, node.limits);
  const answer = node.delete(bucket, key, addTokens(exchange, deleteOptions(exchange.query)));
  const reply = new Reply(exchange, ending, answerWrite);
  if (!isPromise(answer)) {
    reply.succeed(answer);
    return;
  }
  answer.then(
    (result) => {
      reply.succeed(result);
    },
    (error: unknown) => {
      reply.fail(error);
    },
  );
}

function answerWrite(exchange: Exchange, { context, siblings, fallbacks = 0 }: WriteResult): void {
  const head = context === undefined ? [] : [CONTEXT_HEADER, contextToText(context)];
  if (siblings > 1) head.push(SIBLINGS_HEADER, String(siblings));
  if (fallbacks > 0) head.push(FALLBACKS_HEADER, String(fallbacks));
  const response = exchange.direct();
  // Named, the status is not looked up.
  response.writeHead(204, 'No Content', head);
  response.end();
}
