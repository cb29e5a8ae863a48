/** A request's body in memory, up to a bound. */

import { Buffer } from 'node:buffer';
import type { IncomingMessage } from 'node:http';

import { CoterieError } from '../../base/errors.ts';

const EMPTY = Buffer.alloc(0);

/**
 * Reads the whole body.
 *
 * @param tooLarge makes the error for a body of more than `most` bytes; what is left of such a body is not kept
 * @throws CoterieError from `tooLarge`; CANCELLED where the client went away
 */
export function readBody(request: IncomingMessage, most: number, tooLarge: (bytes: number) => CoterieError): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const announced = Number(request.headers['content-length'] ?? 0);
    if (announced > most) {
      request.resume();
      reject(tooLarge(announced));
      return;
    }
    let first: Buffer = EMPTY;
    let chunks: Buffer[] | undefined;
    let length = 0;
    request.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length > most) {
        chunks = undefined;
        first = EMPTY;
        // The listener stays, so that the rest flows by; the promise is settled once.
        reject(tooLarge(length));
        return;
      }
      if (chunks !== undefined) chunks.push(chunk);
      else if (first.length === 0) first = chunk;
      else chunks = [first, chunk];
    });
    let whole = false;
    request.on('end', () => {
      whole = true;
      resolve(chunks === undefined ? first : Buffer.concat(chunks, length));
    });
    // A request that fails closes too; one that nobody listens to for errors fails without an event.
    request.on('close', () => {
      if (whole) return;
      reject(new CoterieError('CANCELLED', 'the client went away before the whole body was there', { outcome: 'none' }));
    });
  });
}
