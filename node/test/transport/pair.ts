/** Two transports on one virtual clock and one in-memory network, and small ways to use them. */

import type { Outcome } from '../../src/base/errors.ts';
import type { TransportEvent } from '../../src/transport/peer-status.ts';
import type { Reply, RequestHandle } from '../../src/transport/request.ts';
import type { TransportOptions } from '../../src/transport/transport.ts';
import { startNode, type TestNode } from './cluster.ts';
import { MemoryNetwork } from './memory-network.ts';
import { VirtualClock } from './virtual-clock.ts';

export const ECHO = 20;
export const EPOCH = 12;

/** A reply, copied out of its borrow. */
export type Answer = { kind: 'reply'; text: string; epoch: number } | { kind: 'failed'; code: string; message: string; outcome: Outcome };

export function copied(reply: Reply): Answer {
  if (reply.kind === 'failed') return { ...reply };
  return { kind: 'reply', text: Buffer.from(reply.payload).toString('latin1'), epoch: reply.epoch };
}

export class Pair {
  readonly clock: VirtualClock;
  readonly network: MemoryNetwork;
  readonly a: TestNode;
  readonly b: TestNode;
  readonly events: TransportEvent[];

  private constructor(clock: VirtualClock, network: MemoryNetwork, a: TestNode, b: TestNode, events: TransportEvent[]) {
    this.clock = clock;
    this.network = network;
    this.a = a;
    this.b = b;
    this.events = events;
  }

  /** Node 1 knows node 2 and is connected to it; node 2 echoes messages of type ECHO. `events` are those of node 1. */
  static async connect(options: Partial<TransportOptions> = {}, cut?: (bytes: number) => number): Promise<Pair> {
    const pair = await Pair.start(options, cut);
    pair.introduce();
    await pair.clock.settle();
    return pair;
  }

  /** The same, not connected yet. */
  static async start(options: Partial<TransportOptions> = {}, cut?: (bytes: number) => number): Promise<Pair> {
    const clock = new VirtualClock();
    const network = new MemoryNetwork(clock, cut);
    const events: TransportEvent[] = [];
    const a = await startNode(1, network, clock, { ...options, log: (event) => events.push(event) });
    const b = await startNode(2, network, clock, options);
    b.transport.handle(ECHO, (request) => {
      request.reply(request.payload);
    });
    return new Pair(clock, network, a, b, events);
  }

  introduce(): void {
    this.a.transport.setPeers([{ name: this.b.name, address: this.b.address }]);
  }

  /** Sends a request from node 1 to node 2; the answer stands in `answers` once it is there. */
  ask(
    text: string | Uint8Array,
    options: { type?: number; deadlineMs?: number; epoch?: number } = {},
  ): { answers: Answer[]; handle: RequestHandle } {
    const answers: Answer[] = [];
    const { type = ECHO, deadlineMs = 1000, epoch = EPOCH } = options;
    const payload = typeof text === 'string' ? Buffer.from(text, 'latin1') : text;
    const handle = this.a.transport.request(this.b.name, type, payload, deadlineMs, epoch, (reply) => {
      answers.push(copied(reply));
    });
    return { answers, handle };
  }

  /** `state` of node 2 as node 1 sees it. */
  get state(): string | undefined {
    return this.a.transport.peers()[0]?.state;
  }
}

/** The answer of a request that was never sent or refused before any effect. */
export function none(code: string): Record<string, unknown> {
  return { kind: 'failed', code, outcome: 'none' };
}

/** The answer of a request that may have been carried out. */
export function unknown(code: string): Record<string, unknown> {
  return { kind: 'failed', code, outcome: 'unknown' };
}
