import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';

import { Lateness, MARK_EVERY_MS } from '../../src/transport/lateness.ts';
import { ECHO, Pair } from './pair.ts';

describe('lateness', () => {
  test('nothing is late before the first mark, nor behind the fastest', () => {
    const lateness = new Lateness();
    expect(lateness.lateMs(1000)).toBe(0);
    expect(lateness.known).toBe(false);
    lateness.mark(5_000_000, 10, false);
    expect(lateness.known).toBe(true);
    expect(lateness.lateMs(10)).toBe(0);
    expect(lateness.lateMs(10 + MARK_EVERY_MS)).toBe(0);
  });

  test('what waited on its way is late by what it waited', () => {
    const lateness = new Lateness();
    lateness.mark(1000, 7000, false);
    lateness.mark(2000, 18_000, false);
    expect(lateness.lateMs(18_000)).toBeCloseTo(10_000 - MARK_EVERY_MS - 5);
    lateness.mark(12_100, 18_100, false);
    expect(lateness.lateMs(18_100)).toBe(0);
  });

  test('a frame behind a mark that came in time is late when it comes alone', () => {
    const lateness = new Lateness();
    lateness.mark(1000, 1000, false);
    expect(lateness.lateMs(9000)).toBe(8000 - MARK_EVERY_MS);
  });

  test('a mark that waited to be read is taken for a fast one only where it is the fastest all the same', () => {
    const lateness = new Lateness();
    lateness.mark(1000, 1000, true);
    expect(lateness.known).toBe(false);
    lateness.mark(1000, 2000, false);
    lateness.mark(3000, 4000, true);
    lateness.mark(3000, 3500, true);
    expect(lateness.lateMs(4500)).toBe(1000 - MARK_EVERY_MS);
  });

  test('clocks that drift apart, and ways of any length, make nothing late that is not', () => {
    const steps = fc.array(fc.record({ pauseMs: fc.integer({ min: 0, max: 600_000 }), wayMs: fc.integer({ min: 0, max: 5000 }) }), {
      minLength: 2,
    });
    fc.assert(
      fc.property(steps, fc.double({ min: 0.998, max: 1.002, noNaN: true }), fc.integer({ min: 0, max: 1e12 }), (marks, rate, offset) => {
        const lateness = new Lateness();
        let sentMs = 0;
        let fastestWay = Infinity;
        for (const { pauseMs, wayMs } of marks) {
          sentMs += pauseMs;
          fastestWay = Math.min(fastestWay, wayMs);
          const arrivedMs = offset + (sentMs + wayMs) * rate;
          lateness.mark(Math.floor(sentMs), arrivedMs, false);
          const reallyLate = wayMs - fastestWay;
          expect(lateness.lateMs(arrivedMs)).toBeLessThanOrEqual(Math.max(0, reallyLate * 1.002 + 5000 * 0.002));
        }
      }),
    );
  });
});

describe('requests that waited on their way', () => {
  async function connected(): Promise<Pair> {
    const pair = await Pair.connect({ limits: { silenceMs: 60_000, probeMs: 30_000 } });
    pair.ask('the way is free');
    await pair.clock.settle();
    return pair;
  }

  test('a request whose time ran out while the network held it is not carried out', async () => {
    const pair = await connected();
    const heard: string[] = [];
    pair.b.transport.handle(ECHO, (request) => {
      heard.push(Buffer.from(request.payload).toString());
      request.reply(request.payload);
    });
    const receiving = pair.network.connections[0]?.[1];
    receiving?.pause();
    const { answers } = pair.ask('too late', { deadlineMs: 1000 });
    const patient = pair.ask('still wanted', { deadlineMs: 20_000 });
    await pair.clock.advance(5000);
    expect(answers).toMatchObject([{ kind: 'failed', code: 'TIMEOUT', outcome: 'unknown' }]);
    receiving?.resume();
    await pair.clock.settle();
    expect(heard).toEqual(['still wanted']);
    expect(patient.answers).toMatchObject([{ kind: 'reply', text: 'still wanted' }]);
    expect(pair.b.transport.counters.requestsLate).toBe(1);
  });

  test('requests at any pace are heard on a way that is free', async () => {
    const pair = await connected();
    for (const pauseMs of [0, 1, 49, 50, 51, 1000, 20_000, 3]) {
      await pair.clock.advance(pauseMs);
      const { answers } = pair.ask(`after ${pauseMs}`, { deadlineMs: 60 });
      await pair.clock.settle();
      expect(answers).toMatchObject([{ kind: 'reply', text: `after ${pauseMs}` }]);
    }
    expect(pair.b.transport.counters.requestsLate).toBe(0);
  });
});
