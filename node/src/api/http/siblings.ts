/** Several values of one key in one body: `multipart/mixed` (RFC 2046) or JSON, newest first. */

import { Buffer } from 'node:buffer';

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

export function siblingsMultipart(versions: readonly Version[]): { readonly type: string; readonly body: Buffer } {
  const boundary = unusedBoundary(versions);
  const parts: Uint8Array[] = [];
  for (const { value, expireAtMs } of versions) {
    const expiry = expireAtMs === 0 ? '' : `${EXPIRY_HEADER}: ${expireAtMs}\r\n`;
    const head = `--${boundary}\r\nContent-Type: application/octet-stream\r\nContent-Length: ${value.length}\r\n${expiry}\r\n`;
    parts.push(Buffer.from(head, 'latin1'), value, CRLF);
  }
  parts.push(Buffer.from(`--${boundary}--\r\n`, 'latin1'));
  return { type: `multipart/mixed; boundary=${boundary}`, body: Buffer.concat(parts) };
}

const CRLF = Buffer.from('\r\n');

/** A boundary that no value contains; there is one among any `versions.length * bytes + 1` candidates, and nearly always the first is it. */
function unusedBoundary(versions: readonly Version[]): string {
  for (let number = 0; ; number += 1) {
    const boundary = `coterie-${number.toString(36).padStart(8, '0')}`;
    const line = Buffer.from(`--${boundary}`, 'latin1');
    const used = versions.some(({ value }) => Buffer.from(value.buffer, value.byteOffset, value.byteLength).includes(line));
    if (!used) return boundary;
  }
}
