/** Commands on values: GET SET MGET MSET DEL UNLINK EXISTS STRLEN TYPE. */

import { Buffer } from 'node:buffer';

import type { ByteString } from '../../../base/bytes.ts';
import { asCoterieError, CoterieError } from '../../../base/errors.ts';
import type { Maybe, PutExpiry, ReadOptions, ReadResult, WriteOptions, WriteResult } from '../../../runtime/kv.ts';
import { writeOutcome } from '../../failure.ts';
import { checkKey, checkPair } from '../../limits.ts';
import { ByteClaim } from '../../byte-budget.ts';
import { gather, isPromise } from '../../maybe.ts';
import { ExpiryOptions } from '../arguments.ts';
import type { Call, Command } from '../command.ts';
import type { ReplyWriter } from '../reply.ts';
import { syntaxError, wrongArity } from '../reply-error.ts';

/** The bucket's own R, W and time. */
export const DEFAULT_READ: ReadOptions = {};
export const DEFAULT_WRITE: WriteOptions = {};
const NEVER: PutExpiry = {};

function writeNewest(writer: ReplyWriter, result: ReadResult): void {
  const newest = result.versions[0];
  if (newest === undefined) writer.nil();
  else writer.bulk(newest.value);
}

function writeOk(writer: ReplyWriter): void {
  writer.ok();
}

/** @throws CoterieError KEY_EMPTY, KEY_TOO_LONG */
export function keyAt(call: Call, index: number): ByteString {
  checkKey(call.request.length(index), call.node.limits);
  return call.request.text(index);
}

function keysFrom(call: Call, first: number): ByteString[] {
  const keys: ByteString[] = [];
  for (let index = first; index < call.request.argc; index += 1) keys.push(keyAt(call, index));
  return keys;
}

/** A result that outlasts the turn. */
export function keepRead(result: ReadResult): ReadResult {
  return {
    versions: result.versions.map((version) => ({ ...version, value: Buffer.from(version.value) })),
    context: result.context === undefined ? undefined : Buffer.from(result.context),
  };
}

export const GET: Command = {
  name: 'get',
  arity: 2,
  group: 'string',
  summary: 'Get the newest value of a key',
  since: '1.0.0',
  flags: ['readonly', 'fast'],
  categories: ['@read', '@string', '@fast'],
  keys: 'first',
  writes: false,
  run(call) {
    call.node.getInto(call.reply(writeNewest), call.client.bucket, keyAt(call, 1), DEFAULT_READ);
  },
};

export const SET: Command = {
  name: 'set',
  arity: -3,
  group: 'string',
  summary: 'Set the value of a key, whatever it held',
  since: '1.0.0',
  flags: ['write', 'denyoom'],
  categories: ['@write', '@string', '@slow'],
  keys: 'first',
  writes: true,
  run(call) {
    const { request, node } = call;
    const expiry = request.argc === 3 ? NEVER : setExpiry(call);
    checkPair(request.length(1), request.length(2), node.limits);
    node.putInto(call.reply(writeOk), call.client.bucket, request.text(1), request.bytes(2), expiry, DEFAULT_WRITE);
  },
};

function setExpiry(call: Call): PutExpiry {
  const { request } = call;
  const options = new ExpiryOptions();
  let conditional = '';
  for (let index = 3; index < request.argc;) {
    const option = request.text(index).toUpperCase();
    if (option === 'NX' || option === 'XX' || option === 'GET') {
      if ((option === 'NX' && conditional === 'XX') || (option === 'XX' && conditional === 'NX')) throw syntaxError();
      if (option !== 'GET' || conditional === '') conditional = option;
      index += 1;
      continue;
    }
    const taken = options.take(request, option, index);
    if (taken === 0) throw syntaxError();
    index += taken;
  }
  if (conditional !== '') {
    throw new CoterieError(
      'UNSUPPORTED',
      `SET with ${conditional} is not offered: to decide by the old value takes consensus among the replicas`,
    );
  }
  return options.finish(request, call.node.nowMs(), 'set');
}

export const MGET: Command = {
  name: 'mget',
  arity: -2,
  group: 'string',
  summary: 'Get the newest values of many keys',
  since: '1.0.0',
  flags: ['readonly', 'fast'],
  categories: ['@read', '@string', '@fast'],
  keys: 'all',
  writes: false,
  run(call) {
    const keys = keysFrom(call, 1);
    const { node, client, shared } = call;
    const bucket = client.bucket;
    const claim = new ByteClaim(shared.results);
    // Holds what was read against the bound of one reply, and of all: neither one request nor many together can take all memory.
    const counted = (result: ReadResult): ReadResult => {
      if (!claim.take(result.versions[0]?.value.length ?? 0)) {
        throw new CoterieError('BUSY', 'this node gathers as many values for its clients as it can hold', { outcome: 'none' });
      }
      if (claim.taken > shared.limits.replyBytes) {
        throw new CoterieError(
          'REQUEST_INVALID',
          `the values are over ${shared.limits.replyBytes} bytes together: ask for fewer keys at a time`,
        );
      }
      return result;
    };
    const read = (index: number): Maybe<ReadResult> => {
      const answer = node.get(bucket, keys[index] ?? '', DEFAULT_READ);
      return isPromise(answer) ? answer.then(counted) : counted(answer);
    };
    let results: Maybe<ReadResult[]>;
    try {
      results = gather(keys.length, shared.limits.fanOut, read, keepRead);
    } catch (error) {
      claim.release();
      throw error;
    }
    call.answer(
      results,
      (writer, list) => {
        writer.array(list.length);
        for (const result of list) writeNewest(writer, result);
      },
      claim,
    );
  },
};

export const MSET: Command = {
  name: 'mset',
  arity: -3,
  group: 'string',
  summary: 'Set many keys, each on its own',
  since: '1.0.1',
  flags: ['write', 'denyoom'],
  categories: ['@write', '@string', '@slow'],
  keys: 'pairs',
  writes: true,
  run(call) {
    const { request, node, client, shared } = call;
    if (request.argc % 2 === 0) throw wrongArity('mset');
    // Of a key named twice the last value stays, as if they were set in order.
    const pairs = new Map<ByteString, Uint8Array>();
    for (let index = 1; index < request.argc; index += 2) {
      checkPair(request.length(index), request.length(index + 1), node.limits);
      pairs.set(request.text(index), request.bytes(index + 1));
    }
    // Above the fan-out some values wait for their turn, and the request's bytes are only borrowed.
    if (pairs.size > shared.limits.fanOut) for (const [key, value] of pairs) pairs.set(key, Buffer.from(value));
    const list = [...pairs];
    const bucket = client.bucket;
    const write = (index: number): Maybe<WriteResult> => {
      const [key, value] = list[index] ?? ['', new Uint8Array()];
      return node.put(bucket, key, value, NEVER, DEFAULT_WRITE);
    };
    call.answer(writeEach(list.length, shared.limits.fanOut, write), writeOk);
  },
};

/** Writes each, however others fare; answers how many found a value, or fails with what became of all. */
function writeEach(count: number, window: number, write: (index: number) => Maybe<WriteResult>): Maybe<number> {
  const watched = (index: number): Maybe<WriteResult | CoterieError> => {
    try {
      const answer = write(index);
      return isPromise(answer) ? answer.catch(asCoterieError) : answer;
    } catch (error) {
      return asCoterieError(error);
    }
  };
  const outcomes = gather(count, window, watched, (outcome) => outcome);
  return isPromise(outcomes) ? outcomes.then(summary) : summary(outcomes);
}

function summary(outcomes: readonly (WriteResult | CoterieError)[]): number {
  let existed = 0;
  let written = 0;
  let worst: CoterieError | undefined;
  for (const outcome of outcomes) {
    if ('existed' in outcome) {
      written += 1;
      if (outcome.existed) existed += 1;
    } else if (worst === undefined || writeOutcome(outcome) === 'unknown') {
      worst = outcome;
    }
  }
  if (worst === undefined) return existed;
  if (written === 0) throw worst;
  // Some keys have their new value, so `none` would be untrue of the whole.
  throw new CoterieError(worst.code, `${written} of ${outcomes.length} keys were written, the others not or not surely: ${worst.message}`, {
    outcome: 'unknown',
    cause: worst,
  });
}

function writeInteger(writer: ReplyWriter, value: number): void {
  writer.integer(value);
}

function runDelete(call: Call): void {
  const { node, client, shared } = call;
  const bucket = client.bucket;
  const keys = [...new Set(keysFrom(call, 1))];
  const remove = (index: number): Maybe<WriteResult> => node.delete(bucket, keys[index] ?? '', DEFAULT_WRITE);
  call.answer(writeEach(keys.length, shared.limits.fanOut, remove), writeInteger);
}

export const DEL: Command = {
  name: 'del',
  arity: -2,
  group: 'generic',
  summary: 'Delete keys, each on its own',
  since: '1.0.0',
  flags: ['write'],
  categories: ['@keyspace', '@write', '@slow'],
  keys: 'all',
  writes: true,
  run: runDelete,
};

export const UNLINK: Command = {
  name: 'unlink',
  arity: -2,
  group: 'generic',
  summary: 'Delete keys, each on its own; the same as DEL',
  since: '4.0.0',
  flags: ['write', 'fast'],
  categories: ['@keyspace', '@write', '@fast'],
  keys: 'all',
  writes: true,
  run: runDelete,
};

export const EXISTS: Command = {
  name: 'exists',
  arity: -2,
  group: 'generic',
  summary: 'Count how many of the keys have a value; a key named twice counts twice',
  since: '1.0.0',
  flags: ['readonly', 'fast'],
  categories: ['@keyspace', '@read', '@fast'],
  keys: 'all',
  writes: false,
  run(call) {
    const keys = keysFrom(call, 1);
    const { node, client, shared } = call;
    const bucket = client.bucket;
    const found = (result: ReadResult): number => (result.versions.length > 0 ? 1 : 0);
    const look = (index: number): Maybe<number> => {
      const answer = node.get(bucket, keys[index] ?? '', DEFAULT_READ);
      return isPromise(answer) ? answer.then(found) : found(answer);
    };
    call.answer(
      gather(keys.length, shared.limits.fanOut, look, (count) => count),
      (writer, counts) => {
        writer.integer(counts.reduce((sum, count) => sum + count, 0));
      },
    );
  },
};

export const STRLEN: Command = {
  name: 'strlen',
  arity: 2,
  group: 'string',
  summary: 'Get the length of the newest value in bytes',
  since: '2.2.0',
  flags: ['readonly', 'fast'],
  categories: ['@read', '@string', '@fast'],
  keys: 'first',
  writes: false,
  run(call) {
    call.answer(call.node.get(call.client.bucket, keyAt(call, 1), DEFAULT_READ), (writer, result) => {
      writer.integer(result.versions[0]?.value.length ?? 0);
    });
  },
};

export const TYPE: Command = {
  name: 'type',
  arity: 2,
  group: 'generic',
  summary: 'Tell whether a key has a value: `string` or `none`',
  since: '1.0.0',
  flags: ['readonly', 'fast'],
  categories: ['@keyspace', '@read', '@fast'],
  keys: 'first',
  writes: false,
  run(call) {
    call.answer(call.node.get(call.client.bucket, keyAt(call, 1), DEFAULT_READ), (writer, result) => {
      writer.simple(result.versions.length > 0 ? 'string' : 'none');
    });
  },
};
