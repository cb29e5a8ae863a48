import { describe, expect, test } from '@jest/globals';

import { NodeClock } from '../../src/env-node/clock.ts';
import { NodeRandom } from '../../src/env-node/random.ts';

describe('NodeClock', () => {
  test('timers fire in order, and a cancelled one does not', async () => {
    const clock = new NodeClock();
    const fired: string[] = [];
    const before = clock.monotonicMs();
    const cancelled = clock.after(1, () => fired.push('cancelled'));
    cancelled.cancel();
    cancelled.cancel();
    clock.after(0, () => fired.push('first'));
    const never = clock.after(2 ** 40, () => fired.push('too early'));
    // The timers under test do not keep the process alive; this one does.
    const keep = setInterval(() => undefined, 1000);
    await new Promise<void>((resolve) => {
      clock.after(5, resolve);
    });
    clearInterval(keep);
    never.cancel();
    expect(fired).toEqual(['first']);
    expect(clock.monotonicMs()).toBeGreaterThan(before);
    expect(Number.isSafeInteger(clock.wallMs())).toBe(true);
  });

  test('soon runs after what is ready now, in order', async () => {
    const clock = new NodeClock();
    const seen: string[] = [];
    await new Promise<void>((resolve) => {
      clock.soon(() => seen.push('soon'));
      clock.soon(resolve);
      void Promise.resolve().then(() => seen.push('microtask'));
    });
    expect(seen).toEqual(['microtask', 'soon']);
  });
});

describe('NodeRandom', () => {
  test('does not repeat, across blocks and in large draws', () => {
    const random = new NodeRandom();
    const seen = new Set<string>();
    for (let i = 0; i < 1000; i += 1) seen.add(Buffer.from(random.bytes(16)).toString('hex'));
    expect(seen.size).toBe(1000);
    expect(random.bytes(0)).toHaveLength(0);
    expect(new Set(random.bytes(5000)).size).toBe(256);
    const numbers = Array.from({ length: 4000 }, () => random.u32());
    expect(new Set(numbers).size).toBeGreaterThan(3990);
    expect(numbers.every((n) => Number.isInteger(n) && n >= 0 && n <= 0xffff_ffff)).toBe(true);
  });
});
