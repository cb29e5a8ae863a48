import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import * as net from 'node:net';

import { NodeClock } from '../../src/env-node/clock.ts';
import { NodeNetwork } from '../../src/env-node/network.ts';
import type { PeerStatus } from '../../src/transport/peer-status.ts';
import { HOST, SeededRandom, startNode, type TestNode } from './cluster.ts';
import { type Answer, copied } from './pair.ts';

const ECHO = 20;
const KEEP = 21;

let a: TestNode;
let b: TestNode;

function ask(payload: Uint8Array, type = ECHO): Promise<Answer> {
  return new Promise((resolve) => {
    a.transport.request('node-2', type, payload, 10_000, 1, (reply) => {
      resolve(copied(reply));
    });
  });
}

/** The next time that node 1 sees node 2 in this state. */
function becomes(state: PeerStatus['state']): Promise<void> {
  return new Promise((resolve) => {
    a.transport.onPeerChange((status) => {
      if (status.state === state) resolve();
    });
  });
}

beforeEach(async () => {
  const network = new NodeNetwork();
  const clock = new NodeClock();
  const limits = { reconnectFirstMs: 5 };
  a = await startNode(1, network, clock, { limits });
  b = await startNode(2, network, clock, { limits });
  b.transport.handle(ECHO, (request) => {
    request.reply(request.payload);
  });
  const up = becomes('connected');
  a.transport.setPeers([{ name: 'node-2', address: b.address }]);
  await up;
});

afterEach(async () => {
  await a.transport.close();
  await b.transport.close();
});

describe('two transports over TCP', () => {
  test('exchange messages of all sizes at once', async () => {
    const random = new SeededRandom(4);
    const payloads = Array.from({ length: 300 }, (_, i) => Buffer.alloc(random.below(i % 10 === 0 ? 400_000 : 2000), i));
    const answers = await Promise.all(payloads.map((payload) => ask(payload)));
    for (const [i, answer] of answers.entries()) {
      expect(answer.kind === 'reply' && Buffer.from(answer.text, 'latin1').equals(payloads[i] ?? Buffer.alloc(0))).toBe(true);
    }
    expect(a.transport.peers()).toMatchObject([{ requests: 0, queuedBytes: 0 }]);
  });

  test('find each other again after the connection is cut', async () => {
    const cancelled = new Promise<void>((resolve) => {
      b.transport.handle(KEEP, (request) => {
        request.onCancel = resolve;
        // Node 1 drops node 2 and takes it up again, while node 2 is at work for it.
        a.transport.setPeers([]);
        a.transport.setPeers([{ name: 'node-2', address: b.address }]);
      });
    });
    const back = becomes('connected');
    expect(await ask(Buffer.from('x'), KEEP)).toMatchObject({ kind: 'failed', code: 'PEER_UNREACHABLE', outcome: 'unknown' });
    await Promise.all([cancelled, back]);
    expect(await ask(Buffer.from('again'))).toMatchObject({ kind: 'reply', text: 'again' });
  });

  test('are not disturbed by strangers who talk nonsense', async () => {
    const strangers = ['GET / HTTP/1.1\r\n\r\n', '\xff\xff\xff\xff', '\0\0\0\x16' + '\0'.repeat(22)].map(
      (text) =>
        new Promise<void>((resolve) => {
          const socket = net.connect(b.address.port, HOST, () => socket.write(Buffer.from(text, 'latin1')));
          socket.on('error', () => undefined);
          socket.on('close', () => {
            resolve();
          });
          socket.resume();
        }),
    );
    await Promise.all(strangers);
    expect(await ask(Buffer.from('well'))).toMatchObject({ kind: 'reply', text: 'well' });
    expect(b.transport.counters.framesInvalid).toBe(3);
  });
});
