/** Commands on expiry: TTL and its kin read it, EXPIRE and its kin set it, PERSIST removes it. */

import { isPromise } from '../../maybe.ts';
import { expiryInstant, type ExpiryUnit, integerAt } from '../arguments.ts';
import type { Call, Command } from '../command.ts';
import { ReplyError } from '../reply-error.ts';
import type { ExpireResult, ReadResult } from '../../../runtime/kv.ts';
import { CoterieError } from '../../../base/errors.ts';
import { DEFAULT_READ, DEFAULT_WRITE, keyAt } from './strings.ts';

/** Redis' answers where there is no key, and where it never expires. */
const NO_KEY = -2;
const NO_EXPIRY = -1;
const HALF_SECOND_MS = 500;

function reader(name: string, since: string, summary: string, answer: (expireAtMs: number, nowMs: number) => number): Command {
  return {
    name,
    arity: 2,
    group: 'generic',
    summary,
    since,
    flags: ['readonly', 'fast'],
    categories: ['@keyspace', '@read', '@fast'],
    keys: 'first',
    writes: false,
    run(call) {
      const { node } = call;
      call.answer(node.get(call.client.bucket, keyAt(call, 1), DEFAULT_READ), (writer, result) => {
        const newest = result.versions[0];
        if (newest === undefined) writer.integer(NO_KEY);
        else if (newest.expireAtMs === 0) writer.integer(NO_EXPIRY);
        else writer.integer(answer(newest.expireAtMs, node.nowMs()));
      });
    },
  };
}

const CONDITIONS = new Set(['NX', 'XX', 'GT', 'LT']);

function refuseConditions(call: Call): void {
  const { request } = call;
  for (let index = 3; index < request.argc; index += 1) {
    const option = request.text(index);
    if (!CONDITIONS.has(option.toUpperCase())) throw new ReplyError(`ERR Unsupported option ${option}`);
  }
  if (request.argc > 3) {
    throw new CoterieError('UNSUPPORTED', 'EXPIRE with NX, XX, GT or LT is not offered: to decide by the old expiry takes consensus');
  }
}

function setter(name: string, since: string, summary: string, unit: ExpiryUnit): Command {
  return {
    name,
    arity: -3,
    group: 'generic',
    summary,
    since,
    flags: ['write', 'fast'],
    categories: ['@keyspace', '@write', '@fast'],
    keys: 'first',
    writes: true,
    run(call) {
      const { request, node } = call;
      const key = keyAt(call, 1);
      refuseConditions(call);
      const value = integerAt(request, 2);
      // What is already past expires at once; 0 would mean never.
      const instant = value > 0 ? expiryInstant(unit, value, node.nowMs(), name) : pastInstant(unit, value, node.nowMs(), name);
      call.answer(node.expire(call.client.bucket, key, Math.max(1, instant), DEFAULT_WRITE), writeChanged);
    },
  };
}

function pastInstant(unit: ExpiryUnit, value: number, nowMs: number, name: string): number {
  const seconds = unit === 'EX' || unit === 'EXAT';
  // As with Redis, what overflows when it becomes milliseconds is wrong even though it is past.
  if (seconds && !Number.isSafeInteger(value * 1000)) throw new ReplyError(`ERR invalid expire time in '${name}' command`);
  const scaled = seconds ? value * 1000 : value;
  return unit === 'EX' || unit === 'PX' ? nowMs + scaled : scaled;
}

function writeChanged(writer: { integer(value: number): void }, result: ExpireResult): void {
  writer.integer(result.changed ? 1 : 0);
}

export const TTL: Command = reader('ttl', '1.0.0', 'Get the seconds until a key expires', (at, now) =>
  Math.floor((Math.max(0, at - now) + HALF_SECOND_MS) / 1000),
);
export const PTTL: Command = reader('pttl', '2.6.0', 'Get the milliseconds until a key expires', (at, now) => Math.max(0, at - now));
export const EXPIRETIME: Command = reader('expiretime', '7.0.0', 'Get the Unix second at which a key expires', (at) =>
  Math.floor((at + HALF_SECOND_MS) / 1000),
);
export const PEXPIRETIME: Command = reader('pexpiretime', '7.0.0', 'Get the Unix millisecond at which a key expires', (at) => at);

export const EXPIRE: Command = setter('expire', '1.0.0', 'Let a key expire in so many seconds', 'EX');
export const PEXPIRE: Command = setter('pexpire', '2.6.0', 'Let a key expire in so many milliseconds', 'PX');
export const EXPIREAT: Command = setter('expireat', '1.2.0', 'Let a key expire at a Unix second', 'EXAT');
export const PEXPIREAT: Command = setter('pexpireat', '2.6.0', 'Let a key expire at a Unix millisecond', 'PXAT');

export const PERSIST: Command = {
  name: 'persist',
  arity: 2,
  group: 'generic',
  summary: 'Remove the expiry of a key',
  since: '2.2.0',
  flags: ['write', 'fast'],
  categories: ['@keyspace', '@write', '@fast'],
  keys: 'first',
  writes: true,
  run(call) {
    const { node } = call;
    const bucket = call.client.bucket;
    const key = keyAt(call, 1);
    // The cluster tells whether there was a value; Redis tells whether there was an expiry, so that is looked up first.
    const persist = (result: ReadResult): ReturnType<typeof node.expire> => {
      const newest = result.versions[0];
      return newest === undefined || newest.expireAtMs === 0 ? { changed: false } : node.expire(bucket, key, 0, DEFAULT_WRITE);
    };
    const read = node.get(bucket, key, DEFAULT_READ);
    call.answer(isPromise(read) ? read.then(persist) : persist(read), writeChanged);
  },
};
