import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';

import { CoterieError } from '../../src/base/errors.ts';
import { RespDrive, request } from './drive.ts';

const bulk = (text: string): string => `$${text.length}\r\n${text}\r\n`;

describe('order', () => {
  test('replies keep the order of their requests, whichever ends first', async () => {
    const drive = new RespDrive({ delay: (operation) => [9, 0, 3, 1][operation % 4] ?? 0 });
    const client = drive.connect();
    for (let n = 0; n < 8; n += 1) await client.ask('SET', `k${n}`, `v${n}`);
    client.give(Buffer.concat([...Array.from({ length: 8 }, (_, n) => request('GET', `k${n}`)), request('PING'), request('NOSUCH')]));
    await drive.settle();
    const values = Array.from({ length: 8 }, (_, n) => bulk(`v${n}`)).join('');
    expect(client.take()).toBe(`${values}+PONG\r\n-ERR unknown command 'NOSUCH', with args beginning with: \r\n`);
  });

  test('requests on one key take effect in order, whatever each takes', async () => {
    const step = fc.record({ key: fc.constantFrom('a', 'b', 'c'), write: fc.boolean(), turns: fc.integer({ min: 0, max: 12 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const drive = new RespDrive({ delay: (operation) => steps[operation - 1]?.turns ?? 0 });
        const client = drive.connect();
        const values = new Map<string, string>();
        const expected: string[] = [];
        const requests = steps.map(({ key, write }, index) => {
          if (write) {
            values.set(key, String(index));
            expected.push('+OK\r\n');
            return request('SET', key, String(index));
          }
          const value = values.get(key);
          expected.push(value === undefined ? '$-1\r\n' : bulk(value));
          return request('GET', key);
        });
        client.give(Buffer.concat(requests));
        await drive.settle();
        expect(client.take()).toBe(expected.join(''));
        expect(client.paused).toBe(false);
      }),
      { numRuns: 150 },
    );
  });

  test('a command on the whole bucket sees what came before it, and nothing behind it', async () => {
    // Counting takes longer than writing.
    const drive = new RespDrive({ delay: (operation) => (operation === 1 ? 9 : 1) });
    const client = drive.connect();
    client.give(Buffer.concat([request('SET', 'a', '1'), request('DBSIZE'), request('SET', 'b', '2'), request('DBSIZE')]));
    await drive.settle();
    expect(client.take()).toBe('+OK\r\n:1\r\n+OK\r\n:2\r\n');
  });

  test('replies of one turn leave in one piece', async () => {
    const drive = new RespDrive();
    const client = drive.connect();
    client.give(Buffer.concat(Array.from({ length: 16 }, (_, n) => request('SET', `k${n}`, 'v'))));
    expect(client.writes).toBe(1);
    expect(client.take()).toBe('+OK\r\n'.repeat(16));
    await drive.settle();
  });

  test('a protocol chosen by HELLO holds from its own reply on', async () => {
    const drive = new RespDrive({ delay: () => 4 });
    const client = drive.connect();
    client.give(
      Buffer.concat([request('GET', 'a'), request('HELLO', '3'), request('GET', 'b'), request('HELLO', '2'), request('GET', 'c')]),
    );
    await drive.settle();
    const hello = (type: string, proto: number): string =>
      `${type}\r\n$6\r\nserver\r\n$7\r\ncoterie\r\n$7\r\nversion\r\n$5\r\n0.1.0\r\n$5\r\nproto\r\n:${proto}\r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n`;
    expect(client.take()).toBe(`$-1\r\n${hello('%7', 3)}_\r\n${hello('*14', 2)}$-1\r\n`);
  });
});

describe('bounds', () => {
  test('a session with too much under way is not read from, and goes on later', async () => {
    const drive = new RespDrive({ delay: () => 6, resp: { pipeline: 4 } });
    const client = drive.connect();
    client.give(Buffer.concat(Array.from({ length: 20 }, (_, n) => request('GET', `k${n}`))));
    expect(client.paused).toBe(true);
    expect(drive.node.operations).toBe(4);
    await drive.settle();
    expect(client.take()).toBe('$-1\r\n'.repeat(20));
    expect(client.paused).toBe(false);
  });

  test('a client that does not take its replies is not worked for', async () => {
    const drive = new RespDrive();
    const client = drive.connect();
    await client.ask('SET', 'k', Buffer.alloc(9000, 'v'));
    client.slow = true;
    client.give(Buffer.concat(Array.from({ length: 100 }, () => request('GET', 'k'))));
    await drive.settle();
    const before = drive.node.operations;
    // One chunk of replies, 64 KiB and the reply that crossed it, was made; the rest waits.
    expect(before).toBeLessThan(12);
    expect(client.paused).toBe(true);
    let bytes = client.take().length;
    for (let round = 0; round < 40 && client.paused; round += 1) {
      client.handler.onDrain();
      await drive.settle();
      bytes += client.take().length;
    }
    expect(client.paused).toBe(false);
    expect(bytes).toBe(100 * 9009);
  });

  test('one connection more than allowed is told so', () => {
    const drive = new RespDrive({ resp: { connections: 1 } });
    const first = drive.connect();
    const second = drive.connect();
    expect(second.take()).toBe('-ERR max number of clients reached\r\n');
    expect(second.ended).toBe(true);
    first.handler.onClose();
    expect(drive.connect().ended).toBe(false);
  });

  test('unfinished requests of all sessions share a budget', () => {
    const drive = new RespDrive({ resp: { receiveBytes: 16_384 } });
    const clients = Array.from({ length: 3 }, () => drive.connect());
    for (const client of clients) client.give(`*2\r\n$4\r\nECHO\r\n$8000\r\n${'x'.repeat(5000)}`);
    const refused = clients.filter((client) => client.take().startsWith('-BUSY'));
    expect(refused.length).toBe(1);
    expect(refused[0]?.ended).toBe(true);
    for (const client of clients) client.handler.onClose();
    expect(drive.server.budget.taken).toBe(0);
  });

  test('pairs of up to 1 MiB, where that is configured', async () => {
    const drive = new RespDrive({ limits: { keyBytes: 1024, pairBytes: 1 << 20 } });
    const client = drive.connect();
    const value = Buffer.alloc((1 << 20) - 1, 'v');
    for (const piece of [0, 1, 2, 3].map((quarter) =>
      request('SET', 'k', value).subarray(quarter << 18, quarter === 3 ? undefined : (quarter + 1) << 18),
    )) {
      client.give(piece);
    }
    expect(client.take()).toBe('+OK\r\n');
    expect((await client.ask('GET', 'k')).length).toBe(value.length + '$1048575\r\n\r\n'.length);
    expect(await client.ask('SET', 'kk', value)).toMatch(/^-ERR PAIR_TOO_LARGE key and value together have at most 1048576 bytes/);
  });

  test('a reply of many values is bounded', async () => {
    const drive = new RespDrive({ resp: { replyBytes: 2500 } });
    const client = drive.connect();
    await client.ask('SET', 'k', 'v'.repeat(1000));
    expect(await client.ask('MGET', 'k', 'k')).toMatch(/^\*2\r\n/);
    expect(await client.ask('MGET', 'k', 'k', 'k')).toMatch(/^-ERR REQUEST_INVALID the values are over 2500 bytes/);
  });

  test('the requests of all sessions together are bounded, and each session goes on with one', async () => {
    const drive = new RespDrive({ delay: () => 6, resp: { requests: 3 } });
    const gets = (letter: string): Buffer => Buffer.concat(['1', '2', '3', '4', '5'].map((digit) => request('GET', `${letter}${digit}`)));
    const [first, second] = [drive.connect(), drive.connect()];
    first.give(gets('a'));
    expect(drive.node.operations).toBe(3);
    second.give(gets('b'));
    expect(drive.node.operations).toBe(4);
    expect(first.paused && second.paused).toBe(true);
    await drive.settle();
    expect([first.take(), second.take()]).toEqual(['$-1\r\n'.repeat(5), '$-1\r\n'.repeat(5)]);
    expect(drive.server.due).toBe(0);
    // What goes with its client counts no more.
    first.give(gets('c'));
    first.handler.onClose();
    expect(drive.server.due).toBe(0);
    await drive.settle();
    expect(drive.server.due).toBe(0);
  });

  test('what MGETs of all sessions gather is bounded, and given back with the reply or the client', async () => {
    const drive = new RespDrive({ delay: () => 6, resp: { resultBytes: 1000 } });
    const [first, second] = [drive.connect(), drive.connect()];
    for (const key of ['a', 'b', 'c']) await first.ask('SET', key, 'v'.repeat(300));
    first.give(request('MGET', 'a', 'b', 'c'));
    second.give(request('MGET', 'a', 'b', 'c'));
    await drive.settle();
    const replies = [first.take().slice(0, 6), second.take().slice(0, 11)];
    expect(replies.sort()).toEqual(['*3\r\n$3', '-BUSY BUSY ']);
    expect(drive.server.results.taken).toBe(0);
    first.give(request('MGET', 'a', 'b', 'c'));
    first.handler.onClose();
    await drive.settle();
    expect(drive.server.results.taken).toBe(0);
    expect(await second.ask('MGET', 'a', 'b', 'c')).toMatch(/^\*3/);
    // At once, too.
    drive.node.delay = undefined;
    expect(await second.ask('MGET', 'a', 'b', 'c')).toMatch(/^\*3/);
    expect(await second.ask('MGET', 'a', 'b', 'c', 'a')).toMatch(/^-BUSY BUSY /);
    expect(drive.server.results.taken).toBe(0);
  });

  test('replies that clients do not take are bounded over all sessions: the one that comes above is closed', async () => {
    const drive = new RespDrive({ resp: { sendBytes: 600 * 1024 } });
    const clients = [drive.connect(), drive.connect(), drive.connect()];
    for (const client of clients) client.slow = true;
    for (const client of clients) await client.ask('PING');
    expect(clients.map(({ destroyed }) => destroyed)).toEqual([false, false, true]);
    const [first, second] = clients;
    first?.handler.onDrain();
    second?.handler.onClose();
    expect(drive.server.unsent.taken).toBe(0);
    expect(await drive.connect().ask('PING')).toBe('+PONG\r\n');
  });
});

describe('ends', () => {
  test('QUIT answers what is due, then ends; nothing behind it is done', async () => {
    const drive = new RespDrive({ delay: () => 5 });
    const client = drive.connect();
    client.give(Buffer.concat([request('SET', 'a', '1'), request('QUIT'), request('SET', 'b', '2')]));
    expect(client.ended).toBe(false);
    await drive.settle();
    expect(client.take()).toBe('+OK\r\n+OK\r\n');
    expect(client.ended).toBe(true);
    expect(drive.node.operations).toBe(1);
  });

  test('a broken stream is told so behind what is due, then ended', async () => {
    const drive = new RespDrive({ delay: () => 5 });
    const client = drive.connect();
    client.give(Buffer.concat([request('GET', 'a'), Buffer.from('*1\r\n!')]));
    await drive.settle();
    expect(client.take()).toBe("$-1\r\n-ERR Protocol error: expected '$', got '!'\r\n");
    expect(client.ended).toBe(true);
  });

  test('a client that goes away leaves nothing behind', async () => {
    const drive = new RespDrive({ delay: () => 5 });
    const client = drive.connect();
    client.give(request('GET', 'a'));
    client.handler.onClose();
    await drive.settle();
    expect(client.take()).toBe('');
    expect([...drive.server.clients()]).toEqual([]);
  });

  test('the server lets sessions finish', async () => {
    const drive = new RespDrive({ delay: () => 5 });
    const client = drive.connect();
    client.give(request('SET', 'a', '1'));
    drive.server.finish();
    await drive.settle();
    expect(client.take()).toBe('+OK\r\n');
    expect(client.ended).toBe(true);
  });

  test('a browser that was sent here is sent away', async () => {
    const drive = new RespDrive();
    const client = drive.connect();
    client.give('POST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET a b\r\n');
    await drive.settle();
    expect(client.take()).toMatch(/^-ERR this is the Redis protocol/);
    expect(client.ended).toBe(true);
    expect(drive.node.operations).toBe(0);
  });
});

describe('failures', () => {
  const failing = (code: ConstructorParameters<typeof CoterieError>[0], outcome?: 'none' | 'unknown') => {
    const drive = new RespDrive();
    drive.node.fail = () => new CoterieError(code, 'the reason', outcome === undefined ? {} : { outcome });
    return drive.connect();
  };

  test.each([
    ['BUSY', undefined, '-BUSY BUSY the reason', '-BUSY BUSY the reason'],
    ['TIMEOUT', 'unknown', '-TIMEOUT TIMEOUT the reason', '-TIMEOUT TIMEOUT the reason'],
    ['NO_QUORUM', 'none', '-NOQUORUM NO_QUORUM the reason', '-NOQUORUM NO_QUORUM the reason'],
    ['NO_QUORUM', 'unknown', '-TIMEOUT NO_QUORUM the reason', '-NOQUORUM NO_QUORUM the reason'],
    ['DISK_FULL', 'none', '-READONLY DISK_FULL the reason', '-READONLY DISK_FULL the reason'],
    ['DISK_FAILED', 'unknown', '-TIMEOUT DISK_FAILED the reason', '-ERR DISK_FAILED the reason'],
    ['SIBLINGS_TOO_MANY', 'none', '-ERR SIBLINGS_TOO_MANY the reason', '-ERR SIBLINGS_TOO_MANY the reason'],
    ['NOT_SYNCHRONISED', undefined, '-NOQUORUM NOT_SYNCHRONISED the reason', '-NOQUORUM NOT_SYNCHRONISED the reason'],
    ['CLOSED', 'none', '-BUSY CLOSED the reason', '-BUSY CLOSED the reason'],
  ] as const)('%s, outcome %s', async (code, outcome, ofWrite, ofRead) => {
    const client = failing(code, outcome);
    expect(await client.ask('SET', 'a', 'b')).toBe(`${ofWrite}\r\n`);
    expect(await client.ask('GET', 'a')).toBe(`${ofRead}\r\n`);
  });

  test('what nobody expected tells the client nothing, and the log all', async () => {
    const drive = new RespDrive();
    drive.node.fail = () => {
      throw new TypeError('secret detail');
    };
    const client = drive.connect();
    expect(await client.ask('GET', 'a')).toBe('-ERR INTERNAL internal error; the node log has the details\r\n');
    expect(drive.logged.map(({ event }) => event)).toEqual(['resp-internal-error']);
    expect(drive.logged[0]?.fields?.['error']).toBe('TypeError: secret detail');
  });

  test('of a reply that fails halfway nothing is left', async () => {
    const drive = new RespDrive();
    const client = drive.connect();
    drive.node.get = () => ({
      versions: [],
      get context(): undefined {
        throw new TypeError('halfway');
      },
    });
    expect(await client.ask('KV.GET', 'a')).toBe('-ERR INTERNAL internal error; the node log has the details\r\n');
  });

  test('of many writes, those that failed make the whole of unknown outcome', async () => {
    const drive = new RespDrive();
    let calls = 0;
    drive.node.fail = () => {
      calls += 1;
      return calls === 2 ? new CoterieError('NO_QUORUM', 'too few', { outcome: 'none' }) : undefined;
    };
    const client = drive.connect();
    expect(await client.ask('MSET', 'a', '1', 'b', '2', 'c', '3')).toBe(
      '-TIMEOUT NO_QUORUM 2 of 3 keys were written, the others not or not surely: too few\r\n',
    );
    drive.node.fail = () => new CoterieError('NO_QUORUM', 'too few', { outcome: 'none' });
    expect(await client.ask('DEL', 'a', 'b')).toBe('-NOQUORUM NO_QUORUM too few\r\n');
  });

  test('MSET checks every pair before it writes any', async () => {
    const drive = new RespDrive();
    const client = drive.connect();
    expect(await client.ask('MSET', 'a', '1', '', '2')).toMatch(/^-ERR KEY_EMPTY /);
    expect(await client.ask('MSET', 'a', '1', 'b', Buffer.alloc(20_000))).toMatch(/^-ERR PAIR_TOO_LARGE /);
    expect(drive.node.operations).toBe(0);
  });

  test('an error never breaks a line', async () => {
    const drive = new RespDrive();
    const client = drive.connect();
    expect(await client.ask('A\r\nB', 'c\nd')).toBe("-ERR unknown command 'A  B', with args beginning with: 'c d' \r\n");
  });
});

test('INFO says that a node is loading until it was ready once', async () => {
  const drive = new RespDrive();
  const client = drive.connect();
  drive.node.readiness = { ready: false, reasons: ['no peers yet'] };
  expect(await client.ask('INFO', 'persistence')).toMatch(/\r\nloading:1\r\nloading_eta_seconds:1\r\n/);
  drive.node.readiness = { ready: true, reasons: [] };
  expect(await client.ask('INFO', 'persistence')).toMatch(/\r\nloading:0\r\n/);
  drive.node.readiness = { ready: false, reasons: ['too few members'] };
  expect(await client.ask('INFO', 'persistence')).toMatch(/\r\nloading:0\r\n/);
});

describe('many keys', () => {
  test('over the fan-out, late and early answers end in their places', async () => {
    const drive = new RespDrive({ delay: (operation) => operation % 5, resp: { fanOut: 3 } });
    const client = drive.connect();
    const keys = Array.from({ length: 20 }, (_, n) => `k${n}`);
    expect(await client.ask('MSET', ...keys.flatMap((key) => [key, `of ${key}`]))).toBe('+OK\r\n');
    expect(await client.ask('MGET', ...keys, 'none')).toBe(`*21\r\n${keys.map((key) => bulk(`of ${key}`)).join('')}$-1\r\n`);
    expect(await client.ask('EXISTS', 'k1', 'k1', 'none')).toBe(':2\r\n');
    const before = drive.node.operations;
    expect(await client.ask('DEL', 'k1', 'k1', 'none', 'k2')).toBe(':2\r\n');
    // A key named twice is deleted once: two at the same time might both find it.
    expect(drive.node.operations - before).toBe(3);
  });

  test('of a key set twice the last value stays', async () => {
    const drive = new RespDrive({ delay: (operation) => 5 - (operation % 5) });
    const client = drive.connect();
    await client.ask('MSET', 'a', '1', 'a', '2');
    expect(await client.ask('GET', 'a')).toBe('$1\r\n2\r\n');
  });
});

describe('access', () => {
  const credentials = [
    { name: 'default', secret: Buffer.from('first'), admin: true },
    { name: 'app', secret: Buffer.from('second'), admin: false },
  ];

  test('nothing is done for a client that has not shown who it is', async () => {
    const drive = new RespDrive({ credentials });
    const client = drive.connect();
    expect(await client.ask('GET', 'a')).toBe('-NOAUTH Authentication required.\r\n');
    expect(await client.ask('PING')).toBe('-NOAUTH Authentication required.\r\n');
    expect(await client.ask('HELLO')).toMatch(/^-NOAUTH HELLO must be called/);
    expect(await client.ask('AUTH', 'wrong')).toBe('-WRONGPASS invalid username-password pair or user is disabled.\r\n');
    expect(await client.ask('AUTH', 'app', 'first')).toMatch(/^-WRONGPASS/);
    expect(await client.ask('AUTH', 'app', 'second')).toBe('+OK\r\n');
    expect(await client.ask('GET', 'a')).toBe('$-1\r\n');
    expect(drive.node.operations).toBe(1);
    expect(JSON.stringify([drive.logged, drive.metrics.expose()])).not.toMatch(/first|second/);
  });

  test('HELLO shows who the client is', async () => {
    const drive = new RespDrive({ credentials });
    const client = drive.connect();
    expect(await client.ask('HELLO', '3', 'AUTH', 'default', 'nope')).toMatch(/^-WRONGPASS/);
    expect(await client.ask('GET', 'a')).toMatch(/^-NOAUTH/);
    expect(await client.ask('HELLO', '3', 'AUTH', 'default', 'first', 'SETNAME', 'me')).toMatch(/^%7/);
    expect(await client.ask('CLIENT', 'GETNAME')).toBe('$2\r\nme\r\n');
    expect(await client.ask('GET', 'a')).toBe('_\r\n');
  });

  test('QUIT needs no credentials', async () => {
    const client = new RespDrive({ credentials }).connect();
    expect(await client.ask('QUIT')).toBe('+OK\r\n');
    expect(client.ended).toBe(true);
  });
});
