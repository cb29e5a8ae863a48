/** Transports for tests: who they say they are, and a network between them. */

import { clusterId, memberName, storeId } from '../../src/base/ids.ts';
import type { Clock } from '../../src/env/clock.ts';
import type { Address, Network } from '../../src/env/network.ts';
import type { Random } from '../../src/env/random.ts';
import type { HandshakePolicy, Hello, Judgement, Remembered } from '../../src/transport/handshake.ts';
import { Transport, type TransportOptions } from '../../src/transport/transport.ts';

export const HOST = '127.0.0.1';

/** xorshift32: small, seeded, good enough to vary tests. */
export class SeededRandom implements Random {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed | 0) === 0 ? 0x9e3779b9 : seed | 0;
  }

  u32(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return x >>> 0;
  }

  /** 0 to `limit` - 1. */
  below(limit: number): number {
    return this.u32() % limit;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.u32() & 0xff);
  }
}

export const UNKNOWN: Remembered = { known: false, boot: 0, leaseEnd: 0, actorEpoch: 0 };

export function hello(index: number, change: Partial<Hello> = {}): Hello {
  return {
    protocol: { min: 1, max: 1 },
    clusterId: clusterId('c'.repeat(32)),
    name: memberName(`node-${String(index)}`),
    storeId: storeId(String(index % 10).repeat(32)),
    boot: 7,
    leaseEnd: 2 ** 53 - 1,
    actorEpoch: 3,
    topologyEpoch: 12,
    topologyDigest: '\x01\x02\xff',
    ...change,
  };
}

/** Accepts everybody, and notes what it hears. */
export class OpenPolicy implements HandshakePolicy {
  readonly ours: Hello;
  readonly judged: Hello[] = [];
  readonly heard: [string, Remembered][] = [];
  verdict: (theirs: Hello) => Promise<Judgement> = () => Promise.resolve({ accept: true, remembered: UNKNOWN });

  constructor(ours: Hello) {
    this.ours = ours;
  }

  hello(): Hello {
    return this.ours;
  }

  judge(theirs: Hello): Promise<Judgement> {
    this.judged.push(theirs);
    return this.verdict(theirs);
  }

  remembered(peer: string, what: Remembered): void {
    this.heard.push([peer, what]);
  }
}

export interface TestNode {
  readonly name: string;
  readonly transport: Transport;
  readonly policy: OpenPolicy;
  readonly address: Address;
}

/** A transport that listens, not yet connected to anybody. */
export async function startNode(index: number, network: Network, clock: Clock, options: Partial<TransportOptions> = {}): Promise<TestNode> {
  const policy = new OpenPolicy(hello(index));
  const transport = new Transport({ network, clock, random: new SeededRandom(index), handshake: policy, ...options });
  const { address } = await transport.listen({ host: HOST, port: 0 });
  return { name: policy.ours.name, transport, policy, address };
}
