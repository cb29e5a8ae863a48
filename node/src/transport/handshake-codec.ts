/** The handshake and failures as bytes: the messages of `proto/transport.proto`. */

import { fromByteString, fromHex, toByteString, toHex } from '../base/bytes.ts';
import { CoterieError, type ErrorCode, isCoterieError, isErrorCode, type Outcome } from '../base/errors.ts';
import { clusterId, memberName, storeId } from '../base/ids.ts';
import type { Hello, Remembered } from './handshake.ts';
import { coterie, decodeWire, u53 } from './wire.ts';

const wire = coterie.transport;
const MAX_DIGEST_BYTES = 32;
const MAX_MESSAGE_CHARS = 512;

/** The other side's WELCOME: the protocol version it has chosen, and what it remembers of this node. */
export interface Welcome {
  readonly protocol: number;
  readonly remembered: Remembered;
}

/** A failed request, or with request id 0 a refused connection. */
export interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly outcome: Outcome;
}

export function encodeHello(hello: Hello): Uint8Array {
  return wire.Hello.encode({
    protocolMin: hello.protocol.min,
    protocolMax: hello.protocol.max,
    clusterId: hexBytes(hello.clusterId),
    name: hello.name,
    storeId: hexBytes(hello.storeId),
    boot: hello.boot,
    leaseEnd: hello.leaseEnd,
    actorEpoch: hello.actorEpoch,
    topologyEpoch: hello.topologyEpoch,
    topologyDigest: fromByteString(hello.topologyDigest),
  }).finish();
}

/** @throws CoterieError FRAME_INVALID */
export function decodeHello(payload: Uint8Array): Hello {
  const hello = decodeWire(wire.Hello, payload);
  if (hello.topologyDigest.length > MAX_DIGEST_BYTES) throw new CoterieError('FRAME_INVALID', 'a topology digest is too long');
  return checked(() => ({
    protocol: { min: hello.protocolMin, max: hello.protocolMax },
    clusterId: clusterId(toHex(hello.clusterId)),
    name: memberName(hello.name),
    storeId: storeId(toHex(hello.storeId)),
    boot: u53(hello.boot, 'the boot counter'),
    leaseEnd: u53(hello.leaseEnd, 'the lease'),
    actorEpoch: hello.actorEpoch,
    topologyEpoch: u53(hello.topologyEpoch, 'the topology epoch'),
    topologyDigest: toByteString(hello.topologyDigest),
  }));
}

export function encodeWelcome(welcome: Welcome): Uint8Array {
  const { known, boot, leaseEnd, actorEpoch } = welcome.remembered;
  const id = welcome.remembered.storeId;
  return wire.Welcome.encode({
    protocol: welcome.protocol,
    known,
    boot,
    leaseEnd,
    actorEpoch,
    ...(id === undefined ? {} : { storeId: hexBytes(id) }),
  }).finish();
}

/** @throws CoterieError FRAME_INVALID */
export function decodeWelcome(payload: Uint8Array): Welcome {
  const welcome = decodeWire(wire.Welcome, payload);
  return checked(() => ({
    protocol: welcome.protocol,
    remembered: {
      known: welcome.known,
      boot: u53(welcome.boot, 'the boot counter'),
      leaseEnd: u53(welcome.leaseEnd, 'the lease'),
      actorEpoch: welcome.actorEpoch,
      ...(welcome.storeId.length === 0 ? {} : { storeId: storeId(toHex(welcome.storeId)) }),
    },
  }));
}

export function encodeFailure(code: ErrorCode, message: string, outcome: Outcome): Uint8Array {
  return wire.Failure.encode({
    code,
    message: message.slice(0, MAX_MESSAGE_CHARS),
    outcome: outcome === 'none' ? wire.Outcome.OUTCOME_NONE : wire.Outcome.OUTCOME_UNKNOWN,
  }).finish();
}

/** A code of a later version reads as INTERNAL. @throws CoterieError FRAME_INVALID */
export function decodeFailure(payload: Uint8Array): Failure {
  const { code, message, outcome } = decodeWire(wire.Failure, payload);
  return {
    code: isErrorCode(code) ? code : 'INTERNAL',
    message: message.slice(0, MAX_MESSAGE_CHARS),
    outcome: outcome === wire.Outcome.OUTCOME_NONE ? 'none' : 'unknown',
  };
}

/** The bytes of an identifier, which is hexadecimal by its type. */
function hexBytes(id: string): Uint8Array {
  return fromHex(id) ?? new Uint8Array(0);
}

/** Runs `decode`; what its constructors refuse is a broken frame here. */
function checked<T>(decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    if (isCoterieError(error)) throw new CoterieError('FRAME_INVALID', error.message, { cause: error });
    throw error;
  }
}
