import { describe, expect, test } from '@jest/globals';

import type { PeerStatus } from '../../src/transport/peer-status.ts';
import type { IncomingRequest } from '../../src/transport/request.ts';
import { hello, HOST, startNode } from './cluster.ts';
import { ECHO, none, Pair, unknown } from './pair.ts';
import { CANCEL, CONTINUED_FLAG, ERROR, HELLO, MARK, MORE_FLAG, type RawFrame, rawFrame, RawPeer, REPLY_FLAG } from './raw-peer.ts';

const KEEP = 21;

describe('the queues are bounded', () => {
  test('too many requests under way are refused at once with BUSY, before any effect', async () => {
    const pair = await Pair.connect({ limits: { maxRequests: 10 } });
    const kept: IncomingRequest[] = [];
    pair.b.transport.handle(KEEP, (request) => {
      kept.push(request);
    });
    const asked = Array.from({ length: 12 }, () => pair.ask('x', { type: KEEP }));
    await pair.clock.settle();
    expect(kept).toHaveLength(10);
    expect(asked.slice(10).map(({ answers }) => answers)).toMatchObject([[none('BUSY')], [none('BUSY')]]);
    expect(pair.a.transport.counters.requestsShed).toBe(2);
    kept[0]?.reply(new Uint8Array(0));
    await pair.clock.settle();
    const next = pair.ask('x');
    await pair.clock.settle();
    expect(next.answers).toMatchObject([{ kind: 'reply' }]);
  });

  test('too many bytes waiting are refused at once with BUSY; what waits is sent when the peer reads again', async () => {
    const pair = await Pair.connect({ limits: { maxQueueBytes: 1_000_000 } });
    const server = pair.network.connections[0]?.[1];
    server?.pause();
    const asked = Array.from({ length: 60 }, () => pair.ask(Buffer.alloc(50_000)));
    asked.push(pair.ask(Buffer.alloc(900_000)));
    await pair.clock.settle();
    const busy = asked.filter(({ answers }) => answers[0]?.kind === 'failed');
    expect(busy.length).toBeGreaterThan(30);
    expect(busy.every(({ answers: [answer] }) => answer?.kind === 'failed' && answer.code === 'BUSY' && answer.outcome === 'none')).toBe(
      true,
    );
    expect(pair.a.transport.peers()[0]?.queuedBytes).toBeLessThan(1_100_000);
    server?.resume();
    await pair.clock.settle();
    expect(asked.filter(({ answers }) => answers[0]?.kind === 'reply')).toHaveLength(61 - busy.length);
  });

  test('a peer with too many unanswered requests is not read until half of them are answered', async () => {
    const pair = await Pair.connect({ limits: { maxIncoming: 8 } });
    const kept: IncomingRequest[] = [];
    pair.b.transport.handle(KEEP, (request) => {
      kept.push(request);
    });
    const asked = Array.from({ length: 50 }, (_, i) => pair.ask(`x${String(i)}`, { type: KEEP, deadlineMs: 5000 }));
    await pair.clock.settle();
    expect(kept).toHaveLength(8);
    expect(pair.network.connections[0]?.[1].paused).toBe(true);
    let answered = 0;
    while (answered < 3) kept[answered++]?.reply(new Uint8Array(0));
    await pair.clock.settle();
    expect(kept).toHaveLength(8);
    while (answered < kept.length) {
      kept[answered++]?.reply(new Uint8Array(0));
      await pair.clock.settle();
      expect(kept.length - answered).toBeLessThanOrEqual(8);
    }
    expect(answered).toBe(50);
    expect(asked.every(({ answers }) => answers[0]?.kind === 'reply')).toBe(true);
    expect(pair.network.connections[0]?.[1].paused).toBe(false);
  });

  test('requests that waited there for longer than their deadline are dropped undecoded', async () => {
    const pair = await Pair.connect({ limits: { maxIncoming: 2 } });
    const kept: IncomingRequest[] = [];
    pair.b.transport.handle(KEEP, (request) => {
      kept.push(request);
    });
    for (let i = 0; i < 6; i += 1) pair.ask('x', { type: KEEP, deadlineMs: i < 2 ? 5000 : 100 + i });
    const patient = pair.ask('x', { type: KEEP, deadlineMs: 400 });
    await pair.clock.advance(300);
    for (const request of kept.splice(0)) request.reply(new Uint8Array(0));
    await pair.clock.settle();
    expect(pair.b.transport.counters.requestsLate).toBe(4);
    expect(kept.map(({ remainingMs }) => remainingMs)).toEqual([100]);
    kept[0]?.reply(new Uint8Array(0));
    await pair.clock.settle();
    expect(patient.answers).toMatchObject([{ kind: 'reply' }]);
  });

  test('a peer that never reads its replies loses its connection', async () => {
    const pair = await Pair.start({ limits: { maxQueueBytes: 500_000 } });
    const peer = RawPeer.connect(pair.network, pair.b.address);
    await pair.clock.settle();
    peer.shakeHands(hello(1));
    await pair.clock.settle();
    peer.connection?.pause();
    pair.b.transport.handle(KEEP, (request) => {
      request.reply(Buffer.alloc(300_000));
    });
    for (let i = 1; i < 20 && !peer.closed; i += 1) {
      peer.send({ type: KEEP, id: i, remainingMs: 60_000 });
      await pair.clock.settle();
    }
    // First it is not read any more;
    expect(peer.closed).toBe(false);
    expect(pair.network.connections[0]?.[1].paused).toBe(true);
    expect(pair.b.transport.counters.requestsReceived).toBeLessThan(8);
    expect(pair.network.connections[0]?.[1].buffered).toBeLessThan(1_500_000);
    // then, when it still takes nothing, given up.
    await pair.clock.advance(30_000);
    expect(peer.closed).toBe(true);
  });

  test('connections too', async () => {
    const pair = await Pair.start({ limits: { maxConnections: 3 } });
    const peers = Array.from({ length: 5 }, () => RawPeer.connect(pair.network, pair.b.address));
    await pair.clock.settle();
    expect(peers.map(({ closed }) => closed)).toEqual([false, false, false, true, true]);
  });
});

describe('what is wrong harms only its own connection', () => {
  const request = { type: ECHO, id: 7, remainingMs: 1000 };
  const chunk = { ...request, payload: Buffer.alloc(65_536) };
  const cases: [string, (RawFrame | Buffer)[]][] = [
    ['bytes that are no frame', [Buffer.from('GET / HTTP/1.1\r\nHost: coterie\r\n\r\n')]],
    ['an oversized frame', [Buffer.from('7fffffff', 'hex')]],
    [
      'a broken checksum',
      [
        Buffer.concat([rawFrame(request).subarray(0, -1), Buffer.from([1])]),
        rawFrame({ ...request, payload: Buffer.from('x') }).fill(0, 26),
      ],
    ],
    ['a type of the transport that is not known', [{ type: 15 }]],
    ['a type of the transport that is not known, with an id', [{ type: 15, id: 1 }]],
    ['a reply where requests come', [{ type: ECHO, flags: REPLY_FLAG, id: 1 }]],
    ['a failure where requests come', [{ type: ERROR, id: 1 }]],
    ['a mark without a clock', [{ type: MARK }]],
    ['a mark with flags', [{ type: MARK, flags: REPLY_FLAG, payload: Buffer.alloc(8) }]],
    ['a mark of a clock that cannot be', [{ type: MARK, payload: Buffer.alloc(8, 0xff) }]],
    ['a CANCEL with a payload', [{ type: CANCEL, id: 1, payload: Buffer.from('x') }]],
    ['a HELLO when it is long over', [{ type: HELLO }]],
    [
      'a request id in use',
      [
        { ...request, type: KEEP },
        { ...request, type: KEEP },
      ],
    ],
    ['a chunk without a beginning', [{ ...chunk, flags: CONTINUED_FLAG }]],
    [
      'a second beginning',
      [
        { ...chunk, flags: MORE_FLAG },
        { ...chunk, flags: MORE_FLAG },
      ],
    ],
    ['a short chunk in the middle', [{ ...chunk, flags: MORE_FLAG, payload: Buffer.from('short') }]],
    [
      'a chunk of another type',
      [
        { ...chunk, flags: MORE_FLAG },
        { ...chunk, type: KEEP, flags: CONTINUED_FLAG },
      ],
    ],
    ['a whole request amid its own chunks', [{ ...chunk, flags: MORE_FLAG }, request]],
    [
      'a message that never ends',
      [{ ...chunk, flags: MORE_FLAG }, ...Array.from({ length: 300 }, () => ({ ...chunk, flags: MORE_FLAG | CONTINUED_FLAG }))],
    ],
    ['too many messages that never end', Array.from({ length: 1100 }, (_, i) => ({ ...chunk, id: i + 1, flags: MORE_FLAG }))],
  ];

  test.each(cases)('%s', async (_, wrong) => {
    const pair = await Pair.connect();
    pair.b.transport.handle(KEEP, () => undefined);
    const peer = RawPeer.connect(pair.network, pair.b.address);
    await pair.clock.settle();
    peer.shakeHands(hello(9));
    await pair.clock.settle();
    expect(peer.closed).toBe(false);
    for (const bytes of wrong) peer.sendBytes(Buffer.isBuffer(bytes) ? bytes : rawFrame(bytes));
    await pair.clock.settle();
    expect(peer.closed).toBe(true);
    expect(pair.b.transport.counters.framesInvalid).toBe(1);
    const { answers } = pair.ask('as if nothing had happened');
    await pair.clock.settle();
    expect(answers).toMatchObject([{ kind: 'reply', text: 'as if nothing had happened' }]);
  });

  test('from a server: what is no reply, or not to what was asked', async () => {
    const firstChunk = { type: ECHO, flags: REPLY_FLAG | MORE_FLAG, id: 1, payload: Buffer.alloc(65_536) };
    for (const wrong of [
      [{ type: ECHO, id: 1 }],
      [{ type: KEEP, flags: REPLY_FLAG, id: 1 }],
      [{ type: ERROR, flags: REPLY_FLAG, id: 1 }],
      [firstChunk, { type: ECHO, flags: REPLY_FLAG, id: 1 }],
      [firstChunk, firstChunk],
    ]) {
      const pair = await Pair.start();
      const server = new RawPeer();
      const listener = await pair.network.listen({ host: HOST, port: 0 }, (connection) => {
        const handler = server.attach(connection);
        return handler;
      });
      pair.a.transport.setPeers([{ name: 'node-2', address: listener.address }]);
      await pair.clock.settle();
      server.shakeHands(hello(2));
      await pair.clock.settle();
      const { answers } = pair.ask('x');
      await pair.clock.settle();
      server.send(...wrong);
      await pair.clock.settle();
      expect(answers).toMatchObject([unknown('PEER_UNREACHABLE')]);
      expect(server.closed).toBe(true);
    }
  });

  test('from a server: a reply to nobody is ignored', async () => {
    const pair = await Pair.connect();
    const { answers, handle } = pair.ask('x');
    pair.clock.turn();
    handle.cancel();
    await pair.clock.settle();
    expect(answers.length).toBeLessThanOrEqual(1);
    expect(pair.state).toBe('connected');
  });
});

describe('a connection that is lost', () => {
  test('fails what was sent with outcome unknown, and what never left with none', async () => {
    const pair = await Pair.connect();
    pair.b.transport.handle(KEEP, () => undefined);
    const sent = pair.ask('x', { type: KEEP });
    await pair.clock.settle();
    const [client, server] = pair.network.connections[0] ?? [];
    server?.pause();
    const filling = Array.from({ length: 5 }, () => pair.ask(Buffer.alloc(65_000)));
    pair.clock.turn();
    const waiting = pair.ask('never leaves');
    const large = pair.ask(Buffer.alloc(200_000));
    client?.destroy();
    await pair.clock.settle();
    expect(sent.answers).toMatchObject([unknown('PEER_UNREACHABLE')]);
    expect(filling[0]?.answers).toMatchObject([unknown('PEER_UNREACHABLE')]);
    expect(waiting.answers).toMatchObject([none('PEER_UNREACHABLE')]);
    expect(large.answers).toMatchObject([none('PEER_UNREACHABLE')]);
  });

  test('cancels the requests at the other side', async () => {
    const pair = await Pair.connect();
    let cancelled = 0;
    pair.b.transport.handle(KEEP, (request) => {
      request.onCancel = (): void => {
        cancelled += 1;
        request.reply(Buffer.from('to nobody'));
      };
    });
    pair.ask('x', { type: KEEP });
    pair.ask('x', { type: KEEP });
    await pair.clock.settle();
    pair.network.connections[0]?.[1].destroy();
    await pair.clock.settle();
    expect(cancelled).toBe(2);
  });

  test('is opened again by itself, and told to the observers', async () => {
    const pair = await Pair.connect();
    const seen: PeerStatus['state'][] = [];
    pair.a.transport.onPeerChange(({ name, state }) => {
      expect(name).toBe('node-2');
      seen.push(state);
    });
    pair.network.connections[0]?.[1].destroy();
    await pair.clock.settle();
    expect(pair.state).toBe('waiting');
    await pair.clock.advance(50);
    expect(pair.state).toBe('connected');
    expect(seen).toEqual(['waiting', 'connected']);
    const { answers } = pair.ask('again');
    await pair.clock.settle();
    expect(answers).toMatchObject([{ kind: 'reply' }]);
  });

  test('is tried again with doubled delays, each cut by up to half at random, to a longest one', async () => {
    const pair = await Pair.start();
    const attempts: number[] = [];
    const { network } = pair;
    const connect = network.connect.bind(network);
    network.connect = (...args): void => {
      attempts.push(pair.clock.monotonicMs());
      connect(...args);
    };
    pair.a.transport.setPeers([{ name: 'node-2', address: { host: HOST, port: 999 } }]);
    await pair.clock.advance(20_000);
    const delays = attempts.slice(1).map((at, i) => at - (attempts[i] ?? 0));
    for (const [i, delay] of delays.entries()) {
      const longest = Math.min(3000, 50 * 2 ** i);
      expect(delay).toBeGreaterThanOrEqual(longest / 2);
      expect(delay).toBeLessThanOrEqual(longest);
    }
    expect(new Set(delays.slice(6)).size).toBe(delays.length - 6);
    expect(pair.events).toEqual([{ kind: 'unreachable', peer: 'node-2', message: 'no connection' }]);
  });

  test('to a host that answers neither yes nor no is tried again too', async () => {
    const pair = await Pair.start();
    pair.network.silent.add(pair.b.address.port);
    pair.introduce();
    await pair.clock.advance(2000);
    expect(pair.state).toBe('waiting');
    pair.network.silent.clear();
    await pair.clock.advance(50);
    expect(pair.state).toBe('connected');
  });

  test('to a peer that comes back is opened as soon as the peer has opened its own', async () => {
    const pair = await Pair.start();
    pair.a.transport.setPeers([{ name: 'node-2', address: { host: HOST, port: 50 } }]);
    await pair.clock.advance(30_000);
    expect(pair.state).toBe('waiting');
    const again = await startNode(2, pair.network, pair.clock, {});
    const listener = await again.transport.listen({ host: HOST, port: 50 });
    expect(listener.address.port).toBe(50);
    again.transport.setPeers([{ name: 'node-1', address: pair.a.address }]);
    await pair.clock.settle();
    expect(pair.state).toBe('connected');
  });

  test('to a peer that has started anew is given up as soon as the peer has opened its own: it is half open', async () => {
    const pair = await Pair.connect();
    const same = RawPeer.connect(pair.network, pair.a.address);
    await pair.clock.settle();
    same.shakeHands(hello(2));
    await pair.clock.settle();
    expect(pair.state).toBe('connected');
    expect(pair.events.some(({ kind }) => kind === 'disconnected')).toBe(false);
    const later = RawPeer.connect(pair.network, pair.a.address);
    await pair.clock.settle();
    later.shakeHands(hello(2, { boot: 8 }));
    await pair.clock.settle();
    expect(pair.events.filter(({ kind }) => kind === 'disconnected')).toContainEqual(
      expect.objectContaining({ peer: 'node-2', direction: 'out', message: 'the peer has started anew' }),
    );
    await pair.clock.advance(60);
    expect(pair.state).toBe('connected');
  });

  test('is noticed by its silence, though nobody closed it', async () => {
    const pair = await Pair.connect();
    const [client, server] = pair.network.connections[0] ?? [];
    await pair.clock.advance(60_000);
    expect(pair.network.connections).toHaveLength(1);
    client?.pause();
    server?.pause();
    await pair.clock.advance(7000);
    expect(client?.open).toBe(false);
    expect(pair.a.transport.peers()[0]).toMatchObject({ state: 'connected' });
    expect(pair.events.find(({ kind }) => kind === 'disconnected')).toMatchObject({
      code: 'PEER_UNREACHABLE',
      message: expect.stringMatching(/^silent for/),
    });
  });

  test('replaces an earlier one of the same peer', async () => {
    const pair = await Pair.start();
    const first = RawPeer.connect(pair.network, pair.b.address);
    await pair.clock.settle();
    first.shakeHands(hello(1));
    await pair.clock.settle();
    const second = RawPeer.connect(pair.network, pair.b.address);
    await pair.clock.settle();
    second.shakeHands(hello(1));
    await pair.clock.settle();
    expect([first.closed, second.closed]).toEqual([true, false]);
  });
});

describe('setPeers and close', () => {
  test('a peer that is no longer named is disconnected, a new address is connected to', async () => {
    const pair = await Pair.connect();
    pair.b.transport.handle(KEEP, () => undefined);
    const { answers } = pair.ask('x', { type: KEEP });
    const seen: [string, string][] = [];
    pair.a.transport.onPeerChange(({ state, address }) => seen.push([state, String(address.port)]));
    await pair.clock.settle();
    const moved = await pair.b.transport.listen({ host: HOST, port: 0 });
    pair.a.transport.setPeers([{ name: 'node-2', address: moved.address }]);
    expect(answers).toEqual([]);
    await pair.clock.settle();
    expect(answers).toMatchObject([unknown('PEER_UNREACHABLE')]);
    expect(pair.state).toBe('connected');
    pair.a.transport.setPeers([{ name: 'node-2', address: moved.address }]);
    await pair.clock.settle();
    expect(pair.network.connections).toHaveLength(2);
    pair.a.transport.setPeers([]);
    await pair.clock.advance(10_000);
    expect(pair.a.transport.peers()).toEqual([]);
    expect(pair.network.connections.every(([near]) => !near.open)).toBe(true);
    expect(seen.map(([state]) => state)).toEqual(['waiting', 'connected', 'waiting']);
  });

  test('a peer that is dropped while it is being connected to stays dropped', async () => {
    const pair = await Pair.start();
    pair.introduce();
    pair.a.transport.setPeers([]);
    await pair.clock.advance(10_000);
    expect(pair.network.connections.every(([near]) => !near.open)).toBe(true);
    expect(pair.network.connections).toHaveLength(1);
  });

  test('close fails what is under way with CLOSED and leaves nothing behind', async () => {
    const pair = await Pair.connect();
    pair.b.transport.handle(KEEP, () => undefined);
    const sent = pair.ask('x', { type: KEEP });
    await pair.clock.settle();
    const closed = pair.a.transport.close();
    expect(sent.answers).toEqual([]);
    await closed;
    const after = pair.ask('x');
    await pair.clock.settle();
    expect(sent.answers).toMatchObject([unknown('CLOSED')]);
    expect(after.answers).toMatchObject([none('CLOSED')]);
    await pair.b.transport.close();
    await pair.clock.settle();
    expect(pair.clock.timers).toBe(0);
    expect(pair.network.connections.every(([near, far]) => !near.open && !far.open)).toBe(true);
    const late = RawPeer.connect(pair.network, pair.b.address);
    await pair.clock.settle();
    expect(late.failure).toBeDefined();
  });
});
