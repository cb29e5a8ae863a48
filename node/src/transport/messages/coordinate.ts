/** A client's write on its way to its coordinator, and the answer (proto/peer.proto). */

import { type ByteString, fromByteString, toByteString } from '../../base/bytes.ts';
import { CoterieError } from '../../base/errors.ts';
import { coterie, decodeWire, u53 } from '../wire.ts';

const { CoordinateRequest, CoordinateReply, MutationKind } = coterie.peer;

export type CoordinateKind = 'put' | 'delete' | 'expire';

export interface CoordinateMessage {
  readonly bucket: number;
  readonly key: ByteString;
  readonly kind: CoordinateKind;
  /** Empty unless `kind` is `put`. Decoded, it aliases the payload. */
  readonly value: Uint8Array;
  readonly expireAtMs: number;
  readonly keepTtl: boolean;
  readonly w: number;
  /** The client's token. Decoded, it aliases the payload. */
  readonly context: Uint8Array | undefined;
  /** 16 bytes. */
  readonly operationId: ByteString | undefined;
  /** Fallbacks may be counted. */
  readonly sloppy: boolean;
  /** The write's name while a second coordinator may be asked for it (cluster/versioning/attempt.ts); 0 where none is. */
  readonly attempt: number;
  /** Where it has a name, it is begun only within so many ms of its sending. */
  readonly beginWithinMs: number;
  /** Another coordinator was asked before, and may have begun it. */
  readonly second: boolean;
  /** Where it has a name: the first coordinator gives it no later a hybrid time than this, and the second a later one. */
  readonly latestMs: number;
  /** Primaries that answer nobody, as bits by position: what they know of the write is not waited for. */
  readonly silent: number;
}

export interface CoordinateAnswer {
  /** Decoded, it aliases the payload. */
  readonly context: Uint8Array | undefined;
  readonly existed: boolean;
  readonly siblings: number;
  readonly changed: boolean;
  /** Acknowledgements counted that are a fallback's alone. */
  readonly fallbacks: number;
}

const EMPTY = new Uint8Array(0);

const KINDS: Readonly<Record<CoordinateKind, coterie.peer.MutationKind>> = {
  put: MutationKind.MUTATION_PUT,
  delete: MutationKind.MUTATION_DELETE,
  expire: MutationKind.MUTATION_EXPIRE,
};

export function encodeCoordinate(message: CoordinateMessage): Uint8Array {
  return CoordinateRequest.encode({
    bucket: message.bucket,
    key: fromByteString(message.key),
    kind: KINDS[message.kind],
    value: message.value,
    expireAtMs: message.expireAtMs,
    keepTtl: message.keepTtl,
    w: message.w,
    context: message.context ?? EMPTY,
    operationId: message.operationId === undefined ? EMPTY : fromByteString(message.operationId),
    sloppy: message.sloppy,
    attempt: message.attempt,
    beginWithinMs: message.beginWithinMs,
    second: message.second,
    latestMs: message.latestMs,
    silent: message.silent,
  }).finish();
}

/** @throws CoterieError FRAME_INVALID */
export function decodeCoordinate(payload: Uint8Array): CoordinateMessage {
  const message = decodeWire(CoordinateRequest, payload);
  const id = message.operationId;
  if (id.length !== 0 && id.length !== 16) throw new CoterieError('FRAME_INVALID', 'an operation id has 16 bytes');
  return {
    bucket: message.bucket,
    key: toByteString(message.key),
    kind: kindOf(message.kind),
    value: message.value,
    expireAtMs: u53(message.expireAtMs, 'expire_at_ms'),
    keepTtl: message.keepTtl,
    w: message.w,
    context: message.context.length === 0 ? undefined : message.context,
    operationId: id.length === 0 ? undefined : toByteString(id),
    sloppy: message.sloppy,
    attempt: u53(message.attempt, 'attempt'),
    beginWithinMs: message.beginWithinMs,
    second: message.second,
    latestMs: u53(message.latestMs, 'latest_ms'),
    silent: message.silent,
  };
}

function kindOf(value: coterie.peer.MutationKind): CoordinateKind {
  switch (value) {
    case MutationKind.MUTATION_PUT:
      return 'put';
    case MutationKind.MUTATION_DELETE:
      return 'delete';
    case MutationKind.MUTATION_EXPIRE:
      return 'expire';
    default:
      throw new CoterieError('FRAME_INVALID', `there is no mutation ${String(value)}`);
  }
}

export function encodeCoordinateAnswer(answer: CoordinateAnswer): Uint8Array {
  // Copied field by field: the encoder looks at own properties only, and an answer may compute its own.
  const { context, existed, siblings, changed, fallbacks } = answer;
  return CoordinateReply.encode({ context: context ?? EMPTY, existed, siblings, changed, fallbacks }).finish();
}

/** @throws CoterieError FRAME_INVALID */
export function decodeCoordinateAnswer(payload: Uint8Array): CoordinateAnswer {
  // Field by field: what was not sent has its default on the prototype, which a spread would lose.
  const { context, existed, siblings, changed, fallbacks } = decodeWire(CoordinateReply, payload);
  return { context: context.length === 0 ? undefined : context, existed, siblings, changed, fallbacks };
}
