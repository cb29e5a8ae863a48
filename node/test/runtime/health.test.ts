import { describe, expect, test } from '@jest/globals';

import { Avoidance } from '../../src/runtime/avoidance.ts';
import { Members } from '../../src/runtime/members.ts';
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
      expect(stateAt(cluster, outside, 0)).toBe('connected');
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
      expect(stateAt(cluster, outside, 0)).toBe('connected');
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

test('a node that looks late was held up itself, and suspects nobody', async () => {
  const clock = new VirtualClock();
  const members = new Members(topologyOf({ nodes: 3, n: 3 }), 'node-1');
  members.setReachable('node-2', true);
  let waitedMs = 0;
  const avoidance = new Avoidance({ clock, members, transport: { waitedMs: () => waitedMs } });
  avoidance.begin();
  await clock.advance(1000);
  waitedMs = 5000;
  clock.jump(5000);
  await clock.advance(1);
  expect(members.isHealthy(1)).toBe(true);
  await clock.advance(1000);
  expect(members.isAvoided(1)).toBe(true);
  waitedMs = 0;
  await clock.advance(1000);
  expect(members.isHealthy(1)).toBe(true);
  avoidance.stop();
  expect(clock.timers).toBe(0);
});
