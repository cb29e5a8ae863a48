/**
 * The HTTP server's application. The composition root gives its callback to a server:
 * `createServer(HTTP_SERVER_OPTIONS, httpCallback(options))`.
 *
 * Invariants: every failure is a problem document; nothing a client sent, and no credential, reaches a log; one thin layer stands before the
 * router, since each costs every request.
 */

import type { IncomingMessage, ServerResponse } from 'node:http';

import Router from '@koa/router';
import Koa, { type Context, type Next } from 'koa';

import { asCoterieError, CoterieError } from '../../base/errors.ts';
import type { KvNode } from '../../runtime/kv.ts';
import { errorFields, type Logger } from '../../telemetry/logger.ts';
import type { Counter, MetricRegistry } from '../../telemetry/metrics.ts';
import { ByteBudget } from '../byte-budget.ts';
import type { Gate } from '../credentials.ts';
import { identify } from './access.ts';
import { addAdminRoutes } from './admin-routes.ts';
import { BodyRequest } from './body.ts';
import { addDataRoutes, dataHandlers, type Ending, isDataMethod } from './data-routes.ts';
import { Exchange, type MakeContext } from './exchange.ts';
import { answerProblem } from './problem.ts';
import { ShedAnswers } from './shed.ts';

export interface HttpOptions {
  readonly node: KvNode;
  readonly gate: Gate;
  readonly log: Logger;
  readonly metrics: MetricRegistry;
  /** Bytes of bodies not yet complete, over all requests; 64 MiB. */
  readonly bodyBytes?: number;
  /** Runs `fn` once, so many ms from now: the clock's `after`. */
  readonly after: (delayMs: number, fn: () => void) => void;
}

/**
 * For `node:http`'s createServer: bounds on headers (a context and a key fit twice), and on how long a client may take; requests without a body
 * get no stream of one, and bodies can be had past theirs.
 */
export const HTTP_SERVER_OPTIONS: {
  readonly maxHeaderSize: number;
  readonly headersTimeout: number;
  readonly requestTimeout: number;
  readonly keepAliveTimeout: number;
  readonly optimizeEmptyRequests: boolean;
  readonly IncomingMessage: typeof BodyRequest;
} = {
  maxHeaderSize: 32_768,
  headersTimeout: 10_000,
  requestTimeout: 60_000,
  keepAliveTimeout: 75_000,
  optimizeEmptyRequests: true,
  IncomingMessage: BodyRequest,
};

/** Bytes of bodies not yet complete, over all requests. */
const BODY_BYTES = 64 * 1024 * 1024;
/** What probes may ask without credentials. */
const OPEN_PATHS = new Set(['/livez', '/readyz']);
const DATA_PREFIX = '/v1/kv/';
/** What is in no path or query, and would be cut off or rewritten where Koa looks for them. */
const NO_MERE_PATH = /[\s#]/;
const ADMIN_PREFIX = '/v1/admin/';

export type HttpCallback = (request: IncomingMessage, response: ServerResponse) => void;

export function httpCallback(options: HttpOptions): HttpCallback {
  const { node, gate, log, metrics, after } = options;
  const router = new Router();
  const data = dataHandlers(node, new ByteBudget(options.bodyBytes ?? BODY_BYTES));
  addDataRoutes(router, data);
  addAdminRoutes(router, node, metrics);
  const routes = router.routes();
  const count = responseCounter(metrics);
  const shed = new ShedAnswers(after);

  const refuse = (ctx: Context, error: unknown): void => {
    const coded = asCoterieError(error);
    if (coded.code === 'INTERNAL') log.log('error', 'http-internal-error', errorFields(coded.cause ?? coded));
    answerProblem(ctx, coded);
  };
  const ended = (exchange: Exchange): void => {
    const { request, response } = exchange;
    if (!exchange.isDirect) response.end(exchange.context.body);
    count(request.method ?? '', response.statusCode);
  };
  const ending: Ending = {
    answered: ended,
    failed: (exchange, error) => {
      refuse(exchange.context, error);
      ended(exchange);
    },
  };

  const app = new Koa();
  app.on('error', (error: unknown) => {
    // What is left here failed while a response was being sent: a client that went away.
    log.log('debug', 'http-response-failed', { error: error instanceof Error ? error.message : 'unknown' });
  });
  app.use(async (ctx: Context, next: Next) => {
    try {
      if (!gate.open) admit(gate, ctx);
      await routes(ctx as Parameters<typeof routes>[0], next);
      if (ctx.status === 404 && ctx.body === undefined) answerUnrouted(ctx, router);
    } catch (error) {
      refuse(ctx, error);
    }
    count(ctx.method, ctx.status);
  });
  const callback = app.callback();
  const makeContext: MakeContext = (request, response) => app.createContext(request, response);
  return (request, response) => {
    const { url = '' } = request;
    if (url.startsWith(DATA_PREFIX)) {
      const refusal = node.refusal();
      if (refusal !== undefined) {
        count(request.method ?? '', shed.answer(request, response, refusal));
        return;
      }
      const { method = '' } = request;
      if (isDataMethod(method) && !NO_MERE_PATH.test(url)) {
        // Straight to what the router would find, and past Koa's waiting for the response's end: both cost a key's request more than the key.
        const exchange = Exchange.of(request, response, url, makeContext);
        try {
          if (!gate.open) identify(gate, request.headers.authorization);
          data[method](exchange, ending);
        } catch (error) {
          ending.failed(exchange, error);
        }
        return;
      }
    }
    // Koa's own handling settles every failure; its promise is of no use here.
    void callback(request, response);
  };
}

function admit(gate: Gate, ctx: Context): void {
  if (OPEN_PATHS.has(ctx.path)) return;
  const identity = identify(gate, ctx.req.headers.authorization);
  if (ctx.path.startsWith(ADMIN_PREFIX) && !identity.admin) {
    throw new CoterieError('FORBIDDEN', 'these credentials may not use the admin API');
  }
}

function answerUnrouted(ctx: Context, router: Router): void {
  const methods = new Set(router.stack.filter((layer) => layer.match(ctx.path)).flatMap((layer) => layer.methods));
  if (methods.size === 0) {
    answerProblem(ctx, new CoterieError('NOT_FOUND', 'there is nothing at this path'));
    return;
  }
  const allowed = [...methods].sort().join(', ');
  ctx.set('Allow', allowed);
  answerProblem(ctx, new CoterieError('REQUEST_INVALID', `this path takes ${allowed}`), 405);
}

const METHODS = new Set(['GET', 'HEAD', 'PUT', 'DELETE', 'POST']);

/** Counts responses by method and status, both from small closed sets. */
function responseCounter(metrics: MetricRegistry): (method: string, status: number) => void {
  const counters = new Map<string, Map<number, Counter>>();
  return (method, status) => {
    const known = METHODS.has(method) ? method : 'other';
    let byStatus = counters.get(known);
    if (byStatus === undefined) {
      byStatus = new Map();
      counters.set(known, byStatus);
    }
    let counter = byStatus.get(status);
    if (counter === undefined) {
      const labels = { method: known, status: String(status) };
      counter = metrics.counter('coterie_http_responses_total', 'HTTP responses, by method and status', labels);
      byStatus.set(status, counter);
    }
    counter.add();
  };
}
