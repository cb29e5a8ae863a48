/** A request's body in memory, up to a bound. */

import { Buffer } from 'node:buffer';
import type { IncomingMessage } from 'node:http';

import { asCoterieError, CoterieError } from '../../base/errors.ts';
import type { Sink } from '../../runtime/answer.ts';
import type { ByteBudget } from '../byte-budget.ts';

const EMPTY = Buffer.alloc(0);
const NEXT_MICROTASK = Promise.resolve();
/**
 * How much of a body that is too large is read past before it is refused: most clients send all of theirs before they look at the answer, and one
 * whose connection is closed meanwhile never sees it.
 */
const READ_PAST_BYTES = 16 * 1024 * 1024;

/**
 * Reads the whole body. One that came with its head is there by the next microtask, when the parser is through with what the socket gave it, and
 * is taken without the stream's events, which cost as much as the rest of a small request. Fails with what `tooLarge` makes, of which nothing is
 * kept, or CANCELLED where the client went away.
 *
 * @param budget what the bodies of all requests may take together, each for as long as it is read
 * @param tooLarge makes the error for a body of more than `most` bytes
 * @throws CoterieError BUSY where the budget is used up
 */
export function readBody(
  request: IncomingMessage,
  most: number,
  budget: ByteBudget,
  tooLarge: (bytes: number) => CoterieError,
  sink: Sink<Buffer>,
): void {
  const length = request.headers['content-length'];
  // A body whose length nobody has told may become as long as is allowed.
  const reserved = Math.min(length === undefined ? most : Number(length), most);
  if (!budget.take(reserved)) {
    throw new CoterieError('BUSY', 'this node holds as many unfinished requests as it can', { outcome: 'none' });
  }
  void NEXT_MICROTASK.then(() => {
    if (request.complete && !request.destroyed && request.readableLength <= most) {
      budget.give(reserved);
      // Without an encoding what is read is a buffer.
      sink.succeed((request.read() as Buffer | null) ?? EMPTY);
      return;
    }
    streamed(request, most, tooLarge).then(
      (body) => {
        budget.give(reserved);
        sink.succeed(body);
      },
      (error: unknown) => {
        budget.give(reserved);
        sink.fail(asCoterieError(error));
      },
    );
  });
}

function streamed(request: IncomingMessage, most: number, tooLarge: (bytes: number) => CoterieError): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const gone = (): void => {
      reject(new CoterieError('CANCELLED', 'the client went away before the whole body was there', { outcome: 'none' }));
    };
    if (request.closed) {
      gone();
      return;
    }
    const announced = Number(request.headers['content-length'] ?? 0);
    let first: Buffer = EMPTY;
    let chunks: Buffer[] | undefined;
    let length = 0;
    let whole = false;
    if (announced > most + READ_PAST_BYTES) reject(tooLarge(announced));
    request.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length > most || announced > most) {
        chunks = undefined;
        first = EMPTY;
        // The listener stays, so that the rest flows by; the promise is settled once.
        if (length > most + READ_PAST_BYTES) reject(tooLarge(length));
        return;
      }
      if (chunks !== undefined) chunks.push(chunk);
      else if (first.length === 0) first = chunk;
      else chunks = [first, chunk];
    });
    request.on('end', () => {
      whole = true;
      if (length > most) reject(tooLarge(length));
      else resolve(chunks === undefined ? first : Buffer.concat(chunks, length));
    });
    // A request that fails closes too; one that nobody listens to for errors fails without an event.
    request.on('close', () => {
      if (!whole) gone();
    });
  });
}
