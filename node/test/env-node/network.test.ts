import { describe, expect, test } from '@jest/globals';

import { FreeList } from '../../src/env-node/free-list.ts';
import { NodeNetwork } from '../../src/env-node/network.ts';
import type { Connection, ConnectionHandler } from '../../src/env/network.ts';

const network = new NodeNetwork();
const HOST = '127.0.0.1';

interface End {
  readonly connection: Connection;
  readonly chunks: Buffer[];
  onData: (() => void) | undefined;
  onDrain: (() => void) | undefined;
  readonly closed: Promise<Error | undefined>;
}

/** Both ends of a new connection, recording what arrives. */
async function pair(): Promise<{ client: End; server: End; stop: () => Promise<void> }> {
  const attach = (connection: Connection, ready: (end: End) => void): ConnectionHandler => {
    let close: (error?: Error) => void = () => undefined;
    const closed = new Promise<Error | undefined>((resolve) => {
      close = resolve;
    });
    const end: End = { connection, chunks: [], onData: undefined, onDrain: undefined, closed };
    ready(end);
    return {
      onData: (chunk) => {
        end.chunks.push(Buffer.from(chunk));
        end.onData?.();
      },
      onDrain: () => end.onDrain?.(),
      onClose: close,
    };
  };
  let accepted: (end: End) => void = () => undefined;
  const server = new Promise<End>((resolve) => {
    accepted = resolve;
  });
  const listener = await network.listen({ host: HOST, port: 0 }, (connection) => attach(connection, accepted));
  const client = await new Promise<End>((resolve, reject) => {
    network.connect(listener.address, 1000, (connection) => attach(connection, resolve), reject);
  });
  return { client, server: await server, stop: () => listener.close() };
}

function received(end: End, bytes: number): Promise<Buffer> {
  return new Promise((resolve) => {
    const check = (): void => {
      if (end.chunks.reduce((sum, chunk) => sum + chunk.length, 0) >= bytes) resolve(Buffer.concat(end.chunks));
    };
    end.onData = check;
    check();
  });
}

describe('NodeNetwork', () => {
  test('borrows what is written only for the call, small and large, sent at once or later', async () => {
    const { client, server, stop } = await pair();
    const scratch = Buffer.alloc(300_000);
    const expected: Buffer[] = [];
    // Paused, the system's buffers fill up: what comes after waits in this process.
    server.connection.pause();
    for (let round = 0; round < 12 || client.connection.buffered < 1_000_000; round += 1) {
      for (const [index, size] of [10, 100_000, 8191, 8192, 300_000, 1].entries()) {
        const chunk = scratch.subarray(0, size).fill(round + index + 1);
        expected.push(Buffer.from(chunk));
        client.connection.write(chunk);
        chunk.fill(0xee);
      }
    }
    server.connection.resume();
    const whole = Buffer.concat(expected);
    expect((await received(server, whole.length)).equals(whole)).toBe(true);
    client.connection.end();
    await expect(server.closed).resolves.toBeUndefined();
    await expect(client.closed).resolves.toBeUndefined();
    await stop();
  });

  test('a paused reader makes the writer stop; it drains when the reader resumes', async () => {
    const { client, server, stop } = await pair();
    server.connection.pause();
    const chunk = Buffer.alloc(64 * 1024, 7);
    let sent = 0;
    while (client.connection.write(chunk)) sent += chunk.length;
    sent += chunk.length;
    expect(client.connection.buffered).toBeGreaterThan(0);
    const drained = new Promise<void>((resolve) => {
      client.onDrain = resolve;
    });
    server.connection.resume();
    await drained;
    expect((await received(server, sent)).length).toBe(sent);
    client.connection.destroy();
    await client.closed;
    await server.closed;
    expect(client.connection.write(chunk)).toBe(false);
    await stop();
  });

  test('destroy delivers nothing more to the own handler and closes the other end', async () => {
    const { client, server, stop } = await pair();
    server.connection.write(Buffer.from('late'));
    client.connection.destroy();
    await client.closed;
    await server.closed;
    expect(client.chunks).toEqual([]);
    await stop();
  });

  test('a port in use, an impossible address and a refused connection are told apart', async () => {
    const listener = await network.listen({ host: HOST, port: 0 }, () => {
      throw new Error('nobody connects');
    });
    await expect(network.listen(listener.address, () => ({}) as ConnectionHandler)).rejects.toMatchObject({ code: 'PORT_IN_USE' });
    await expect(network.listen({ host: '192.0.2.1', port: 0 }, () => ({}) as ConnectionHandler)).rejects.toMatchObject({
      code: 'SETTING_INVALID',
    });
    await listener.close();
    const error = await new Promise<Error>((resolve, reject) => {
      network.connect(
        listener.address,
        1000,
        () => {
          reject(new Error('connected'));
          return {} as ConnectionHandler;
        },
        resolve,
      );
    });
    expect(error.message).toMatch(/ECONNREFUSED/);
  });
});

describe('FreeList', () => {
  test('reuses buffers by class and keeps a bounded amount', () => {
    const free = new FreeList();
    const buffer = free.take(20_000);
    expect(buffer.length).toBe(32_768);
    free.give(buffer);
    expect(free.keptBytes).toBe(32_768);
    expect(free.take(16_385)).toBe(buffer);
    expect(free.take(16_384).length).toBe(16_384);
    free.give(free.take(3_000_000));
    expect(free.keptBytes).toBe(0);
    for (const large of Array.from({ length: 20 }, () => free.take(1 << 20))) free.give(large);
    expect(free.keptBytes).toBe(8 << 20);
  });
});
