/** Requests that are refused under overload, before anything is done for them: in their place, and in bounded memory. */

import { describe, expect, test } from '@jest/globals';

import type { RespLimits } from '../../src/api/resp/limits.ts';
import { CoterieError } from '../../src/base/errors.ts';
import { RespDrive, request } from './drive.ts';

const BUSY = '-BUSY BUSY the reason\r\n';
/** What the replies of one place come to, at most. */
const PLACE_BYTES = 64 * 1024;
const PER_PLACE = Math.floor(PLACE_BYTES / BUSY.length);

/** A session whose first write is under way, and others that are to be refused. */
const overloaded = (resp: Partial<RespLimits>) => {
  const drive = new RespDrive({ delay: (operation) => (operation === 1 ? 9 : 0), resp });
  const client = drive.connect();
  client.give(request('SET', 'a', '1'));
  const refuse = (message = 'the reason'): void => {
    drive.node.overload = new CoterieError('BUSY', message, { outcome: 'none', retryAfterMs: 100 });
  };
  refuse();
  const give = (requests: number): void => {
    client.give(Buffer.concat(Array.from({ length: requests }, (_, n) => request(...(n % 2 === 0 ? ['GET', 'a'] : ['SET', 'a', '2'])))));
  };
  return { drive, client, refuse, give };
};

describe('refusals behind an unfinished request', () => {
  test('what is refused under overload is refused in its place, before its keys are looked at, and others are served', async () => {
    // The first write is still under way when the others come.
    const drive = new RespDrive({ delay: (operation) => (operation === 1 ? 9 : 0) });
    const client = drive.connect();
    client.give(request('SET', 'a', '1'));
    drive.node.overload = new CoterieError('BUSY', 'the reason', { outcome: 'none', retryAfterMs: 100 });
    client.give(Buffer.concat([request('GET', 'a'), request('SET', 'a', '2'), request('PING'), request('GET', 'a')]));
    drive.node.overload = undefined;
    client.give(request('GET', 'a'));
    await drive.settle();
    expect(client.take()).toBe(`+OK\r\n${BUSY}${BUSY}+PONG\r\n${BUSY}$1\r\n1\r\n`);
  });

  test('many in a row take one place', async () => {
    const { drive, client, refuse, give } = overloaded({ pipeline: 2 });
    give(50);
    // Another error that reads the same.
    refuse();
    give(50);
    expect([drive.server.due, client.paused]).toEqual([2, false]);
    await drive.settle();
    expect(client.take()).toBe(`+OK\r\n${BUSY.repeat(100)}`);
    expect([drive.server.due, client.paused]).toEqual([0, false]);
  });

  test('a place is full when its replies come to a chunk, and the places of a session are as many as ever', async () => {
    const { drive, client, give } = overloaded({ pipeline: 3 });
    give(PER_PLACE);
    expect([drive.server.due, client.paused]).toEqual([2, false]);
    give(1);
    expect([drive.server.due, client.paused]).toEqual([3, false]);
    give(PER_PLACE - 1);
    expect([drive.server.due, client.paused]).toEqual([3, false]);
    give(5);
    expect([drive.server.due, client.paused]).toEqual([3, true]);
    await drive.settle();
    expect(client.take()).toBe(`+OK\r\n${BUSY.repeat(2 * PER_PLACE + 5)}`);
    expect([drive.server.due, client.paused]).toEqual([0, false]);
  });

  test('those between others, and those in other words, have places of their own', async () => {
    const { drive, client, refuse, give } = overloaded({ pipeline: 4 });
    give(2);
    client.give(request('PING'));
    give(2);
    expect([drive.server.due, client.paused]).toEqual([4, false]);
    refuse('another reason');
    give(2);
    expect([drive.server.due, client.paused]).toEqual([4, true]);
    await drive.settle();
    const other = '-BUSY BUSY another reason\r\n';
    expect(client.take()).toBe(`+OK\r\n${BUSY.repeat(2)}+PONG\r\n${BUSY.repeat(2)}${other.repeat(2)}`);
    expect(drive.server.due).toBe(0);
  });

  test('those that follow a change of the protocol have a place of their own', async () => {
    const { drive, client, give } = overloaded({});
    give(2);
    client.give(request('HELLO', '3'));
    give(2);
    expect(drive.server.due).toBe(4);
    await drive.settle();
    expect(client.take()).toMatch(/^\+OK\r\n(-BUSY BUSY the reason\r\n){2}%7[^]*\*0\r\n(-BUSY BUSY the reason\r\n){2}$/);
  });

  test('a full line waits with what is not refused, and with the first refusal behind something else', async () => {
    const { drive, client, give } = overloaded({ pipeline: 2 });
    give(2);
    const refusal = drive.node.overload;
    drive.node.overload = undefined;
    client.give(request('GET', 'b'));
    expect([drive.server.due, client.paused, drive.node.operations]).toEqual([2, true, 1]);
    await drive.settle();
    expect(client.take()).toBe(`+OK\r\n${BUSY.repeat(2)}$-1\r\n`);
    drive.node.delay = () => 9;
    client.give(Buffer.concat([request('GET', 'b'), request('GET', 'c')]));
    drive.node.overload = refusal;
    give(1);
    expect([drive.server.due, client.paused]).toEqual([2, true]);
    await drive.settle();
    expect(client.take()).toBe(`$-1\r\n$-1\r\n${BUSY}`);
  });

  test('where all sessions have as many requests as they may, only a run goes on', async () => {
    const { drive, client, give } = overloaded({ requests: 2 });
    give(9);
    expect([drive.server.due, client.paused]).toEqual([2, false]);
    const other = drive.connect();
    drive.node.overload = undefined;
    drive.node.delay = () => 9;
    other.give(Buffer.concat([request('GET', 'b'), request('GET', 'c')]));
    expect([drive.server.due, other.paused]).toEqual([3, true]);
    await drive.settle();
    expect([client.take(), other.take()]).toEqual([`+OK\r\n${BUSY.repeat(9)}`, '$-1\r\n$-1\r\n']);
  });

  test('a client that does not take its replies gets two places at a time, and one that goes leaves nothing behind', async () => {
    const { drive, client, give } = overloaded({});
    give(12 * PER_PLACE);
    client.slow = true;
    await drive.settle();
    let bytes = 0;
    for (let round = 0; round < 3; round += 1) {
      const { length } = client.take();
      expect(length).toBeGreaterThan(0);
      expect(length).toBeLessThan(2 * PLACE_BYTES);
      bytes += length;
      expect(client.paused).toBe(true);
      client.handler.onDrain();
    }
    expect(bytes).toBeLessThan(12 * PLACE_BYTES);
    expect(drive.server.due).toBeGreaterThan(0);
    client.handler.onClose();
    expect([drive.server.due, drive.server.unsent.taken]).toEqual([0, 0]);
  });
});
