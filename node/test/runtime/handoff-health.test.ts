/** Members whose health changes while hints are handed off (runtime/handoff.ts). */

import { expect, test } from '@jest/globals';

import { partitionId } from '../../src/base/ids.ts';
import { HintIndex } from '../../src/cluster/handoff/hint-index.ts';
import { Handoff, type HandoffParts } from '../../src/runtime/handoff.ts';
import { registerMetrics } from '../../src/runtime/node-metrics.ts';
import { MetricRegistry } from '../../src/telemetry/metrics.ts';
import type { Reply } from '../../src/transport/request.ts';
import { VirtualClock } from '../transport/virtual-clock.ts';

const PARTITION = partitionId(0);
const SLOT = 1;
const RETRY_MS = 500;
const ALL = 0b111;

test('what fell short because a primary was away for a moment in the midst of a pass is tried again', async () => {
  const clock = new VirtualClock();
  const index = new HintIndex(3, 1000);
  index.added(PARTITION, SLOT, 10, clock.wallMs());
  let healthy = ALL;
  let pages = 0;
  const parts = {
    clock,
    topology: { N: 3, partitions: [[0, 1, 2]] },
    members: {
      healthyBits: () => healthy,
      isHealthy: (member: number) => (healthy & (1 << member)) !== 0,
      nameOf: (member: number) => `node-${String(member + 1)}`,
      onChange: () => undefined,
    },
    encoder: { writeRequest: () => new Uint8Array(1) },
    transport: {
      request: (_name: string, _type: number, _payload: Uint8Array, _timeoutMs: number, _epoch: number, done: (reply: Reply) => void) => {
        // It is back before the pass is over.
        healthy = ALL;
        done({ kind: 'reply', payload: new Uint8Array(0), epoch: 1 });
      },
    },
    hints: {
      counted: true,
      index,
      isOutlived: () => false,
      page: () => {
        pages += 1;
        if (pages === 1) healthy = 0b011;
        const hint = { slot: SLOT, diskKey: 'key', bytes: new Uint8Array(1), w: 3, generation: 1 };
        return Promise.resolve({ hints: [hint], damaged: false, next: undefined });
      },
      drop: () => {
        index.dropped(PARTITION, SLOT, 10);
        return Promise.resolve(true);
      },
    },
    pace: { pauseMs: () => 0 },
    metrics: registerMetrics(new MetricRegistry()),
    touched: () => undefined,
    warn: () => undefined,
    retryMs: RETRY_MS,
    overdueMs: 60_000,
  } as unknown as HandoffParts;
  const handoff = new Handoff(parts);
  handoff.advance();
  await clock.advance(RETRY_MS / 2);
  expect([pages, index.count]).toEqual([1, 1]);
  await clock.advance(2 * RETRY_MS);
  expect([pages, index.count]).toEqual([2, 0]);
  handoff.stop();
});
