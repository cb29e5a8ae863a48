/** A client's write, checked and placed, on its way to its coordinator. */

import type { ByteString } from '../base/bytes.ts';
import { byteStringOf64, toByteString } from '../base/bytes.ts';
import { halfSipHash64Bytes, type Hash64 } from '../base/hash.ts';
import { CoterieError } from '../base/errors.ts';
import type { BucketDefinition } from '../cluster/ring/topology.ts';
import type { CoordinateKind } from '../transport/messages/coordinate.ts';

export interface WriteCommand {
  readonly bucket: BucketDefinition;
  readonly key: ByteString;
  readonly diskKey: ByteString;
  /** The primaries, as indexes of members. */
  readonly replicas: readonly number[];
  readonly kind: CoordinateKind;
  /** Borrowed until `own` is called, as is `context`. Empty unless `kind` is `put`. */
  readonly value: Uint8Array;
  /** 0 for never. */
  readonly expireAtMs: number;
  readonly keepTtl: boolean;
  readonly w: number;
  readonly context: Uint8Array | undefined;
  /** 16 bytes. */
  readonly operationId: ByteString | undefined;
  /** When the client's time is over, on this node's monotonic clock. */
  readonly dueMs: number;
  /** Fallbacks may be counted. */
  readonly sloppy: boolean;
  /** Where another coordinator may be asked for the same write. */
  readonly attempt?: Attempt;
}

/** A write at one of two coordinators (hedged-write.ts). */
export interface Attempt {
  /** Names the write (cluster/versioning/attempt.ts). */
  readonly id: number;
  /** Monotonic time after which it may not be begun any more. */
  readonly beginByMs: number;
  /** Another coordinator was asked before, and may have begun it. */
  readonly second: boolean;
  /** The first gives it no later a hybrid time than this, and the second a later one: whatever their clocks, what is made twice is made in their order. */
  readonly latestMs: number;
  /** Primaries that answer nobody, as bits by position: what they know of the write is not waited for. */
  readonly silent: number;
}

/** What a write answers, at its coordinator or from it. */
export interface WriteAnswer {
  /** `undefined` while the key has values that are not this write's. */
  readonly context: Uint8Array | undefined;
  readonly existed: boolean;
  readonly siblings: number;
  /** Of EXPIRE and PERSIST: whether anything changed. */
  readonly changed: boolean;
  /** Acknowledgements counted that are a fallback's alone. */
  readonly fallbacks: number;
}

/** The command with bytes of its own, for when it outlives the call. */
export function owned(command: WriteCommand): WriteCommand {
  return {
    ...command,
    value: new Uint8Array(command.value),
    context: command.context === undefined ? undefined : new Uint8Array(command.context),
  };
}

/** What is left of the client's time, in ms, for a message: at least 1. */
export function remainingMs({ dueMs }: WriteCommand, nowMs: number): number {
  return Math.max(1, Math.ceil(dueMs - nowMs));
}

/** "coterie body" as a key: constant, because retries come through any node. */
const KEY = { k0: 0x636f7465, k1: 0x626f6479 } as const;
const scratch: Hash64 = { hi: 0, lo: 0 };
const KIND_BYTE: Readonly<Record<CoordinateKind, string>> = { put: 'p', delete: 'd', expire: 'e' };

/**
 * 8 bytes over what makes a request the same write: kind, value and context. The expiry is left out: clients name it relative to the moment of
 * each attempt, so that two attempts of one write seldom agree on it.
 */
export function bodyHash(command: WriteCommand): ByteString {
  const first = hashOf(command.value);
  const { context } = command;
  const second = context === undefined ? '' : hashOf(context);
  const text = KIND_BYTE[command.kind] + first + second;
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) bytes[i] = text.charCodeAt(i);
  return hashOf(bytes);
}

function hashOf(bytes: Uint8Array): ByteString {
  const { hi, lo } = halfSipHash64Bytes(KEY, bytes, 0, bytes.length, scratch);
  return byteStringOf64(hi, lo);
}

/** The client's operation id as a byte string. @throws CoterieError OPERATION_ID_INVALID */
export function operationIdOf(id: Uint8Array | undefined): ByteString | undefined {
  if (id === undefined) return undefined;
  if (id.length !== 16) throw new CoterieError('OPERATION_ID_INVALID', `an operation id has 16 bytes, not ${String(id.length)}`);
  return toByteString(id);
}
