/** What operators, the command line and probes ask: the cluster, the ring, this node's own store, its health and metrics. */

import type Router from '@koa/router';
import type { Context } from 'koa';

import { CoterieError } from '../../base/errors.ts';
import type { KvNode } from '../../runtime/kv.ts';
import type { MetricRegistry } from '../../telemetry/metrics.ts';
import type { ReadinessDocument, RingDocument, StatsDocument } from '../admin/documents.ts';
import { clusterDocument, repairDocument, replicaDocument } from '../admin/views.ts';
import { noParameters, repairRequest } from './parameters.ts';
import { targetOf } from './target.ts';

export type AdminNode = Pick<KvNode, 'limits' | 'bucket' | 'local' | 'cluster' | 'ring' | 'ready' | 'stats' | 'repair' | 'repairs'>;

const REPLICA_PREFIX = '/v1/admin/replica';
const REPLICA_PATH = /^\/v1\/admin\/replica(?:\/|$)/;

function answerJson(ctx: Context, document: object): void {
  noParameters(ctx.querystring);
  ctx.type = 'application/json';
  ctx.body = `${JSON.stringify(document)}\n`;
}

export function addAdminRoutes(router: Router, node: AdminNode, metrics: MetricRegistry): void {
  router.get('/v1/cluster', (ctx) => {
    answerJson(ctx, clusterDocument(node.cluster(), node.repairs()));
  });
  router.get('/v1/ring', (ctx) => {
    const ring: RingDocument = node.ring();
    answerJson(ctx, ring);
  });
  router.get('/v1/admin/stats', (ctx) => {
    const stats: StatsDocument = { ...node.stats(), node: node.cluster().self };
    answerJson(ctx, stats);
  });
  router.get('/v1/admin/repair', (ctx) => {
    answerJson(ctx, repairDocument(node.cluster().self, node.repairs()));
  });
  router.post('/v1/admin/repair', (ctx) => {
    node.repair(repairRequest(ctx.querystring));
    ctx.querystring = '';
    ctx.status = 202;
    answerJson(ctx, repairDocument(node.cluster().self, node.repairs()));
  });
  router.get(REPLICA_PATH, async (ctx) => {
    noParameters(ctx.querystring);
    const { bucket, key } = targetOf(ctx.path, REPLICA_PREFIX.length, node.limits);
    if (node.bucket(bucket) === undefined) throw new CoterieError('BUCKET_UNKNOWN', 'there is no bucket of that name');
    answerJson(ctx, replicaDocument(node.cluster().self, await node.local(bucket, key)));
  });
  router.get('/livez', (ctx) => {
    answerJson(ctx, { alive: true });
  });
  router.get('/readyz', (ctx) => {
    const { ready, reasons } = node.ready();
    const document: ReadinessDocument = { ready, reasons };
    ctx.status = ready ? 200 : 503;
    answerJson(ctx, document);
  });
  router.get('/metrics', (ctx) => {
    noParameters(ctx.querystring);
    ctx.set('Content-Type', 'text/plain; version=0.0.4; charset=utf-8');
    ctx.body = metrics.expose();
  });
}
