import { describe, expect, test } from '@jest/globals';

import { CoterieError } from '../../src/base/errors.ts';
import { storeId } from '../../src/base/ids.ts';
import {
  decodeFailure,
  decodeHello,
  decodeWelcome,
  encodeFailure,
  encodeHello,
  encodeWelcome,
} from '../../src/transport/handshake-codec.ts';
import { coterie } from '../../src/transport/wire.ts';
import { hello, OpenPolicy, startNode, UNKNOWN } from './cluster.ts';
import { MemoryNetwork } from './memory-network.ts';
import { ECHO, none, Pair } from './pair.ts';
import { ERROR, HELLO, PING, PONG, RawPeer, WELCOME } from './raw-peer.ts';
import { VirtualClock } from './virtual-clock.ts';

/** The fields of `hello(1)`, in the order of their numbers. */
const GOLDEN_HELLO =
  '0801' +
  '1001' +
  '1a10' +
  'cc'.repeat(16) +
  '22066e6f64652d31' +
  '2a10' +
  '11'.repeat(16) +
  '3007' +
  '38ffffffffffffff0f' +
  '4003' +
  '480c' +
  '52030102ff';

describe('the codec', () => {
  test('HELLO is these bytes, whatever the version', () => {
    expect(Buffer.from(encodeHello(hello(1))).toString('hex')).toBe(GOLDEN_HELLO);
    expect(decodeHello(Buffer.from(GOLDEN_HELLO, 'hex'))).toEqual(hello(1));
  });

  test('WELCOME and failures come back as they were', () => {
    const remembered = { known: true, storeId: storeId('9'.repeat(32)), boot: 4, leaseEnd: 2 ** 50, actorEpoch: 2 ** 32 - 1 };
    expect(decodeWelcome(encodeWelcome({ protocol: 3, remembered }))).toEqual({ protocol: 3, remembered });
    expect(decodeWelcome(encodeWelcome({ protocol: 1, remembered: UNKNOWN }))).toEqual({ protocol: 1, remembered: UNKNOWN });
    const failure = { code: 'BUSY', message: 'full', outcome: 'none' } as const;
    expect(decodeFailure(encodeFailure('BUSY', 'full', 'none'))).toEqual(failure);
    expect(decodeFailure(encodeFailure('TIMEOUT', 'x'.repeat(9999), 'unknown')).message).toHaveLength(512);
  });

  test('a code or an outcome of a later version is taken for the worst', () => {
    const payload = Buffer.concat([
      coterie.transport.Failure.encode({ code: 'FROM_THE_FUTURE', message: 'm' }).finish(),
      Buffer.from('1809', 'hex'),
    ]);
    expect(decodeFailure(payload)).toEqual({ code: 'INTERNAL', message: 'm', outcome: 'unknown' });
  });

  test.each([
    ['a counter of 2^64 - 1', '3007', '30ffffffffffffffffff01'],
    ['a counter of 2^53', '3007', '308080808080808010'],
    ['a cluster id of 15 bytes', '1a10cc', '1a0f'],
    ['a name that is none', '6e6f64652d31', '4e6f64652d31'],
    ['no store id', '2a10' + '11'.repeat(16), ''],
    ['a digest of 33 bytes', '52030102ff', '5221' + '00'.repeat(33)],
    ['bytes cut off', '0102ff', '01'],
  ])('refuses %s', (_, right, wrong) => {
    expect(GOLDEN_HELLO).toContain(right);
    const payload = Buffer.from(GOLDEN_HELLO.replace(right, wrong), 'hex');
    expect(() => decodeHello(payload)).toThrow(expect.objectContaining({ code: 'FRAME_INVALID' }));
  });
});

describe('the handshake', () => {
  test('tells both sides who the other is and what it remembers', async () => {
    const pair = await Pair.start({}, () => 3);
    const ofA = { known: true, storeId: hello(1).storeId, boot: 6, leaseEnd: 100, actorEpoch: 2 };
    const ofB = { known: true, storeId: storeId('f'.repeat(32)), boot: 90, leaseEnd: 200, actorEpoch: 5 };
    pair.b.policy.verdict = () => Promise.resolve({ accept: true, remembered: ofA });
    pair.a.policy.verdict = () => Promise.resolve({ accept: true, remembered: ofB });
    pair.introduce();
    await pair.clock.settle();
    expect(pair.a.policy.judged).toEqual([hello(2)]);
    expect(pair.b.policy.judged).toEqual([hello(1)]);
    expect(pair.a.policy.heard).toEqual([['node-2', ofA]]);
    expect(pair.b.policy.heard).toEqual([['node-1', ofB]]);
    expect(pair.a.transport.peers()).toMatchObject([{ name: 'node-2', state: 'connected', hello: hello(2), failure: undefined }]);
    expect(pair.a.transport.connected('node-2')).toBe(true);
  });

  test('lets nothing pass before it is over', async () => {
    const pair = await Pair.start();
    let accept: () => void = () => undefined;
    pair.b.policy.verdict = () =>
      new Promise((resolve) => {
        accept = (): void => {
          resolve({ accept: true, remembered: UNKNOWN });
        };
      });
    pair.introduce();
    await pair.clock.settle();
    expect(pair.state).toBe('handshaking');
    const early = pair.ask('too early');
    await pair.clock.settle();
    expect(early.answers).toMatchObject([none('PEER_UNREACHABLE')]);
    accept();
    await pair.clock.settle();
    expect(pair.state).toBe('connected');
  });

  test.each(['listener', 'opener'] as const)('is refused by the %s: both sides learn why', async (who) => {
    const pair = await Pair.start();
    const judge = who === 'listener' ? pair.b : pair.a;
    judge.policy.verdict = () => Promise.resolve({ accept: false, code: 'PEER_FOREIGN', message: 'of another cluster' });
    const heard: unknown[] = [];
    pair.introduce();
    await pair.clock.settle();
    pair.a.transport.onPeerChange((status) => heard.push(status));
    expect(pair.a.transport.peers()).toMatchObject([
      { state: 'waiting', failure: { code: 'PEER_FOREIGN', message: expect.stringContaining('of another cluster') } },
    ]);
    expect(heard).toEqual([]);
    // Once the cause is gone it connects by itself.
    judge.policy.verdict = () => Promise.resolve({ accept: true, remembered: UNKNOWN });
    await pair.clock.advance(5000);
    expect(pair.state).toBe('connected');
  });

  test('is refused where the judge fails', async () => {
    const pair = await Pair.start();
    pair.b.policy.verdict = () => Promise.reject(new CoterieError('DISK_FAILED', 'cannot remember'));
    pair.introduce();
    await pair.clock.settle();
    expect(pair.a.transport.peers()).toMatchObject([{ state: 'waiting', failure: { code: 'INTERNAL' } }]);
  });

  test('is refused between versions with nothing in common', async () => {
    const clock = new VirtualClock();
    const network = new MemoryNetwork(clock);
    const old = await startNode(1, network, clock);
    const young = await startNode(2, network, clock, { handshake: new OpenPolicy(hello(2, { protocol: { min: 2, max: 4 } })) });
    old.transport.setPeers([{ name: 'node-2', address: young.address }]);
    young.transport.setPeers([{ name: 'node-1', address: old.address }]);
    await clock.settle();
    for (const { transport } of [old, young]) expect(transport.peers()).toMatchObject([{ failure: { code: 'PEER_INCOMPATIBLE' } }]);
  });

  test('is refused by who finds another member at the address', async () => {
    const pair = await Pair.start();
    pair.a.transport.setPeers([{ name: 'node-3', address: pair.b.address }]);
    await pair.clock.settle();
    expect(pair.a.transport.peers()).toMatchObject([{ failure: { code: 'PEER_FOREIGN', message: 'expected node-3, found node-2' } }]);
    expect(pair.a.policy.judged).toEqual([]);
  });

  test('has a deadline on both sides', async () => {
    const pair = await Pair.start();
    const mute = RawPeer.connect(pair.network, pair.b.address);
    const listener = await pair.network.listen({ host: 'x', port: 0 }, (connection) => new RawPeer().attach(connection));
    pair.a.transport.setPeers([{ name: 'node-2', address: listener.address }]);
    await pair.clock.advance(4900);
    expect(mute.closed).toBe(false);
    expect(pair.state).toBe('handshaking');
    await pair.clock.advance(101);
    expect(mute.closed).toBe(true);
    expect(pair.a.transport.peers()[0]).toMatchObject({ failure: { code: 'PEER_UNREACHABLE', message: 'the handshake took too long' } });
  });

  test.each([
    ['a request', { type: ECHO, id: 1, remainingMs: 100 }],
    ['a probe', { type: PING }],
    ['WELCOME before HELLO', { type: WELCOME, payload: encodeWelcome({ protocol: 1, remembered: UNKNOWN }) }],
    ['a HELLO with a request id', { type: HELLO, id: 1, payload: encodeHello(hello(1)) }],
    ['a HELLO that is none', { type: HELLO, payload: Buffer.from('nonsense') }],
  ])('first of all ends the connection if it is %s', async (_, frame) => {
    const pair = await Pair.start();
    const peer = RawPeer.connect(pair.network, pair.b.address);
    await pair.clock.settle();
    peer.send(frame);
    await pair.clock.settle();
    expect(peer.closed).toBe(true);
    expect(peer.frames).toEqual([]);
    expect(pair.b.transport.counters.framesInvalid).toBe(1);
  });

  test.each([
    ['a second HELLO', [{ type: HELLO, payload: encodeHello(hello(1)) }]],
    ['a version that was not agreed', [{ type: WELCOME, payload: encodeWelcome({ protocol: 2, remembered: UNKNOWN }) }]],
    ['a request before WELCOME', [{ type: ECHO, id: 1, remainingMs: 100 }]],
  ])('is broken off by %s', async (_, frames) => {
    const pair = await Pair.start();
    const peer = RawPeer.connect(pair.network, pair.b.address);
    await pair.clock.settle();
    peer.send({ type: HELLO, payload: encodeHello(hello(1)) }, ...frames);
    await pair.clock.settle();
    expect(peer.closed).toBe(true);
    expect(pair.b.policy.heard).toEqual([]);
  });

  test('with a hand-made peer goes by the book', async () => {
    const pair = await Pair.start();
    const peer = RawPeer.connect(pair.network, pair.b.address);
    await pair.clock.settle();
    peer.shakeHands(hello(1));
    peer.send({ type: ECHO, id: 5, remainingMs: 1000, epoch: 12n, payload: Buffer.from('hi') }, { type: PING });
    await pair.clock.settle();
    expect(peer.frames.map(({ type, flags, id }) => ({ type, flags, id }))).toEqual([
      { type: HELLO, flags: 0, id: 0 },
      { type: WELCOME, flags: 0, id: 0 },
      { type: ECHO, flags: 1, id: 5 },
      { type: PONG, flags: 0, id: 0 },
    ]);
    expect(decodeHello(peer.frames[0]?.payload ?? Buffer.alloc(0))).toEqual(hello(2));
    expect(peer.of(ERROR)).toEqual([]);
    expect(peer.closed).toBe(false);
  });
});
