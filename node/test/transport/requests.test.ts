import { describe, expect, test } from '@jest/globals';

import { CoterieError } from '../../src/base/errors.ts';
import type { IncomingRequest } from '../../src/transport/request.ts';
import { ECHO, none, Pair, unknown } from './pair.ts';

describe('a request', () => {
  test('reaches the handler with its peer, epoch and time, and its reply comes back', async () => {
    const pair = await Pair.connect({ epochs: { current: () => 15, admits: () => true } }, () => 7);
    const seen: object[] = [];
    pair.b.transport.handle(77, (request) => {
      const { peer, type, remainingMs, epoch, payload } = request;
      seen.push({ peer, type, remainingMs, epoch, payload: Buffer.from(payload).toString() });
      request.reply(Buffer.from('done'));
    });
    const { answers } = pair.ask('please', { type: 77, deadlineMs: 250.5, epoch: 2 ** 53 - 1 });
    expect(answers).toEqual([]);
    await pair.clock.settle();
    expect(seen).toEqual([{ peer: 'node-1', type: 77, remainingMs: 251, epoch: 2 ** 53 - 1, payload: 'please' }]);
    expect(answers).toEqual([{ kind: 'reply', text: 'done', epoch: 15 }]);
  });

  test('and its reply of any size arrive whole, empty ones too', async () => {
    const pair = await Pair.connect();
    for (const size of [0, 1, 65_535, 65_536, 65_537, 131_072, 1_000_000, 16 * 1024 * 1024]) {
      const payload = Buffer.alloc(size);
      for (let at = 0; at < size; at += 997) payload[at] = at % 251;
      const { answers } = pair.ask(payload, { deadlineMs: 60_000 });
      await pair.clock.settle();
      expect(answers).toHaveLength(1);
      const [answer] = answers;
      expect(answer?.kind === 'reply' && Buffer.from(answer.text, 'latin1').equals(payload)).toBe(true);
    }
  });

  test('arrives after those before it, and may be answered in any order', async () => {
    const pair = await Pair.connect({}, () => 1000);
    const arrived: IncomingRequest[] = [];
    pair.b.transport.handle(21, (request) => {
      arrived.push(request);
    });
    const asked = Array.from({ length: 200 }, (_, i) => pair.ask(`request ${String(i)}`, { type: 21, epoch: i }));
    await pair.clock.settle();
    expect(arrived.map(({ epoch }) => epoch)).toEqual(Array.from({ length: 200 }, (_, i) => i));
    for (const request of arrived.toReversed()) request.reply(Buffer.from(`answer ${String(request.epoch)}`));
    await pair.clock.settle();
    expect(asked.map(({ answers }) => answers[0])).toEqual(asked.map((_, i) => ({ kind: 'reply', text: `answer ${String(i)}`, epoch: 0 })));
  });

  test('is not held up by a large one before it', async () => {
    const pair = await Pair.connect();
    const order: number[] = [];
    pair.b.transport.handle(21, (request) => {
      order.push(request.payload.length);
      request.reply(request.payload);
    });
    pair.ask(Buffer.alloc(4_000_000), { type: 21, deadlineMs: 60_000 });
    pair.ask(Buffer.alloc(200_000), { type: 21, deadlineMs: 60_000 });
    pair.ask('small', { type: 21 });
    await pair.clock.settle();
    expect(order).toEqual([5, 200_000, 4_000_000]);
  });

  test('leaves together with the others of its turn, in one write', async () => {
    const pair = await Pair.connect();
    const connection = pair.network.connections[0]?.[0];
    let writes = 0;
    if (connection !== undefined) {
      const write = connection.write.bind(connection);
      connection.write = (chunk): boolean => {
        writes += 1;
        return write(chunk);
      };
    }
    for (let i = 0; i < 100; i += 1) pair.ask('together');
    await pair.clock.settle();
    expect(writes).toBe(1);
  });

  test('borrows its payload only for the call, and the handler only for its run', async () => {
    const pair = await Pair.connect();
    const kept: IncomingRequest[] = [];
    const during: string[] = [];
    pair.b.transport.handle(21, (request) => {
      during.push(Buffer.from(request.payload).toString());
      kept.push(request);
      request.reply(request.payload);
    });
    for (const size of [5, 100_000]) {
      const payload = Buffer.alloc(size, 'a');
      const { answers } = pair.ask(payload, { type: 21 });
      payload.fill('b');
      await pair.clock.settle();
      expect(answers).toEqual([{ kind: 'reply', text: 'a'.repeat(size), epoch: 0 }]);
    }
    expect(during.every((text) => /^a+$/.test(text))).toBe(true);
    expect(kept.map(({ payload }) => payload.length)).toEqual([0, 0]);
  });
});

describe('a request fails', () => {
  test('with what the handler says', async () => {
    const pair = await Pair.connect();
    pair.b.transport.handle(21, (request) => {
      request.fail('DISK_FULL', 'no room', 'none');
      request.fail('DISK_FAILED', 'only the first answer counts', 'unknown');
      request.reply(Buffer.from('nor does this'));
    });
    const { answers } = pair.ask('x', { type: 21 });
    await pair.clock.settle();
    expect(answers).toEqual([{ kind: 'failed', code: 'DISK_FULL', message: 'no room', outcome: 'none' }]);
  });

  test('with the coded error that the handler throws, its outcome unknown unless it says', async () => {
    const pair = await Pair.connect();
    pair.b.transport.handle(21, () => {
      throw new CoterieError('CLOCK_SKEW', 'too far ahead', { outcome: 'none' });
    });
    pair.b.transport.handle(22, () => {
      throw new CoterieError('DATA_DAMAGED', 'a block');
    });
    const first = pair.ask('x', { type: 21 });
    const second = pair.ask('x', { type: 22 });
    await pair.clock.settle();
    expect(first.answers).toMatchObject([none('CLOCK_SKEW')]);
    expect(second.answers).toMatchObject([unknown('DATA_DAMAGED')]);
    expect(pair.state).toBe('connected');
  });

  test('with UNSUPPORTED where nobody handles its type', async () => {
    const pair = await Pair.connect();
    const { answers } = pair.ask('x', { type: 255 });
    await pair.clock.settle();
    expect(answers).toMatchObject([none('UNSUPPORTED')]);
  });

  test('with EPOCH_STALE, undecoded, where its epoch is not heard', async () => {
    const pair = await Pair.connect({
      epochs: { current: () => 9, admits: (peer, epoch, type) => !(peer === 'node-1' && epoch === 8 && type === ECHO) },
    });
    const stale = pair.ask('x', { epoch: 8 });
    const current = pair.ask('x', { epoch: 9 });
    await pair.clock.settle();
    expect(stale.answers).toMatchObject([none('EPOCH_STALE')]);
    expect(current.answers).toMatchObject([{ kind: 'reply', epoch: 9 }]);
    expect(pair.b.transport.counters).toMatchObject({ requestsStale: 1, requestsReceived: 1 });
  });

  test('with FRAME_TOO_LARGE before it is sent, or where its reply is', async () => {
    const pair = await Pair.connect({ limits: { maxMessageBytes: 100_000 } });
    const request = pair.ask(Buffer.alloc(100_001));
    pair.b.transport.handle(21, (incoming) => {
      incoming.reply(Buffer.alloc(100_001));
    });
    const reply = pair.ask('x', { type: 21 });
    await pair.clock.settle();
    expect(request.answers).toMatchObject([none('FRAME_TOO_LARGE')]);
    expect(reply.answers).toMatchObject([unknown('FRAME_TOO_LARGE')]);
    expect(pair.state).toBe('connected');
  });

  test('with PEER_UNREACHABLE where the peer is not known, and never inside the call', async () => {
    const pair = await Pair.connect();
    const answers: unknown[] = [];
    pair.a.transport.request('node-9', ECHO, new Uint8Array(1), 1000, 1, (reply) => answers.push(reply));
    expect(answers).toEqual([]);
    const cancelled = pair.a.transport.request('node-9', ECHO, new Uint8Array(1), 1000, 1, () => answers.push('cancelled'));
    cancelled.cancel();
    await pair.clock.settle();
    expect(answers).toMatchObject([none('PEER_UNREACHABLE')]);
  });

  test('and its link with it, if its reply cannot be decoded', async () => {
    const pair = await Pair.connect();
    const answers: string[] = [];
    pair.a.transport.request(pair.b.name, ECHO, new Uint8Array(1), 1000, 1, (reply) => {
      answers.push(reply.kind === 'failed' ? reply.code : reply.kind);
      if (reply.kind === 'reply') throw new CoterieError('FRAME_INVALID', 'no such message');
    });
    const other = pair.ask('x');
    await pair.clock.settle();
    expect(answers).toEqual(['reply', 'FRAME_INVALID']);
    expect(other.answers).toMatchObject([unknown('PEER_UNREACHABLE')]);
    expect(pair.a.transport.counters.framesInvalid).toBe(1);
  });

  test('and its link with it, if the handler cannot decode it', async () => {
    const pair = await Pair.connect();
    pair.b.transport.handle(21, () => {
      throw new CoterieError('FRAME_INVALID', 'no such message');
    });
    const { answers } = pair.ask('x', { type: 21 });
    await pair.clock.settle();
    expect(answers).toMatchObject([unknown('PEER_UNREACHABLE')]);
    expect(pair.b.transport.counters.framesInvalid).toBe(1);
  });

  test('a bug in a handler is not swallowed', async () => {
    const pair = await Pair.connect();
    pair.b.transport.handle(21, () => {
      throw new Error('broken invariant: a bug');
    });
    pair.ask('x', { type: 21 });
    await expect(pair.clock.settle()).rejects.toThrow('broken invariant: a bug');
  });
});

describe('a deadline', () => {
  test('fails the request with TIMEOUT, outcome unknown once it was sent, and the late reply is ignored', async () => {
    const pair = await Pair.connect();
    const kept: IncomingRequest[] = [];
    pair.b.transport.handle(21, (request) => {
      kept.push(request);
    });
    const { answers } = pair.ask('x', { type: 21, deadlineMs: 200 });
    await pair.clock.advance(199);
    expect(answers).toEqual([]);
    await pair.clock.advance(17);
    expect(answers).toMatchObject([unknown('TIMEOUT')]);
    kept[0]?.reply(Buffer.from('too late'));
    await pair.clock.settle();
    expect(answers).toHaveLength(1);
    expect(pair.state).toBe('connected');
    expect(pair.a.transport.peers()[0]?.requests).toBe(0);
  });

  test('outcome none where it ran out before the request could leave; it is not sent later', async () => {
    const pair = await Pair.connect();
    const server = pair.network.connections[0]?.[1];
    const heard: number[] = [];
    pair.b.transport.handle(21, (request) => {
      heard.push(request.epoch);
      request.reply(new Uint8Array(0));
    });
    server?.pause();
    // Fills the connection, so that what follows waits in the outbox.
    const filling = Array.from({ length: 5 }, () => pair.ask(Buffer.alloc(65_000), { type: 21, epoch: 1, deadlineMs: 500 }));
    pair.clock.turn();
    const waiting = pair.ask('waits', { type: 21, epoch: 2, deadlineMs: 100 });
    const patient = pair.ask('waits longer', { type: 21, epoch: 3, deadlineMs: 900 });
    await pair.clock.advance(300);
    expect(waiting.answers).toMatchObject([none('TIMEOUT')]);
    let left = 0;
    pair.b.transport.handle(21, (request) => {
      heard.push(request.epoch);
      if (request.epoch === 3) left = request.remainingMs;
      request.reply(new Uint8Array(0));
    });
    server?.resume();
    await pair.clock.settle();
    expect(heard).toEqual([1, 1, 1, 1, 1, 3]);
    expect(left).toBe(600);
    expect(patient.answers).toMatchObject([{ kind: 'reply' }]);
    expect(filling.every(({ answers }) => answers[0]?.kind === 'reply')).toBe(true);
  });

  test('tells the handler by onCancel when the peer no longer waits', async () => {
    const pair = await Pair.connect();
    const cancelled: number[] = [];
    pair.b.transport.handle(21, (request) => {
      request.onCancel = (): void => {
        cancelled.push(pair.clock.monotonicMs());
      };
    });
    const start = pair.clock.monotonicMs();
    pair.ask('x', { type: 21, deadlineMs: 100 });
    await pair.clock.advance(1000);
    expect(cancelled).toHaveLength(1);
    expect((cancelled[0] ?? 0) - start).toBeGreaterThanOrEqual(100);
    expect((cancelled[0] ?? 0) - start).toBeLessThan(120);
  });
});

describe('a cancelled request', () => {
  test('runs no callback, and its handler hears of it once', async () => {
    const pair = await Pair.connect();
    const kept: IncomingRequest[] = [];
    let cancelled = 0;
    pair.b.transport.handle(21, (request) => {
      kept.push(request);
      request.onCancel = (): void => {
        cancelled += 1;
      };
    });
    const { answers, handle } = pair.ask('x', { type: 21 });
    await pair.clock.settle();
    handle.cancel();
    handle.cancel();
    await pair.clock.settle();
    expect(cancelled).toBe(1);
    kept[0]?.reply(Buffer.from('nobody waits'));
    await pair.clock.advance(2000);
    expect(cancelled).toBe(1);
    expect(answers).toEqual([]);
    expect(pair.b.transport.counters.bytesSent).toBeLessThan(400);
  });

  test('in its own turn is never sent', async () => {
    const pair = await Pair.connect();
    const before = pair.b.transport.counters.requestsReceived;
    const { answers, handle } = pair.ask('x');
    const other = pair.ask('y');
    handle.cancel();
    await pair.clock.settle();
    expect(pair.b.transport.counters.requestsReceived - before).toBe(1);
    expect(answers).toEqual([]);
    expect(other.answers).toMatchObject([{ kind: 'reply', text: 'y' }]);
  });

  test('of many chunks frees what had arrived of it', async () => {
    const pair = await Pair.connect({ limits: { maxAssemblyBytes: 3_000_000 } });
    const server = pair.network.connections[0]?.[1];
    for (let round = 0; round < 15; round += 1) {
      server?.pause();
      const { answers, handle } = pair.ask(Buffer.alloc(2_000_000), { deadlineMs: 10_000 });
      pair.clock.turn();
      expect(pair.network.connections[0]?.[0].buffered).toBeGreaterThan(200_000);
      handle.cancel();
      server?.resume();
      await pair.clock.settle();
      expect(answers).toHaveLength(0);
    }
    const { answers } = pair.ask('still well');
    await pair.clock.settle();
    expect(answers).toMatchObject([{ kind: 'reply' }]);
    expect(pair.events.filter(({ kind }) => kind === 'disconnected')).toEqual([]);
  });
});

describe('what a peer owes', () => {
  const PROMPT = new Set([21]);

  test('is counted from the oldest prompt request that it has not answered', async () => {
    const pair = await Pair.connect({ prompt: PROMPT });
    const arrived: IncomingRequest[] = [];
    for (const type of [21, 22]) pair.b.transport.handle(type, (request) => arrived.push(request));
    const waited = (): number => pair.a.transport.waitedMs(pair.b.name);
    pair.ask('may take its time', { type: 22, deadlineMs: 60_000 });
    await pair.clock.advance(300);
    expect(waited()).toBe(0);
    pair.ask('at once', { type: 21, deadlineMs: 60_000 });
    await pair.clock.advance(300);
    pair.ask('at once', { type: 21, deadlineMs: 60_000 });
    await pair.clock.advance(100);
    expect(waited()).toBeCloseTo(400, 0);
    arrived[1]?.reply(Buffer.from(''));
    await pair.clock.settle();
    expect(waited()).toBeCloseTo(100, 0);
    arrived[2]?.reply(Buffer.from(''));
    await pair.clock.settle();
    expect(waited()).toBe(0);
  });

  test('stays owed when the request runs out of time, unless that was short; an answer or a pong settles it', async () => {
    const pair = await Pair.connect({ prompt: PROMPT });
    const arrived: IncomingRequest[] = [];
    pair.b.transport.handle(21, (request) => arrived.push(request));
    const waited = (): number => pair.a.transport.waitedMs(pair.b.name);
    pair.ask('short', { type: 21, deadlineMs: 100 });
    await pair.clock.advance(200);
    expect(waited()).toBe(0);
    pair.ask('long', { type: 21, deadlineMs: 600 });
    await pair.clock.advance(700);
    expect(waited()).toBeCloseTo(700, 0);
    pair.ask('again', { type: 21, deadlineMs: 600 });
    await pair.clock.settle();
    arrived[2]?.reply(Buffer.from(''));
    await pair.clock.settle();
    expect(waited()).toBe(0);
    pair.ask('long', { type: 21, deadlineMs: 600 });
    await pair.clock.advance(700);
    expect(waited()).toBeGreaterThan(600);
    await pair.clock.advance(2000);
    expect(waited()).toBe(0);
  });
});
