/**
 * The strict reader of topology documents: takes anything, answers a checked `Topology` or throws a coded error that names the field, what
 * is allowed, and what was found. Unknown fields are errors: a field that this version does not know could change what the others mean.
 */

import { CoterieError } from '../../base/errors.ts';
import { bucketId, clusterId, epoch, memberName, storeId } from '../../base/ids.ts';
import { tokenSpace } from './token.ts';
import type { BucketDefinition, Member, MemberAddress, Topology } from './topology.ts';
import { MAX_BUCKETS, MAX_MEMBERS, MAX_PARTITIONS, MAX_REPLICAS, MAX_WEIGHT } from './topology.ts';

const LABEL = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;
const LABEL_RULE = '1 to 63 of A-Z a-z 0-9 . _ -, starting and ending with a letter or digit';
const HOST = /^[A-Za-z0-9._:%-]{1,253}$/;

/** Computes the replica lists once the settings are known to be good. */
export type Placer = (members: readonly Member[], N: number, Q: number) => readonly (readonly number[])[];

/**
 * Reads a topology from parsed JSON, strictly: nothing missing, nothing unknown, every invariant checked.
 *
 * @throws CoterieError CLUSTER_TOO_SMALL, SETTING_UNKNOWN, SETTING_INVALID
 */
export function parseTopology(json: unknown): Topology {
  return checkTopology(json);
}

/**
 * Checks a document; with `place`, the document has no partitions: they are computed.
 *
 * @throws CoterieError as `parseTopology`
 */
export function checkTopology(document: unknown, place?: Placer): Topology {
  const settings = ['format', 'clusterId', 'epoch', 'N', 'Q', 'tokenHash', 'tokenSeed', 'buckets', 'members'];
  const fields = record(document, 'topology', place === undefined ? [...settings, 'partitions'] : settings);
  if (fields['format'] !== 1) invalid('topology.format', '1', fields['format']);
  const id = named('topology.clusterId', clusterId, fields['clusterId']);
  const number = epoch(whole(fields['epoch'], 'topology.epoch', 0, Number.MAX_SAFE_INTEGER));
  const N = whole(fields['N'], 'topology.N', 1, MAX_REPLICAS);
  const Q = whole(fields['Q'], 'topology.Q', 1, MAX_PARTITIONS);
  if ((Q & (Q - 1)) !== 0) invalid('topology.Q', `a power of two from 1 to ${String(MAX_PARTITIONS)}`, Q);
  if (fields['tokenHash'] !== 'halfsiphash-2-4') invalid('topology.tokenHash', '"halfsiphash-2-4"', fields['tokenHash']);
  const tokenSeed = text(fields['tokenSeed'], 'topology.tokenSeed');
  if (!/^[0-9a-f]{16}$/.test(tokenSeed)) invalid('topology.tokenSeed', '16 lower-case hexadecimal digits', tokenSeed);
  const members = readMembers(fields['members'], N);
  const buckets = readBuckets(fields['buckets'], N);
  const partitions = place === undefined ? readPartitions(fields['partitions'], N, Q, members.length) : place(members, N, Q);
  return {
    format: 1,
    clusterId: id,
    epoch: number,
    N,
    Q,
    tokenHash: 'halfsiphash-2-4',
    tokenSeed,
    buckets,
    members,
    partitions: shared(partitions),
    tokenSpace: tokenSpace(tokenSeed, Q),
  };
}

/** The same lists, equal ones as one: every operation looks at one, and few of them stay in the processor's cache where each partition's own do not. */
function shared(lists: readonly (readonly number[])[]): readonly (readonly number[])[] {
  const known = new Map<string, readonly number[]>();
  return lists.map((replicas) => {
    const name = replicas.join();
    const first = known.get(name) ?? replicas;
    known.set(name, first);
    return first;
  });
}

function readBuckets(value: unknown, N: number): BucketDefinition[] {
  const where = 'topology.buckets';
  const buckets = list(value, where, 1, MAX_BUCKETS).map((entry, at) => readBucket(entry, `${where}[${String(at)}]`, N));
  distinct(buckets, where, 'id', (bucket) => String(bucket.id));
  distinct(buckets, where, 'name', (bucket) => bucket.name);
  for (const [at, bucket] of buckets.entries()) {
    if ((bucket.id === 0) !== (bucket.name === 'default')) {
      invalid(`${where}[${String(at)}]`, 'id 0 with the name "default", or neither', { id: bucket.id, name: bucket.name });
    }
  }
  if (!buckets.some((bucket) => bucket.id === 0)) invalid(where, 'a list with the bucket of id 0, named "default"', 'one without it');
  return buckets;
}

function readBucket(value: unknown, where: string, N: number): BucketDefinition {
  const fields = record(value, where, ['id', 'name', 'consistency', 'R', 'W', 'blindWrites']);
  const name = text(fields['name'], `${where}.name`);
  if (!LABEL.test(name) || /^[0-9]+$/.test(name)) invalid(`${where}.name`, `${LABEL_RULE}, and not digits alone`, name);
  const consistency = oneOf(fields['consistency'], `${where}.consistency`, ['eventual', 'strong'] as const);
  const blindWrites = oneOf(fields['blindWrites'], `${where}.blindWrites`, ['newest', 'quorum'] as const);
  const id = bucketId(whole(fields['id'], `${where}.id`, 0, 0xffff));
  const R = whole(fields['R'], `${where}.R`, 1, N);
  const W = whole(fields['W'], `${where}.W`, 1, N);
  if (consistency === 'strong' && R + W <= N) {
    invalid(where, `R + W greater than N=${String(N)} in a strong bucket`, `R=${String(R)}, W=${String(W)}`);
  }
  if (consistency === 'strong' && blindWrites === 'quorum') {
    invalid(`${where}.blindWrites`, '"newest" in a strong bucket, whose writes ask R replicas in any case', blindWrites);
  }
  return { id, name, consistency, R, W, blindWrites };
}

function readMembers(value: unknown, N: number): Member[] {
  const where = 'topology.members';
  const members = list(value, where, 0, MAX_MEMBERS).map((entry, at) => readMember(entry, `${where}[${String(at)}]`));
  if (members.length < N) {
    throw new CoterieError(
      'CLUSTER_TOO_SMALL',
      `N=${String(N)} needs at least ${String(N)} members; ${where} lists ${String(members.length)}`,
    );
  }
  distinct(members, where, 'name', (member) => member.name);
  distinct(members, where, 'storeId', (member) => member.storeId);
  return members;
}

function readMember(value: unknown, where: string): Member {
  const fields = record(value, where, ['name', 'address', 'zone', 'rack', 'weight'], ['storeId']);
  const label = (field: 'zone' | 'rack'): string => {
    const found = text(fields[field], `${where}.${field}`);
    if (!LABEL.test(found)) invalid(`${where}.${field}`, LABEL_RULE, found);
    return found;
  };
  const member = {
    name: named(`${where}.name`, memberName, fields['name']),
    address: readAddress(fields['address'], `${where}.address`),
    zone: label('zone'),
    rack: label('rack'),
    weight: whole(fields['weight'], `${where}.weight`, 1, MAX_WEIGHT),
  };
  const store = fields['storeId'];
  if (store === undefined) return member;
  return { ...member, storeId: named(`${where}.storeId`, storeId, store) };
}

function readAddress(value: unknown, where: string): MemberAddress {
  const fields = record(value, where, ['host', 'peerPort', 'respPort', 'httpPort']);
  const host = text(fields['host'], `${where}.host`);
  if (!HOST.test(host)) invalid(`${where}.host`, 'a host name or an IP address', host);
  const port = (field: 'peerPort' | 'respPort' | 'httpPort'): number => whole(fields[field], `${where}.${field}`, 1, 65_535);
  return { host, peerPort: port('peerPort'), respPort: port('respPort'), httpPort: port('httpPort') };
}

function readPartitions(value: unknown, N: number, Q: number, memberCount: number): number[][] {
  const where = 'topology.partitions';
  return list(value, where, Q, Q).map((entry, partition) => {
    const at = `${where}[${String(partition)}]`;
    const replicas = list(entry, at, N, N).map((member, k) => whole(member, `${at}[${String(k)}]`, 0, memberCount - 1));
    if (new Set(replicas).size !== N) invalid(at, `${String(N)} distinct members`, replicas);
    return replicas;
  });
}

function record(value: unknown, where: string, required: readonly string[], optional: readonly string[] = []): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) invalid(where, 'an object', value);
  const fields: Record<string, unknown> = { ...value };
  for (const field of Object.keys(fields)) {
    if (!required.includes(field) && !optional.includes(field)) {
      throw new CoterieError(
        'SETTING_UNKNOWN',
        `${where} has an unknown field ${JSON.stringify(field)}; known are ${[...required, ...optional].join(', ')}`,
      );
    }
  }
  for (const field of required) if (fields[field] === undefined) invalid(`${where}.${field}`, 'present', undefined);
  return fields;
}

function list(value: unknown, where: string, least: number, most: number): unknown[] {
  if (!Array.isArray(value) || value.length < least || value.length > most) {
    const size = least === most ? String(least) : `${String(least)} to ${String(most)}`;
    invalid(where, `a list of ${size} entries`, Array.isArray(value) ? `one of ${String(value.length)}` : value);
  }
  return value as unknown[];
}

function whole(value: unknown, where: string, least: number, most: number): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < least || value > most) {
    invalid(where, `a whole number from ${String(least)} to ${String(most)}`, value);
  }
  return value;
}

function text(value: unknown, where: string): string {
  if (typeof value !== 'string') invalid(where, 'a text', value);
  return value;
}

function oneOf<T extends string>(value: unknown, where: string, allowed: readonly T[]): T {
  const found = allowed.find((choice) => choice === value);
  if (found === undefined) invalid(where, allowed.map((choice) => JSON.stringify(choice)).join(' or '), value);
  return found;
}

function distinct<T>(entries: readonly T[], where: string, field: string, of: (entry: T) => string | undefined): void {
  const seen = new Set<string>();
  for (const [at, entry] of entries.entries()) {
    const value = of(entry);
    if (value === undefined) continue;
    if (seen.has(value)) invalid(`${where}[${String(at)}].${field}`, 'different from all others', value);
    seen.add(value);
  }
}

/** Makes one of base's names or ids; its constructor's complaint gets the field's name in front. */
function named<T>(where: string, make: (name: string) => T, value: unknown): T {
  const found = text(value, where);
  try {
    return make(found);
  } catch (error) {
    throw new CoterieError('SETTING_INVALID', `${where}: ${error instanceof Error ? error.message : 'invalid'}`, { cause: error });
  }
}

function invalid(where: string, allowed: string, found: unknown): never {
  const shown = found === undefined ? 'missing' : JSON.stringify(found).slice(0, 100);
  throw new CoterieError('SETTING_INVALID', `${where} must be ${allowed}, not ${shown}`);
}
