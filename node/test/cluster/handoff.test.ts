/** Hints on real processes: a killed node is kept what it misses, and gets it back. */

import { expect, test } from '@jest/globals';

import type { ClusterDocument, MemberDocument, ReplicaDocument } from '../../src/api/admin/documents.ts';
import { DevCluster } from './dev-cluster.ts';

async function json<T>(url: string): Promise<T> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return (await response.json()) as T;
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 50));
}

test('hints fill while a node is down, and drain into it when it is back', async () => {
  const cluster = await DevCluster.start({ nodes: 5, zones: 3 });
  try {
    const third = async (at: number): Promise<MemberDocument> => {
      const { members } = await json<ClusterDocument>(`${cluster.http(at)}/v1/cluster`);
      const member = members.find(({ name }) => name === 'node-3');
      if (member === undefined) throw new Error('no node-3');
      return member;
    };
    await cluster.kill(3);
    await until(async () => ['unreachable', 'down'].includes((await third(0)).state));
    const keys = Array.from({ length: 60 }, (_, i) => `key-${i}`);
    for (const key of keys) {
      const url = `${cluster.http(0)}/v1/kv/default/${key}?w=3`;
      const response = await fetch(url, { method: 'PUT', body: `value of ${key}` });
      expect(response.status).toBe(204);
      const strict = await fetch(`${url}&quorum=strict`, { method: 'PUT', body: `value of ${key}` });
      expect(strict.status).toBe(response.headers.has('coterie-fallbacks') ? 503 : 204);
    }
    // Any node tells who keeps what for whom.
    await until(async () => (await third(4)).hints > 10);
    const { waiting, hints } = await third(4);
    expect(waiting.reduce((sum, kept) => sum + kept.hints, 0)).toBe(hints);
    expect(waiting.every(({ holder }) => holder !== 'node-3')).toBe(true);
    await cluster.start(3);
    for (const at of [0, 1, 2, 3, 4]) await until(async () => (await third(at)).hints === 0);
    // Nothing was read meanwhile: what node-3 has came by hints alone.
    let held = 0;
    for (const key of keys) {
      const { versions } = await json<ReplicaDocument>(`${cluster.http(2)}/v1/admin/replica/default/${key}`);
      if (versions.length === 0) continue;
      held += 1;
      expect(Buffer.from(versions[0]?.value ?? '', 'base64').toString()).toBe(`value of ${key}`);
    }
    expect(held).toBeGreaterThan(10);
    const metrics = await (await fetch(`${cluster.http(0)}/metrics`)).text();
    expect(metrics).toContain('coterie_sloppy_writes_total');
  } finally {
    await cluster.stop();
  }
});
