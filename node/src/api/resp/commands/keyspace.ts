/** Commands on a bucket as a whole: SCAN DBSIZE SELECT. */

import { CoterieError } from '../../../base/errors.ts';
import { integerAt } from '../arguments.ts';
import type { Command } from '../command.ts';
import { globMatches } from '../glob.ts';
import { ReplyError, syntaxError } from '../reply-error.ts';

const DEFAULT_COUNT = 10;
/** What the node takes at most; a COUNT is a hint, so a larger one means this. */
const MOST_COUNT = 10_000;
const CURSOR = /^[0-9]{1,20}$/;
const CURSOR_MAX = 2n ** 64n - 1n;
/** The bucket that a new session uses, which Redis clients call database 0. */
export const DEFAULT_BUCKET = 'default';

export const SCAN: Command = {
  name: 'scan',
  arity: -2,
  group: 'generic',
  summary: 'List keys, some at a time; every key present throughout is listed at least once',
  since: '2.8.0',
  flags: ['readonly'],
  categories: ['@keyspace', '@read', '@slow'],
  keys: 'none',
  writes: false,
  alone: true,
  run(call) {
    const { request } = call;
    const cursor = request.text(1);
    if (!CURSOR.test(cursor) || BigInt(cursor) > CURSOR_MAX) throw new ReplyError('ERR invalid cursor');
    let count = DEFAULT_COUNT;
    let pattern = '*';
    let type = 'string';
    for (let index = 2; index < request.argc; index += 2) {
      const option = request.text(index).toLowerCase();
      if (index + 1 >= request.argc) throw syntaxError();
      if (option === 'count') {
        count = integerAt(request, index + 1);
        if (count < 1) throw syntaxError();
      } else if (option === 'match') {
        pattern = request.text(index + 1);
      } else if (option === 'type') {
        type = request.text(index + 1).toLowerCase();
      } else {
        throw syntaxError();
      }
    }
    const wanted = type === 'string';
    call.answer(call.node.scan(call.client.bucket, cursor, Math.min(count, MOST_COUNT), {}), (writer, page) => {
      const keys = wanted ? (pattern === '*' ? page.keys : page.keys.filter((key) => globMatches(pattern, key))) : [];
      writer.array(2);
      writer.bulkText(page.cursor);
      writer.array(keys.length);
      for (const key of keys) writer.bulkText(key);
    });
  },
};

export const DBSIZE: Command = {
  name: 'dbsize',
  arity: 1,
  group: 'server',
  summary: 'Count the keys of the bucket; it reads the whole bucket',
  since: '1.0.0',
  flags: ['readonly'],
  categories: ['@keyspace', '@read', '@slow'],
  keys: 'none',
  writes: false,
  alone: true,
  run(call) {
    call.answer(call.node.count(call.client.bucket, {}), (writer, count) => {
      writer.integer(count);
    });
  },
};

export const SELECT: Command = {
  name: 'select',
  arity: 2,
  group: 'connection',
  summary: 'Use a bucket by its name; 0 is the bucket `default`',
  since: '1.0.0',
  flags: ['loading', 'stale', 'fast'],
  categories: ['@fast', '@connection'],
  keys: 'none',
  writes: false,
  run(call) {
    const wanted = call.request.text(1);
    const name = wanted === '0' ? DEFAULT_BUCKET : wanted;
    if (call.node.bucket(name) === undefined) {
      throw /^-?[0-9]+$/.test(wanted)
        ? new ReplyError('ERR DB index is out of range')
        : new CoterieError('BUCKET_UNKNOWN', 'there is no bucket of that name; 0 selects the bucket default');
    }
    call.client.bucket = name;
    call.writer.ok();
  },
};
