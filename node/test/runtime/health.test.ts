import { describe, expect, test } from '@jest/globals';

import { Detection } from '../../src/runtime/detection.ts';
import { Members } from '../../src/runtime/members.ts';
import { registerMetrics } from '../../src/runtime/node-metrics.ts';
import { SHIPPED_POLICIES } from '../../src/runtime/policies.ts';
import { SILENT } from '../../src/telemetry/logger.ts';
import { MetricRegistry } from '../../src/telemetry/metrics.ts';
import { SeededRandom } from '../transport/cluster.ts';
import { VirtualClock } from '../transport/virtual-clock.ts';
import { bytes, failure, scenario, texts, topologyOf, type VirtualCluster } from './virtual-cluster.ts';

/** The process stops for a while, as SIGSTOP stops it: its connections stand. */
function pause(cluster: VirtualCluster, position: number): () => void {
  const process = cluster.hosts[position]?.process;
  process?.pause();
  return () => process?.resume();
}

function stateAt(cluster: VirtualCluster, observer: number, position: number): string {
  return cluster.node(observer).cluster().members[position]?.state ?? '';
}

function count(cluster: VirtualCluster, position: number, name: string): number {
  return cluster.node(position).stats().counters[name] ?? 0;
}

describe('members', () => {
  test('are healthy when reachable, neither avoided nor down; every change is told once', () => {
    const members = new Members(topologyOf({ nodes: 3, n: 3 }), 'node-1');
    const told: number[] = [];
    members.onChange((index) => told.push(index));
    expect(members.isHealthy(0)).toBe(true);
    expect(members.isHealthy(1)).toBe(false);
    members.setReachable('node-2', true);
    members.setReachable('node-2', true);
    expect([members.isReachable(1), members.isHealthy(1), members.healthyBits([2, 1, 0])]).toEqual([true, true, 0b110]);
    members.setAvoided(1, true);
    expect([members.isReachable(1), members.isAvoided(1), members.isHealthy(1)]).toEqual([true, true, false]);
    expect([members.reachableBits([2, 1, 0]), members.healthyBits([2, 1, 0])]).toEqual([0b110, 0b100]);
    members.setDown(1, true);
    members.setAvoided(1, false);
    expect([members.isDown(1), members.isHealthy(1)]).toEqual([true, false]);
    members.setDown(1, false);
    expect(members.isHealthy(1)).toBe(true);
    expect(told).toEqual([1, 1, 1, 1, 1]);
  });

  test('never doubt themselves', () => {
    const members = new Members(topologyOf({ nodes: 3, n: 3 }), 'node-1');
    members.setAvoided(0, true);
    members.setDown(0, true);
    members.setReachable('node-1', false);
    expect(members.isHealthy(0)).toBe(true);
  });
});

describe('a primary that stands still', () => {
  test('is passed over within a probe, is still sent its copies, and coordinates again once it answers', () =>
    scenario({ nodes: 5, n: 3 }, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0);
      const [, second = -1] = cluster.primaries(key);
      const [outside = -1] = cluster.others(key);
      const resume = pause(cluster, 0);
      // A read's digest is owed by every replica.
      await cluster.node(outside).get('default', key, {});
      await cluster.sleep(800);
      expect(stateAt(cluster, outside, 0)).toBe('avoided');
      const forwards = count(cluster, outside, 'forwards');
      await cluster.node(outside).put('default', key, bytes('meanwhile'), {}, { timeoutMs: 200 });
      expect(count(cluster, outside, 'forwards')).toBe(forwards + 1);
      expect(count(cluster, second, 'coordinated')).toBe(1);
      resume();
      await cluster.sleep(800);
      expect(texts({ versions: (await cluster.node(0).local('default', key)).versions, context: undefined })).toEqual(['meanwhile']);
      await cluster.node(outside).put('default', key, bytes('after'), {}, {});
      expect(count(cluster, 0, 'coordinated')).toBe(1);
    }));

  test('is noticed without any request too', () =>
    scenario({ nodes: 4, n: 2 }, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0);
      const [outside = -1] = cluster.others(key);
      pause(cluster, 0);
      await cluster.sleep(2800);
      expect(stateAt(cluster, outside, 0)).toBe('avoided');
      expect(await failure(() => cluster.node(outside).put('default', key, bytes('v'), {}, { w: 1, timeoutMs: 200 }))).toBeUndefined();
    }));

  test('is not where reads look for the value', () =>
    scenario({ nodes: 5, n: 3 }, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0);
      const [outside = -1] = cluster.others(key);
      await cluster.node(outside).put('default', key, bytes('v'), {}, { w: 3 });
      pause(cluster, 0);
      await cluster.node(outside).get('default', key, {});
      await cluster.sleep(800);
      const before = count(cluster, outside, 'hedges');
      for (let i = 0; i < 12; i += 1) {
        const startedUs = cluster.world.nowUs;
        expect(texts(await cluster.node(outside).get('default', key, {}))).toEqual(['v']);
        expect(cluster.world.nowUs - startedUs).toBeLessThan(5000);
      }
      expect(count(cluster, outside, 'hedges')).toBe(before);
    }));

  test('is asked after all where no other primary is left', () =>
    scenario({ nodes: 4, n: 2 }, async (cluster) => {
      await cluster.start();
      const key = cluster.keyOn(0);
      const [, second = -1] = cluster.primaries(key);
      const [outside = -1] = cluster.others(key);
      const resume = pause(cluster, 0);
      cluster.kill(second);
      await failure(() => cluster.node(outside).get('default', key, { r: 1, timeoutMs: 50 }));
      await cluster.sleep(2800);
      const late = failure(() => cluster.node(outside).put('default', key, bytes('v'), {}, { w: 1, timeoutMs: 900 }));
      await cluster.sleep(300);
      resume();
      expect(await late).toBeUndefined();
    }));
});

describe('a node', () => {
  /** Its peers are connected, and each owes an answer for so long. */
  function detectionWith(waitedMs: () => number): { clock: VirtualClock; members: Members; detection: Detection } {
    const clock = new VirtualClock();
    const topology = topologyOf({ nodes: 3, n: 3 });
    const members = new Members(topology, 'node-1');
    members.setReachable('node-2', true);
    const detection = new Detection({
      topology,
      clock,
      members,
      policies: SHIPPED_POLICIES,
      metrics: registerMetrics(new MetricRegistry()),
      transport: {
        waitedMs,
        connected: () => true,
        connectNow: () => undefined,
        handle: () => undefined,
        request: () => ({ cancel: () => undefined }),
      },
      log: SILENT,
      random: new SeededRandom(1),
      incarnation: 1,
      store: undefined,
      load: () => 0,
    });
    return { clock, members, detection };
  }

  test('that looks late was held up itself, and suspects nobody', async () => {
    let waitedMs = 0;
    const { clock, members, detection } = detectionWith(() => waitedMs);
    detection.begin();
    await clock.advance(10);
    waitedMs = 5000;
    clock.jump(1000);
    await clock.advance(1);
    expect(members.isHealthy(1)).toBe(true);
    await clock.advance(260);
    expect(members.isAvoided(1)).toBe(true);
    detection.stop();
    expect(clock.timers).toBe(0);
  });

  test('avoids a member whose disk hangs though its loop answers, until the requests are answered too', async () => {
    let waitedMs = 600;
    const { clock, members, detection } = detectionWith(() => waitedMs);
    detection.begin();
    await clock.advance(300);
    expect(members.isAvoided(1)).toBe(true);
    detection.avoid(1, false);
    expect(members.isAvoided(1)).toBe(true);
    waitedMs = 0;
    await clock.advance(300);
    // The probe that it was sent meanwhile is still owed.
    expect(members.isAvoided(1)).toBe(true);
    detection.stop();
  });
});

describe('a member that is gone', () => {
  test('is DOWN on the word of two others, said once, and UP by its own word', () =>
    scenario({ nodes: 5, n: 3 }, async (cluster) => {
      await cluster.start();
      await cluster.sleep(3000);
      cluster.kill(2);
      await cluster.sleep(6000);
      for (const observer of [0, 1, 3, 4]) {
        const member = cluster.node(observer).cluster().members[2];
        expect(member).toMatchObject({ state: 'down', reachable: false });
        expect(new Set(member?.observers).size).toBe(2);
        expect(member?.observers).not.toContain('node-3');
        expect(count(cluster, observer, 'membersDowned')).toBe(1);
      }
      const before = cluster.node(0).cluster().members[2];
      await cluster.sleep(20_000);
      expect(cluster.node(0).cluster().members[2]).toMatchObject({ state: 'down', observers: before?.observers });
      expect(before?.heartbeatAgeMs).toBeGreaterThan(5000);
      await cluster.boot(2);
      await cluster.sleep(2000);
      for (const observer of [0, 1, 3, 4]) {
        const member = cluster.node(observer).cluster().members[2];
        expect(member).toMatchObject({ state: 'connected', observers: [], accusers: [] });
        expect(member?.incarnation).toBeGreaterThan(before?.incarnation ?? 0);
        expect(count(cluster, observer, 'membersDowned')).toBe(1);
      }
    }));

  test('is DOWN when its machine has no power, and when it stands still', () =>
    scenario({ nodes: 4, n: 3 }, async (cluster) => {
      await cluster.start();
      await cluster.sleep(3000);
      cluster.kill(3, 'power-loss');
      await cluster.sleep(6000);
      expect([0, 1, 2].map((observer) => stateAt(cluster, observer, 3))).toEqual(['down', 'down', 'down']);
      const resume = pause(cluster, 2);
      await cluster.sleep(6000);
      expect([0, 1].map((observer) => stateAt(cluster, observer, 2))).toEqual(['down', 'down']);
      resume();
      await cluster.sleep(4000);
      expect([0, 1].map((observer) => stateAt(cluster, observer, 2))).toEqual(['connected', 'connected']);
      // It had stood still itself, and calls nobody silent for that.
      expect([stateAt(cluster, 2, 0), stateAt(cluster, 2, 1), count(cluster, 2, 'membersDowned')]).toEqual(['connected', 'connected', 1]);
      expect(count(cluster, 2, 'refutations')).toBeGreaterThan(0);
    }));

  test('is never DOWN in a cluster of two', () =>
    scenario({ nodes: 2, n: 2 }, async (cluster) => {
      await cluster.start();
      cluster.kill(1);
      await cluster.sleep(60_000);
      expect(cluster.node(0).cluster().members[1]).toMatchObject({ state: 'unreachable', observers: [], accusers: [] });
    }));

  test('is not DOWN for a node that is cut off from all: who hears nobody accuses nobody', () =>
    scenario({ nodes: 4, n: 3 }, async (cluster) => {
      await cluster.start();
      cluster.isolate(0);
      await cluster.sleep(30_000);
      expect([1, 2, 3].map((position) => stateAt(cluster, 0, position))).toEqual(['unreachable', 'unreachable', 'unreachable']);
      expect(count(cluster, 0, 'membersAccused')).toBe(0);
      expect([1, 2, 3].map((observer) => stateAt(cluster, observer, 0))).toEqual(['down', 'down', 'down']);
      cluster.heal();
      await cluster.sleep(8000);
      for (const observer of [0, 1, 2, 3]) {
        const states = cluster
          .node(observer)
          .cluster()
          .members.map(({ state }) => state);
        expect(states.filter((state) => state !== 'self' && state !== 'connected')).toEqual([]);
      }
    }));

  test('does not matter to a wall clock: jumps change nothing', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      for (let i = 0; i < 20; i += 1) {
        cluster.clock(i % 3).offsetUs = (i % 2 === 0 ? 1 : -1) * 3_600_000_000;
        await cluster.sleep(700);
      }
      for (const observer of [0, 1, 2]) {
        expect(count(cluster, observer, 'membersAccused') + count(cluster, observer, 'membersAvoided')).toBe(0);
      }
    }));
});
