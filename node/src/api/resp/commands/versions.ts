/**
 * Coterie's own commands, which show siblings and take contexts:
 *
 *   KV.GET key [R n] [QUORUM strict|sloppy] [TIMEOUT ms]                 -> [context or null, [value, …] newest first]; with a third element,
 *                                                                          how many fallbacks were counted, where any was
 *   KV.PUT key value [CONTEXT context] [W n] [QUORUM …] [TIMEOUT ms] [ID operation-id]
 *          [EX seconds | PX ms | EXAT second | PXAT ms | KEEPTTL]        -> context
 *   KV.DEL key [CONTEXT context] [W n] [QUORUM …] [TIMEOUT ms] [ID operation-id]  -> context (both: null while the key has values unseen)
 *
 * Contexts are base64url text and operation ids UUIDs or 32 hexadecimal digits, as over HTTP.
 */

import type { QuorumKind, WriteResult } from '../../../runtime/kv.ts';
import { checkPair } from '../../limits.ts';
import { quorumKindOf } from '../../quorum-kind.ts';
import { contextFromText, contextToText, operationIdFromText } from '../../tokens.ts';
import { ExpiryOptions, smallNumber } from '../arguments.ts';
import type { Command } from '../command.ts';
import type { RequestParser } from '../parser.ts';
import type { ReplyWriter } from '../reply.ts';
import { syntaxError } from '../reply-error.ts';
import { keyAt } from './strings.ts';

interface Options {
  r?: number;
  w?: number;
  quorum?: QuorumKind;
  timeoutMs?: number;
  context?: Uint8Array;
  operationId?: Uint8Array;
}

/**
 * Reads named options, each with one argument, each at most once.
 *
 * @param allowed names in upper case
 * @param expiry takes the options it knows, if given
 */
function readOptions(request: RequestParser, from: number, allowed: ReadonlySet<string>, expiry?: ExpiryOptions): Options {
  const options: Options = {};
  const seen = new Set<string>();
  for (let index = from; index < request.argc;) {
    const name = request.text(index).toUpperCase();
    const taken = expiry?.take(request, name, index) ?? 0;
    if (taken > 0) {
      index += taken;
      continue;
    }
    if (!allowed.has(name) || seen.has(name) || index + 1 >= request.argc) throw syntaxError();
    seen.add(name);
    const value = request.text(index + 1);
    index += 2;
    switch (name) {
      case 'R':
        options.r = smallNumber(value);
        break;
      case 'W':
        options.w = smallNumber(value);
        break;
      case 'QUORUM':
        options.quorum = quorumKindOf(value.toLowerCase());
        break;
      case 'TIMEOUT':
        options.timeoutMs = smallNumber(value);
        break;
      case 'CONTEXT':
        options.context = contextFromText(value);
        break;
      default:
        options.operationId = operationIdFromText(value);
    }
  }
  return options;
}

const READ_OPTIONS = new Set(['R', 'QUORUM', 'TIMEOUT']);
const WRITE_OPTIONS = new Set(['W', 'QUORUM', 'TIMEOUT', 'CONTEXT', 'ID']);

function writeContext(writer: ReplyWriter, result: WriteResult): void {
  if (result.context === undefined) writer.nil();
  else writer.bulkText(contextToText(result.context));
}

export const KV_GET: Command = {
  name: 'kv.get',
  arity: -2,
  group: 'coterie',
  summary: 'Get all values of a key, and the context that covers them',
  since: '0.1.0',
  flags: ['readonly', 'fast'],
  categories: ['@read', '@string', '@fast'],
  keys: 'first',
  writes: false,
  run(call) {
    const key = keyAt(call, 1);
    const options = readOptions(call.request, 2, READ_OPTIONS);
    call.answer(call.node.get(call.client.bucket, key, options), (writer, result) => {
      const { fallbacks = 0 } = result;
      writer.array(fallbacks > 0 ? 3 : 2);
      if (result.context === undefined) writer.nil();
      else writer.bulkText(contextToText(result.context));
      writer.array(result.versions.length);
      for (const version of result.versions) writer.bulk(version.value);
      if (fallbacks > 0) writer.integer(fallbacks);
    });
  },
};

export const KV_PUT: Command = {
  name: 'kv.put',
  arity: -3,
  group: 'coterie',
  summary: 'Write a value; with a context it replaces exactly what that context covers',
  since: '0.1.0',
  flags: ['write', 'denyoom'],
  categories: ['@write', '@string', '@slow'],
  keys: 'first',
  writes: true,
  run(call) {
    const { request, node } = call;
    checkPair(request.length(1), request.length(2), node.limits);
    const expiry = new ExpiryOptions();
    const options = readOptions(request, 3, WRITE_OPTIONS, expiry);
    const put = expiry.finish(request, node.nowMs(), 'kv.put');
    call.answer(node.put(call.client.bucket, request.text(1), request.bytes(2), put, options), writeContext);
  },
};

export const KV_DEL: Command = {
  name: 'kv.del',
  arity: -2,
  group: 'coterie',
  summary: 'Delete a key; with a context exactly what that context covers',
  since: '0.1.0',
  flags: ['write'],
  categories: ['@keyspace', '@write', '@slow'],
  keys: 'first',
  writes: true,
  run(call) {
    const key = keyAt(call, 1);
    const options = readOptions(call.request, 2, WRITE_OPTIONS);
    call.answer(call.node.delete(call.client.bucket, key, options), writeContext);
  },
};
