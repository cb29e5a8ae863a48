/** A request for a key and its answer, with Koa's context only where it is asked for: making one costs as much as many a request needs in all. */

import type { IncomingMessage, ServerResponse } from 'node:http';

import type { Context } from 'koa';

export type MakeContext = (request: IncomingMessage, response: ServerResponse) => Context;

export class Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Raw, without the query. */
  readonly path: string;
  /** Without its `?`. */
  readonly query: string;
  readonly #makeContext: MakeContext | undefined;
  #context: Context | undefined;
  #direct = false;

  private constructor(
    request: IncomingMessage,
    response: ServerResponse,
    path: string,
    query: string,
    context: Context | undefined,
    makeContext?: MakeContext,
  ) {
    this.request = request;
    this.response = response;
    this.path = path;
    this.query = query;
    this.#context = context;
    this.#makeContext = makeContext;
  }

  /** One that has come to a route. */
  static routed(context: Context): Exchange {
    return new Exchange(context.req, context.res, context.path, context.querystring, context);
  }

  /** @param url a path, and perhaps a query */
  static of(request: IncomingMessage, response: ServerResponse, url: string, makeContext: MakeContext): Exchange {
    const mark = url.indexOf('?');
    const path = mark < 0 ? url : url.slice(0, mark);
    return new Exchange(request, response, path, mark < 0 ? '' : url.slice(mark + 1), undefined, makeContext);
  }

  /** For answers that Koa helps to make. */
  get context(): Context {
    if (this.#context === undefined) {
      if (this.#makeContext === undefined) throw new Error('broken invariant: an exchange has a context, or can make one');
      this.#context = this.#makeContext(this.request, this.response);
    }
    return this.#context;
  }

  /** The answer leaves past Koa. */
  get isDirect(): boolean {
    return this.#direct;
  }

  /** The response, for an answer past Koa's own way of responding. */
  direct(): ServerResponse {
    this.#direct = true;
    if (this.#context !== undefined) this.#context.respond = false;
    return this.response;
  }
}
