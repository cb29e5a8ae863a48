/** Several values of one key in one body: `multipart/mixed` (RFC 2046) or JSON, newest first. */

import { Buffer } from 'node:buffer';

import type { ByteString } from '../../base/bytes.ts';
import type { Version } from '../../runtime/kv.ts';
import type { VersionDocument } from '../admin/documents.ts';
import { versionDocument } from '../admin/views.ts';

/** Milliseconds since 1970 at which a value expires; absent where it never does. */
export const EXPIRY_HEADER = 'Coterie-Expire-At-Ms';

export interface SiblingsDocument {
  readonly context: string | null;
  readonly values: readonly VersionDocument[];
}

export function siblingsJson(versions: readonly Version[], context: string | undefined): string {
  const document: SiblingsDocument = { context: context ?? null, values: versions.map(versionDocument) };
  return JSON.stringify(document);
}

/** The body as a byte string. */
export function siblingsMultipart(versions: readonly Version[]): { readonly type: string; readonly body: ByteString } {
  const values = versions.map(({ value }) => Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('latin1'));
  const boundary = unusedBoundary(values);
  let body = '';
  for (const [index, value] of values.entries()) {
    const expireAtMs = versions[index]?.expireAtMs ?? 0;
    const expiry = expireAtMs === 0 ? '' : `${EXPIRY_HEADER}: ${expireAtMs}\r\n`;
    body += `--${boundary}\r\nContent-Type: application/octet-stream\r\nContent-Length: ${value.length}\r\n${expiry}\r\n${value}\r\n`;
  }
  return { type: `multipart/mixed; boundary=${boundary}`, body: `${body}--${boundary}--\r\n` };
}

/** A boundary that no value contains: nearly always the first candidate is it. */
function unusedBoundary(values: readonly ByteString[]): string {
  for (let number = 0; ; number += 1) {
    const boundary = `coterie-${number.toString(36).padStart(8, '0')}`;
    if (!values.some((value) => value.includes(`--${boundary}`))) return boundary;
  }
}
