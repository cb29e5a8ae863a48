import { expect, test } from '@jest/globals';

import { DEFAULT_TIMINGS } from '../../src/runtime/options.ts';
import { bytes, scenario, texts, type VirtualCluster } from './virtual-cluster.ts';

/** Everything goes so many times faster: a round a second stands for one every ten minutes. Gossip and leases, which keep their pace, matter less. */
const SPEED = 600;
const HOUR_MS = 3_600_000 / SPEED;
const HOURS = 7 * 24;
const KEYS = 24;
const VALUE = 'v'.repeat(1000);

/** Bytes on the disks of all nodes. */
function used(cluster: VirtualCluster): number {
  return cluster.up.reduce((sum, _, position) => sum + cluster.volume(position).medium.usedBytes(), 0);
}

function keyOf(hour: number, at: number): string {
  return `hour-${String(hour)}-${String(at)}`;
}

/**
 * In each hour so many keys are set, a third of them with an expiry within the hour, and the others of the hour before are deleted. Without operation
 * ids, which are remembered for ten minutes of unhurried time.
 */
async function hour(cluster: VirtualCluster, number: number): Promise<void> {
  for (let at = 0; at < KEYS; at += 1) {
    const node = cluster.node((number + at) % 3);
    const expireAtMs = at % 3 === 0 ? Math.floor(node.nowMs()) + HOUR_MS / 2 : 0;
    await node.put('default', keyOf(number, at), bytes(VALUE), { expireAtMs }, {});
    if (number > 0 && at % 3 !== 0) await node.delete('default', keyOf(number - 1, at), {});
    await cluster.sleep(HOUR_MS / KEYS);
  }
}

/** The most that was on the disks at the end of an hour, day by day; and what is there at last. */
async function week(collectMs: number): Promise<{ readonly days: readonly number[]; readonly entries: number }> {
  const days: number[] = [];
  let entries = 0;
  const timings = { ...DEFAULT_TIMINGS, collectMs, repairMs: HOUR_MS };
  const engine = { memtableBytes: 32 * 1024, reserveBytes: 0, compression: ['none'] } as const;
  await scenario({ nodes: 3, n: 3, q: 4, options: { timings, engine } }, async (cluster) => {
    await cluster.start();
    for (let number = 0; number < HOURS; number += 1) {
      await hour(cluster, number);
      const day = Math.floor(number / 24);
      days[day] = Math.max(days[day] ?? 0, used(cluster));
    }
    // The last hour's keys are there, and those of the first are not.
    for (const node of cluster.up) {
      expect(texts(await node.get('default', keyOf(HOURS - 1, 1), { r: 3 }))).toEqual([VALUE]);
      expect(texts(await node.get('default', keyOf(0, 1), { r: 3 }))).toEqual([]);
      expect(texts(await node.get('default', keyOf(0, 0), { r: 3 }))).toEqual([]);
    }
    for (const node of cluster.up) {
      for (let number = 0; number < HOURS; number += 1) {
        for (let at = 0; at < KEYS; at += 1) if ((await node.local('default', keyOf(number, at))).bytes !== undefined) entries += 1;
      }
    }
  });
  return { days, entries };
}

function kib(days: readonly number[]): string {
  return days.map((bytesUsed) => String(Math.round(bytesUsed / 1024))).join(' ');
}

test('a week of sets and deletes fills the disks with what lives in an hour or two, and no more day by day', async () => {
  const collected = await week(600_000 / SPEED);
  // What is not deleted or expired at any time: the keys of two hours, at three replicas.
  const living = 2 * KEYS * 3 * VALUE.length;
  const set = Math.round((3 * HOURS * KEYS * VALUE.length) / 1024);
  process.stdout.write(
    `three disks, the most of each day of a week in KiB: ${kib(collected.days)}; set in the week: ${String(set)} KiB; entries at last: ${String(collected.entries)}\n`,
  );
  // Logs and tables that wait for their compaction come to as much again, on the first day as on the last.
  for (const most of collected.days) expect(most).toBeLessThan(3 * living);
  // The keys of two hours at three replicas, and what a round has not reached yet.
  expect(collected.entries).toBeLessThan(3 * 3 * KEYS);
});
