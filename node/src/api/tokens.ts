/** What clients hand back as text: contexts (base64url, RFC 4648 section 5, unpadded) and operation ids (a UUID or 32 hexadecimal digits). */

import { Buffer } from 'node:buffer';

import { fromHex } from '../base/bytes.ts';
import { CoterieError } from '../base/errors.ts';

const BASE64URL = /^[A-Za-z0-9_-]+$/;
const UUID = /^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$/;
/** Far above the largest context that a key's clock can grow to. */
const CONTEXT_CHARACTERS = 12_288;

export function contextToText(context: Uint8Array): string {
  return Buffer.from(context.buffer, context.byteOffset, context.byteLength).toString('base64url');
}

/** @throws CoterieError CONTEXT_BROKEN; whether the bytes mean anything is for the cluster to judge */
export function contextFromText(text: string): Uint8Array {
  if (text.length > CONTEXT_CHARACTERS || text.length % 4 === 1 || !BASE64URL.test(text)) {
    throw new CoterieError('CONTEXT_BROKEN', 'the context is not one that Coterie gave out: it is base64url text, handed back unchanged');
  }
  return Buffer.from(text, 'base64url');
}

/** @throws CoterieError OPERATION_ID_INVALID */
export function operationIdFromText(text: string): Uint8Array {
  const bytes = text.length === 32 ? fromHex(text) : UUID.test(text) ? fromHex(text.replaceAll('-', '')) : undefined;
  if (bytes === undefined) {
    throw new CoterieError('OPERATION_ID_INVALID', 'an operation id is 16 bytes: a UUID, or 32 hexadecimal digits');
  }
  return bytes;
}
