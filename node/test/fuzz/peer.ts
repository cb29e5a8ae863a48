/**
 * Feeds wrong input to the peer protocol: `node test/fuzz/peer.ts --count 1000000 --seed 1`.
 *
 * Half of the inputs go to the frame parser, most others to live transports over an in-memory network (as requests to a node, as replies
 * to one, and as handshakes), the rest to one over real sockets. A crash, a failure that is not coded, memory that grows, or a good request
 * that fails afterwards ends the program with exit code 1. The last line of its output is JSON.
 */

import * as net from 'node:net';

import { readFlags, wholeNumber } from '../../sim/command/flags.ts';
import { CoterieError, isCoterieError } from '../../src/base/errors.ts';
import { NodeClock } from '../../src/env-node/clock.ts';
import { NodeNetwork } from '../../src/env-node/network.ts';
import { FrameParser } from '../../src/transport/frame-parser.ts';
import type { IncomingRequest } from '../../src/transport/request.ts';
import type { TransportLimits } from '../../src/transport/limits.ts';
import { hello, HOST, SeededRandom, startNode, type TestNode } from '../transport/cluster.ts';
import { MemoryNetwork } from '../transport/memory-network.ts';
import { RawPeer } from '../transport/raw-peer.ts';
import { VirtualClock } from '../transport/virtual-clock.ts';
import { check, rounds } from './growth.ts';
import { BROKEN, ECHO, InputMaker, KEEP, type Stage } from './peer-inputs.ts';

/** Connections attacked side by side. */
const WIDTH = 64;
const MOST_GROWTH_BYTES = 12 * 1024 * 1024;

/** The network and the policy note everything for tests; here that would grow with every connection. */
function forget(network: MemoryNetwork, ...nodes: TestNode[]): void {
  network.connections.length = 0;
  for (const { policy } of nodes) {
    policy.judged.length = 0;
    policy.heard.length = 0;
  }
}

/** The parser alone. */
async function fuzzParser(count: number, random: SeededRandom): Promise<object> {
  const maker = new InputMaker(random);
  const stages: Stage[] = ['handshake', 'requests', 'replies'];
  let frames = 0;
  let refused = 0;
  const fresh = (): FrameParser =>
    new FrameParser({
      frame: (frame) => {
        check(Number.isSafeInteger(frame.epoch) && frame.type > 0 && frame.flags < 8, 'a frame out of range');
        frames += 1;
        return frames % 7 !== 0;
      },
    });
  let parser = fresh();
  const round = (): number => {
    const input = maker.input(stages[random.below(3)] ?? 'requests', [1, 2, 3]);
    try {
      for (const piece of maker.pieces(input)) {
        parser.push(piece);
        while (parser.stopped) parser.resume();
      }
    } catch (error) {
      check(isCoterieError(error) && /^FRAME_(INVALID|TOO_LARGE)$/.test(error.code), `the parser threw ${String(error)}`);
      refused += 1;
      parser = fresh();
    }
    check(parser.heldBytes <= 26 + 65_536, 'the parser holds more than a frame');
    // A parser that waits for the rest of a long frame would swallow the next inputs.
    if (random.below(8) === 0) parser = fresh();
    return 1;
  };
  const quiet = (): void => {
    parser = fresh();
  };
  const growth = await rounds(count, round, quiet, MOST_GROWTH_BYTES);
  return { inputs: count, frames, refused, growth };
}

/** Handlers of a node under attack. */
function handle(node: TestNode): IncomingRequest[] {
  const kept: IncomingRequest[] = [];
  node.transport.handle(ECHO, (request) => {
    request.reply(request.payload);
  });
  node.transport.handle(KEEP, (request) => {
    kept.push(request);
    request.onCancel = (): void => {
      kept.splice(kept.indexOf(request), 1);
    };
  });
  node.transport.handle(BROKEN, (request) => {
    if (request.payload.length % 2 === 1) throw new CoterieError('FRAME_INVALID', 'cannot be decoded');
    request.fail('BUSY', 'not now', 'none');
  });
  return kept;
}

const LIMITS: Partial<TransportLimits> = {
  maxAssemblyBytes: 1024 * 1024,
  maxIncoming: 32,
  handshakeTimeoutMs: 200,
  reconnectFirstMs: 1,
  reconnectLastMs: 1,
};

/** A well-behaved client beside the attackers: its requests must go on being answered. */
async function witness(network: MemoryNetwork, clock: VirtualClock, victim: TestNode): Promise<() => Promise<void>> {
  const client = await startNode(900, network, clock);
  client.transport.setPeers([{ name: victim.name, address: victim.address }]);
  await clock.settle();
  return async () => {
    let answer = '';
    client.transport.request(victim.name, ECHO, Buffer.from('good'), 1000, 1, (reply) => {
      answer = reply.kind === 'reply' ? Buffer.from(reply.payload).toString() : reply.code;
    });
    await clock.settle();
    check(answer === 'good', `a good request was answered with ${answer === '' ? 'nothing' : answer}`);
  };
}

/** A node whose incoming connections are attacked, before and after their handshake. */
async function fuzzServer(count: number, random: SeededRandom): Promise<object> {
  const clock = new VirtualClock();
  const network = new MemoryNetwork(clock);
  const victim = await startNode(0, network, clock, { limits: LIMITS });
  const kept = handle(victim);
  const goodRequest = await witness(network, clock, victim);
  const maker = new InputMaker(random);
  const attackers: RawPeer[] = [];
  const shaken = new Set<RawPeer>();
  let opened = 0;
  const round = async (): Promise<number> => {
    for (let i = 0; i < WIDTH; i += 1) {
      if (attackers[i]?.closed === false) continue;
      attackers[i] = RawPeer.connect(network, victim.address);
      opened += 1;
    }
    await clock.settle();
    for (const [i, attacker] of attackers.entries()) {
      attacker.frames.length = 0;
      if (shaken.has(attacker) || random.below(4) === 0) continue;
      attacker.shakeHands(hello(1 + i));
      shaken.add(attacker);
    }
    await clock.settle();
    for (const attacker of attackers) {
      const input = maker.input(shaken.has(attacker) ? 'requests' : 'handshake');
      for (const piece of maker.pieces(input)) attacker.sendBytes(piece);
      if (random.below(50) === 0) attacker.connection?.destroy();
      if (random.below(10) === 0) attacker.connection?.pause();
    }
    for (const request of kept.splice(0, random.below(8))) request.reply(Buffer.from('at last'));
    await goodRequest();
    for (const attacker of attackers) attacker.connection?.resume();
    for (const attacker of shaken) if (attacker.closed) shaken.delete(attacker);
    await clock.advance(random.below(10));
    forget(network, victim);
    check(kept.length <= WIDTH * 32 + 32, 'more requests are kept than the connections may have');
    check(clock.timers < 1000, 'timers pile up');
    return WIDTH;
  };
  const quiet = async (): Promise<void> => {
    for (const attacker of attackers.splice(0)) attacker.connection?.destroy();
    shaken.clear();
    await clock.advance(120_000);
    forget(network, victim);
  };
  const growth = await rounds(count, round, quiet, MOST_GROWTH_BYTES);
  check(kept.length === 0, 'requests outlive their connections and deadlines');
  await goodRequest();
  await victim.transport.close();
  return { inputs: count, opened, ...victim.transport.counters, growth };
}

/** A node whose peers answer wrongly. */
async function fuzzClient(count: number, random: SeededRandom): Promise<object> {
  const clock = new VirtualClock();
  const network = new MemoryNetwork(clock);
  const victim = await startNode(0, network, clock, { limits: LIMITS });
  handle(victim);
  const good = await startNode(901, network, clock);
  handle(good);
  const maker = new InputMaker(random);
  const servers = new Map<number, RawPeer>();
  const peers = [{ name: good.name, address: good.address }];
  for (let i = 1; i <= WIDTH; i += 1) {
    const { address } = await network.listen({ host: HOST, port: 0 }, (connection) => {
      const server = new RawPeer();
      servers.set(i, server);
      const handler = server.attach(connection);
      if (random.below(8) > 0) server.shakeHands(hello(i));
      return handler;
    });
    peers.push({ name: `node-${String(i)}`, address });
  }
  victim.transport.setPeers(peers);
  let asked = 0;
  let answered = 0;
  const round = async (): Promise<number> => {
    await clock.advance(2);
    for (let i = 1; i <= WIDTH; i += 1) {
      for (let requests = random.below(4); requests > 0; requests -= 1) {
        asked += 1;
        let runs = 0;
        victim.transport.request(`node-${String(i)}`, ECHO, Buffer.from('question'), 1 + random.below(20), 1, (reply) => {
          runs += 1;
          answered += 1;
          if (reply.kind === 'failed') {
            check(runs === 1 || (runs === 2 && reply.code === 'FRAME_INVALID'), 'a request was answered twice');
          } else if (reply.payload.length % 5 === 4) {
            answered -= 1;
            throw new CoterieError('FRAME_INVALID', 'cannot be decoded');
          }
        });
      }
    }
    let healthy = false;
    victim.transport.request(good.name, ECHO, Buffer.from('good'), 1000, 1, (reply) => {
      healthy = reply.kind === 'reply';
    });
    await clock.settle();
    check(healthy, 'a good peer was not heard');
    for (const server of servers.values()) {
      if (server.closed) continue;
      const ids = server.of(ECHO).map(({ id }) => id);
      const input = maker.input(ids.length === 0 && random.below(2) === 0 ? 'handshake' : 'replies', ids);
      for (const piece of maker.pieces(input)) server.sendBytes(piece);
      server.frames.length = 0;
    }
    await clock.settle();
    forget(network, victim);
    check(clock.timers < 1000, 'timers pile up');
    return servers.size;
  };
  const quiet = async (): Promise<void> => {
    for (const server of servers.values()) server.connection?.destroy();
    await clock.advance(100);
    forget(network, victim);
  };
  const growth = await rounds(count, round, quiet, MOST_GROWTH_BYTES);
  await clock.advance(1000);
  check(asked === answered, `${String(asked)} requests, ${String(answered)} answers`);
  check(
    victim.transport.peers().every(({ requests, queuedBytes }) => requests === 0 && queuedBytes < 4096),
    'requests are left over',
  );
  await victim.transport.close();
  return { inputs: count, asked, ...victim.transport.counters, growth };
}

/** A node on a real socket. */
async function fuzzSockets(count: number, random: SeededRandom): Promise<object> {
  const network = new NodeNetwork();
  const clock = new NodeClock();
  const victim = await startNode(0, network, clock, { limits: { ...LIMITS, handshakeTimeoutMs: 5000 } });
  handle(victim);
  const client = await startNode(902, network, clock);
  const connected = new Promise<void>((resolve) => {
    client.transport.onPeerChange(({ state }) => {
      if (state === 'connected') resolve();
    });
  });
  client.transport.setPeers([{ name: victim.name, address: victim.address }]);
  await connected;
  const maker = new InputMaker(random);
  const goodRequest = (): Promise<void> =>
    new Promise((resolve, reject) => {
      client.transport.request(victim.name, ECHO, Buffer.from('good'), 10_000, 1, (reply) => {
        if (reply.kind === 'reply') resolve();
        else reject(new Error(`fuzzing found: a good request over a socket failed with ${reply.code}`));
      });
    });
  const attack = (): Promise<void> =>
    new Promise((resolve) => {
      const socket = net.connect(victim.address.port, victim.address.host, () => {
        const raw = new RawPeer();
        raw.attach({
          remote: '',
          buffered: 0,
          write: (bytes) => socket.write(Buffer.from(bytes)),
          pause: () => undefined,
          resume: () => undefined,
          end: () => undefined,
          destroy: () => undefined,
        });
        const shake = random.below(4) > 0;
        if (shake) raw.shakeHands(hello(1 + random.below(WIDTH)));
        for (let inputs = 0; inputs < 8; inputs += 1) {
          for (const piece of maker.pieces(maker.input(shake ? 'requests' : 'handshake'))) socket.write(piece);
        }
        socket.end();
      });
      socket.resume();
      socket.on('error', () => undefined);
      socket.on('close', () => {
        resolve();
      });
    });
  const round = async (): Promise<number> => {
    await Promise.all([...Array.from({ length: WIDTH / 4 }, attack), goodRequest()]);
    victim.policy.judged.length = 0;
    victim.policy.heard.length = 0;
    return (WIDTH / 4) * 8;
  };
  const growth = await rounds(count, round, goodRequest, MOST_GROWTH_BYTES);
  await goodRequest();
  await client.transport.close();
  await victim.transport.close();
  return { inputs: count, ...victim.transport.counters, growth };
}

const values = readFlags({ count: { type: 'string' }, seed: { type: 'string' } });
const count = wholeNumber(values.count, 20_000, 'count', 1000);
const seed = wholeNumber(values.seed, 1, 'seed', 0);

const started = performance.now();
try {
  const parser = await fuzzParser(Math.ceil(count * 0.5), new SeededRandom(seed));
  const server = await fuzzServer(Math.ceil(count * 0.25), new SeededRandom(seed + 1));
  const client = await fuzzClient(Math.ceil(count * 0.2), new SeededRandom(seed + 2));
  const sockets = await fuzzSockets(Math.ceil(count * 0.05), new SeededRandom(seed + 3));
  const seconds = Math.round((performance.now() - started) / 100) / 10;
  console.log(JSON.stringify({ ok: true, seed, inputs: count, seconds, parser, server, client, sockets }));
} catch (error) {
  console.error(error);
  console.log(JSON.stringify({ ok: false, seed, inputs: count, error: String(error) }));
  process.exitCode = 1;
}
