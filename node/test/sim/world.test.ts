/** The simulated world itself: order, pauses, fencing, and what its network does to bytes. */

import { describe, expect, test } from '@jest/globals';
import type { Connection, ConnectionHandler } from '../../src/env/network.ts';
import { EventQueue } from '../../sim/world/event-queue.ts';
import { POISON } from '../../sim/world/connection-end.ts';
import { SimNetwork } from '../../sim/world/network.ts';
import { type HostClock, isFenced, Process } from '../../sim/world/process.ts';
import { World } from '../../sim/world/world.ts';

const LIMITS = { turns: 100_000, virtualMs: 1_000_000 };

interface Pair {
  readonly world: World;
  readonly network: SimNetwork;
  /** Of both. */
  readonly clock: HostClock;
  readonly a: Process;
  readonly b: Process;
}

function pair(seed = 1): Pair {
  const world = new World(seed, false);
  const network = new SimNetwork(world);
  for (const host of ['a', 'b']) network.addHost(host);
  for (const from of ['a', 'b']) {
    for (const to of ['a', 'b']) {
      network.setLink(from, to, { delayUs: 500, jitterUs: 500, loss: 0.02, retransmitUs: 20_000, bytesPerSecond: 1e8, blocked: false });
    }
  }
  const clock: HostClock = { offsetUs: 0, rate: 1 };
  return { world, network, clock, a: new Process(world, 'a', clock), b: new Process(world, 'b', clock) };
}

/** What one end saw. */
class End implements ConnectionHandler {
  readonly chunks: Uint8Array[] = [];
  readonly copies: number[] = [];
  drains = 0;
  closed: string | undefined;
  readonly connection: Connection;
  constructor(connection: Connection) {
    this.connection = connection;
  }
  onData(chunk: Uint8Array): void {
    this.chunks.push(chunk);
    this.copies.push(...chunk);
  }
  onDrain(): void {
    this.drains += 1;
  }
  onClose(error?: Error): void {
    this.closed = error?.message ?? 'orderly';
  }
}

async function connected({ network, a, b }: Pair): Promise<{ client: End; server: End }> {
  return new Promise((resolve, reject) => {
    let server: End | undefined;
    void network.for(b, 'b').listen({ host: 'b', port: 7 }, (connection) => (server = new End(connection)));
    network.for(a, 'a').connect(
      { host: 'b', port: 7 },
      1000,
      (connection) => {
        const client = new End(connection);
        if (server !== undefined) resolve({ client, server });
        return client;
      },
      reject,
    );
  });
}

async function play(parts: Pair, scenario: () => Promise<void>): Promise<void> {
  await parts.world.run(scenario, LIMITS);
  expect(parts.world.failures).toEqual([]);
}

describe('events', () => {
  test('run by time, then in the order of scheduling', () => {
    const queue = new EventQueue<undefined>();
    const ran: string[] = [];
    for (const [at, name] of [
      [5, 'c'],
      [1, 'a'],
      [5, 'd'],
      [3, 'b'],
      [9, 'x'],
      [5, 'e'],
    ] as const) {
      const event = queue.push(at, undefined, () => ran.push(name));
      event.cancelled = name === 'x';
    }
    for (let event = queue.pop(); event !== undefined; event = queue.pop()) event.run();
    expect(ran.join('')).toBe('abcde');
  });

  test('everything that an event makes ready runs before the next event', async () => {
    const parts = pair();
    const ran: string[] = [];
    await play(parts, async () => {
      parts.world.schedule(10, undefined, () => {
        void Promise.resolve()
          .then(() => new Promise((resolve) => process.nextTick(resolve)))
          .then(() => ran.push('made ready'));
      });
      parts.world.schedule(10, undefined, () => ran.push('next'));
      await parts.world.sleep(1);
    });
    expect(ran).toEqual(['made ready', 'next']);
  });

  test('wait while their process is paused, and keep their order; a timer cancelled meanwhile does not run', async () => {
    const parts = pair();
    const ran: string[] = [];
    await play(parts, async () => {
      parts.a.after(1, () => ran.push('1'));
      const timer = parts.a.after(2, () => ran.push('2'));
      parts.a.after(3, () => ran.push('3'));
      parts.a.pause();
      await parts.world.sleep(10);
      expect(ran).toEqual([]);
      parts.a.resume();
      timer.cancel();
      await parts.world.sleep(1);
    });
    expect(ran).toEqual(['1', '3']);
  });

  test('wait while a synchronous call holds the loop, which the call sees took time', async () => {
    const parts = pair();
    const ran: number[] = [];
    await play(parts, async () => {
      parts.a.soon(() => {
        const before = parts.a.monotonicMs();
        parts.a.soon(() => ran.push(parts.a.monotonicMs() - before));
        parts.a.busy(3000);
        ran.push(parts.a.monotonicMs() - before);
      });
      await parts.world.sleep(10);
    });
    expect(ran).toEqual([3, 3]);
  });

  test('never run after their process has died, and its calls throw', async () => {
    const parts = pair();
    let ran = false;
    let thrown: unknown;
    await play(parts, async () => {
      parts.a.after(1, () => (ran = true));
      parts.a.fence();
      try {
        parts.a.wallMs();
      } catch (error) {
        thrown = error;
      }
      await parts.world.sleep(10);
    });
    expect(ran).toBe(false);
    expect(isFenced(thrown)).toBe(true);
    expect(isFenced(new Error('outer', { cause: thrown }))).toBe(true);
  });
});

describe('a monotonic clock', () => {
  test('never goes back, also when it begins to run more slowly', async () => {
    const parts = pair();
    const read: number[] = [];
    await play(parts, async () => {
      parts.clock.rate = 1.25;
      await parts.world.sleep(100_000);
      read.push(parts.a.monotonicMs());
      parts.clock.rate = 0.5;
      read.push(parts.a.monotonicMs());
      await parts.world.sleep(1000);
      read.push(parts.a.monotonicMs());
    });
    // The first reading after a change is still at the rate before it.
    expect(read).toEqual([100_000, 100_000, 100_500]);
  });
});

describe('the network', () => {
  test('keeps bytes in order, cuts them anywhere, pushes back, and overwrites what it lent', async () => {
    const parts = pair();
    await play(parts, async () => {
      const { client, server } = await connected(parts);
      let sent = 0;
      let refused = 0;
      while (sent < 300_000) {
        const chunk = Uint8Array.from({ length: 5000 }, (_, at) => (sent + at) % 251);
        sent += chunk.length;
        if (!client.connection.write(chunk)) refused += 1;
        chunk.fill(0);
      }
      expect(refused).toBeGreaterThan(10);
      await parts.world.sleep(2000);
      expect(client.drains).toBe(1);
      expect(server.copies.length).toBe(sent);
      expect(server.copies.every((byte, at) => byte === at % 251)).toBe(true);
      expect(server.chunks.every((chunk) => chunk.every((byte) => byte === POISON))).toBe(true);
      expect(new Set(server.chunks.map((chunk) => chunk.length)).size).toBeGreaterThan(5);
    });
  });

  test('a reader that pauses fills the window and no more', async () => {
    const parts = pair();
    await play(parts, async () => {
      const { client, server } = await connected(parts);
      server.connection.pause();
      for (let i = 0; i < 50; i += 1) client.connection.write(new Uint8Array(10_000));
      await parts.world.sleep(1000);
      expect(server.copies.length).toBe(0);
      expect(client.connection.buffered).toBeGreaterThan(400_000);
      server.connection.resume();
      await parts.world.sleep(2000);
      expect(server.copies.length).toBe(500_000);
    });
  });

  test('an orderly end arrives after the data, a reset may not', async () => {
    const parts = pair();
    await play(parts, async () => {
      const { client, server } = await connected(parts);
      client.connection.write(Uint8Array.of(1, 2, 3));
      client.connection.end();
      expect(client.closed).toBeUndefined();
      await parts.world.sleep(100);
      expect([server.copies, server.closed, client.closed]).toEqual([[1, 2, 3], 'orderly', 'orderly']);
    });
  });

  test('a short partition delays, a long one breaks', async () => {
    const parts = pair();
    await play(parts, async () => {
      const { client, server } = await connected(parts);
      parts.network.block('a', 'b');
      client.connection.write(Uint8Array.of(1));
      await parts.world.sleep(3000);
      expect(server.copies).toEqual([]);
      parts.network.unblock('a', 'b');
      await parts.world.sleep(1100);
      expect(server.copies).toEqual([1]);
      parts.network.block('a', 'b');
      client.connection.write(Uint8Array.of(2));
      await parts.world.sleep(30_000);
      expect(client.closed).toBe('timed out');
      parts.network.unblock('a', 'b');
      server.connection.write(Uint8Array.of(9));
      await parts.world.sleep(1000);
      expect(server.closed).toBe('connection reset');
      expect(server.copies).toEqual([1]);
    });
  });

  test('a killed process resets its connections, a machine without power is silent', async () => {
    const killed = pair();
    await play(killed, async () => {
      const { client } = await connected(killed);
      killed.b.fence();
      killed.network.died(killed.b, 'b', false);
      await killed.world.sleep(100);
      expect(client.closed).toBe('connection reset');
    });
    const dark = pair();
    await play(dark, async () => {
      const { client } = await connected(dark);
      dark.b.fence();
      dark.network.died(dark.b, 'b', true);
      await dark.world.sleep(1000);
      expect(client.closed).toBeUndefined();
      await dark.world.sleep(30_000);
      expect(client.closed).toBe('timed out');
    });
  });

  test('a connection to nowhere fails: at once where nobody listens, in time where nobody is', async () => {
    const parts = pair();
    const failures: [string, number][] = [];
    await play(parts, async () => {
      const dial = (): void => {
        const from = parts.world.nowUs;
        parts.network.for(parts.a, 'a').connect(
          { host: 'b', port: 9 },
          500,
          (connection) => new End(connection),
          (error) => {
            failures.push([error.message, parts.world.nowUs - from]);
          },
        );
      };
      dial();
      await parts.world.sleep(1000);
      parts.network.block('b', 'a');
      dial();
      await parts.world.sleep(1000);
    });
    expect(failures.map(([message]) => message)).toEqual(['connect b:9: refused', 'connect b:9: timed out']);
    expect(failures[0]?.[1]).toBeLessThan(50_000);
    expect(failures[1]?.[1]).toBe(500_000);
  });

  test('the same seed gives the same trace', async () => {
    const hashes: string[] = [];
    for (const seed of [1, 1, 2]) {
      const parts = pair(seed);
      await play(parts, async () => {
        const { client } = await connected(parts);
        for (let i = 0; i < 20; i += 1) client.connection.write(new Uint8Array(100).fill(i));
        await parts.world.sleep(100);
      });
      hashes.push(parts.world.trace.hash);
    }
    expect(hashes[0]).toBe(hashes[1]);
    expect(hashes[0]).not.toBe(hashes[2]);
  });
});
