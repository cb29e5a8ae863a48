/** Query parameters, read strictly: what is not known, given twice or out of range is refused, not ignored. */

import { CoterieError, type ErrorCode } from '../../base/errors.ts';
import type { PutExpiry, ReadOptions, RepairRequest, WriteOptions } from '../../runtime/kv.ts';
import { quorumKindOf } from '../quorum-kind.ts';

type Parameters = Map<string, string>;
type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const READ = ['r', 'quorum', 'timeoutMs'];
const DELETE = ['w', 'quorum', 'timeoutMs'];
const PUT = [...DELETE, 'ttlMs', 'expireAtMs'];
const NOTHING: Record<string, never> = {};

/** @throws CoterieError REQUEST_INVALID, QUORUM_INVALID, TIMEOUT_INVALID */
export function readOptions(query: string): ReadOptions {
  if (query === '') return NOTHING;
  const given = parse(query, READ);
  const options: Mutable<ReadOptions> = {};
  const r = wholeNumber(given, 'r', 'QUORUM_INVALID');
  if (r !== undefined) options.r = r;
  return common(given, options);
}

/** @throws CoterieError REQUEST_INVALID, QUORUM_INVALID, TIMEOUT_INVALID */
export function deleteOptions(query: string): Mutable<WriteOptions> {
  return query === '' ? {} : writeOptions(parse(query, DELETE));
}

/** @throws CoterieError REQUEST_INVALID, QUORUM_INVALID, TIMEOUT_INVALID, EXPIRY_INVALID */
export function putOptions(query: string, nowMs: () => number): { options: Mutable<WriteOptions>; expiry: PutExpiry } {
  if (query === '') return { options: {}, expiry: NOTHING };
  const given = parse(query, PUT);
  return { options: writeOptions(given), expiry: expiryOf(given, nowMs) };
}

/** @throws CoterieError REQUEST_INVALID */
export function repairRequest(query: string): RepairRequest {
  const given = parse(query, ['partitions', 'scrub']);
  const scrub = given.get('scrub') ?? 'false';
  if (scrub !== 'true' && scrub !== 'false') throw new CoterieError('REQUEST_INVALID', 'scrub is true or false');
  const partitions = given.get('partitions');
  if (partitions === undefined) return { scrub: scrub === 'true' };
  const [, first, last] = /^(\d{1,7})(?:-(\d{1,7}))?$/.exec(partitions) ?? [];
  if (first === undefined) throw new CoterieError('REQUEST_INVALID', 'partitions is one number, or two as in 0-255');
  return { first: Number(first), last: Number(last ?? first), scrub: scrub === 'true' };
}

/** @throws CoterieError REQUEST_INVALID where there are any */
export function noParameters(query: string): void {
  if (query !== '') parse(query, []);
}

function writeOptions(given: Parameters): Mutable<WriteOptions> {
  const options: Mutable<WriteOptions> = {};
  const w = wholeNumber(given, 'w', 'QUORUM_INVALID');
  if (w !== undefined) options.w = w;
  return common(given, options);
}

function common<T extends Mutable<ReadOptions> | Mutable<WriteOptions>>(given: Parameters, options: T): T {
  const quorum = given.get('quorum');
  if (quorum !== undefined) options.quorum = quorumKindOf(quorum);
  const timeoutMs = wholeNumber(given, 'timeoutMs', 'TIMEOUT_INVALID');
  if (timeoutMs !== undefined) options.timeoutMs = timeoutMs;
  return options;
}

function expiryOf(given: Parameters, nowMs: () => number): PutExpiry {
  const ttlMs = wholeNumber(given, 'ttlMs', 'EXPIRY_INVALID');
  const expireAtMs = wholeNumber(given, 'expireAtMs', 'EXPIRY_INVALID');
  if (ttlMs !== undefined && expireAtMs !== undefined) {
    throw new CoterieError('EXPIRY_INVALID', 'give ttlMs or expireAtMs, not both');
  }
  if (ttlMs === 0 || expireAtMs === 0) throw new CoterieError('EXPIRY_INVALID', 'ttlMs and expireAtMs are at least 1');
  if (ttlMs === undefined) return expireAtMs === undefined ? NOTHING : { expireAtMs };
  return { expireAtMs: nowMs() + ttlMs };
}

function parse(query: string, known: readonly string[]): Parameters {
  const given: Parameters = new Map();
  for (const part of query.split('&')) {
    if (part === '') continue;
    const equals = part.indexOf('=');
    const name = equals === -1 ? part : part.slice(0, equals);
    if (!known.includes(name)) {
      const most = known.length === 0 ? 'this takes none' : `here they are ${known.join(', ')}`;
      throw new CoterieError('REQUEST_INVALID', `unknown query parameter; ${most}`);
    }
    if (given.has(name)) throw new CoterieError('REQUEST_INVALID', `the query parameter ${name} is given twice`);
    given.set(name, equals === -1 ? '' : part.slice(equals + 1));
  }
  return given;
}

function wholeNumber(given: Parameters, name: string, code: ErrorCode): number | undefined {
  const text = given.get(name);
  if (text === undefined) return undefined;
  const value = /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw new CoterieError(code, `${name} is a whole number`);
  return value;
}
