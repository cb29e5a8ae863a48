/** Branded identifiers and quantities, each with one validating constructor. */

import { CoterieError } from './errors.ts';

declare const brand: unique symbol;
type Brand<T, Name extends string> = T & { readonly [brand]: Name };

/** A volume: 128 random bits as 32 lower-case hexadecimal digits, written once when the store is created. */
export type StoreId = Brand<string, 'StoreId'>;
/** A cluster: 128 random bits as 32 lower-case hexadecimal digits. */
export type ClusterId = Brand<string, 'ClusterId'>;
/** A member slot's name, as in `node-1`: 1 to 63 of `a-z 0-9 -`, starting and ending with a letter or digit. */
export type MemberName = Brand<string, 'MemberName'>;
/** A partition's number, 0 to Q-1. */
export type PartitionId = Brand<number, 'PartitionId'>;
/** The number of a topology document, 0 to 2^53-1; it only grows. */
export type Epoch = Brand<number, 'Epoch'>;
/** Milliseconds, a safe integer >= 0: a duration, or a wall-clock instant since 1970. */
export type Millis = Brand<number, 'Millis'>;
/** A bucket's number in the topology document, 0 to 65,535; 0 is the bucket `default`. */
export type BucketId = Brand<number, 'BucketId'>;

const HEX_128 = /^[0-9a-f]{32}$/;
const NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

function whole(value: number, most: number, what: string): number {
  if (!Number.isSafeInteger(value) || value < 0 || value > most) {
    throw new CoterieError('SETTING_INVALID', `${what} must be a whole number from 0 to ${String(most)}, not ${String(value)}`);
  }
  return value;
}

export function storeId(hex: string): StoreId {
  if (!HEX_128.test(hex)) throw new CoterieError('SETTING_INVALID', 'a store id is 32 hexadecimal digits');
  return hex as StoreId;
}

export function clusterId(hex: string): ClusterId {
  if (!HEX_128.test(hex)) throw new CoterieError('SETTING_INVALID', 'a cluster id is 32 hexadecimal digits');
  return hex as ClusterId;
}

export function memberName(name: string): MemberName {
  if (!NAME.test(name)) {
    throw new CoterieError('SETTING_INVALID', `a member name is 1 to 63 of a-z, 0-9 and -, not ${JSON.stringify(name)}`);
  }
  return name as MemberName;
}

export function partitionId(value: number): PartitionId {
  return whole(value, 0xff_ffff, 'a partition') as PartitionId;
}

export function epoch(value: number): Epoch {
  return whole(value, Number.MAX_SAFE_INTEGER, 'an epoch') as Epoch;
}

export function millis(value: number): Millis {
  return whole(value, Number.MAX_SAFE_INTEGER, 'a time in milliseconds') as Millis;
}

export function bucketId(value: number): BucketId {
  return whole(value, 0xffff, 'a bucket id') as BucketId;
}
